package sqlrewrite_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/sqlrewrite"
)

// up is the statements of a file's Up.
func up(t *testing.T, f sqlrewrite.File) []*sqlrewrite.Statement {
	t.Helper()
	s, err := sqlrewrite.Parse(f.Name, f.SQL)
	if err != nil {
		t.Fatal(err)
	}
	return s.Up
}

// TestLeftOver: a unique index that could not be finished is dropped and built again; one that is complete is kept; and
// what else has its name is an error rather than a missing index.
func TestLeftOver(t *testing.T) {
	t.Parallel()
	conn := connect(t, prepared(t, []string{read(t, "testdata/base.sql")}))
	r := live(t, migration{file: "00007_a.sql", sql: "CREATE UNIQUE INDEX i ON token (subject);"})
	if len(r.Files) != 1 || !r.Files[0].NoTransaction || r.Files[0].Name != "00007_a.sql" {
		t.Fatalf("%+v", r.Files)
	}
	run := func() error {
		for _, st := range up(t, r.Files[0]) {
			if _, err := conn.Exec(t.Context(), st.SQL); err != nil {
				return err
			}
		}
		return nil
	}
	code := func(err error) string {
		var e *pgconn.PgError
		errors.As(err, &e)
		if e == nil {
			return ""
		}
		return e.Code
	}
	valid := func() (oid uint32, ok bool) {
		if err := conn.QueryRow(t.Context(), "SELECT indexrelid, indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.i'::regclass").Scan(&oid, &ok); err != nil {
			t.Fatal(err)
		}
		return oid, ok
	}
	must := func(sql string) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if got := code(run()); got != "23505" {
			t.Fatalf("rows twice: %s", got)
		}
		if _, ok := valid(); ok {
			t.Fatal("the left-over is valid")
		}
	}
	must("UPDATE public.token SET subject = sig")
	if err := run(); err != nil {
		t.Fatal(err)
	}
	first, ok := valid()
	if !ok {
		t.Fatal("not valid")
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if second, ok := valid(); second != first || !ok {
		t.Error("the index was built twice")
	}
	for _, other := range []string{"CREATE INDEX i ON public.token (subject)", "CREATE UNIQUE INDEX i ON public.client (name, id)",
		"ALTER TABLE public.token ADD CONSTRAINT i UNIQUE (sig, n)"} {
		if strings.HasPrefix(other, "CREATE INDEX") {
			must("DROP INDEX public.i")
		}
		must(other)
		if got := code(run()); got != "42P07" {
			t.Errorf("%s: %s", other, got)
		}
		if strings.HasPrefix(other, "ALTER") {
			must("ALTER TABLE public.token DROP CONSTRAINT i")
		} else {
			must("DROP INDEX public.i")
		}
	}
	must("CREATE TABLE public.i (a integer)")
	if got := code(run()); got != "42P07" {
		t.Errorf("a table: %s", got)
	}
}

// TestWritersGoOn: while the rewritten script builds and validates, which an open transaction makes it wait for, another
// session reads and writes.
func TestWritersGoOn(t *testing.T) {
	t.Parallel()
	dsn := prepared(t, []string{read(t, "testdata/base.sql")})
	old, builder, writer := connect(t, dsn), connect(t, dsn), connect(t, dsn)
	const locks = `SELECT coalesce(max(array_position($1::text[], mode)), 1) - 1 FROM pg_catalog.pg_locks
		WHERE pid = $2 AND locktype = 'relation' AND relation = 'public.token'::regclass AND granted`
	const waiting = `SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE pid = $1 AND NOT granted AND locktype = 'virtualxid')`
	r := live(t, migration{file: "00007_a.sql", sql: "CREATE INDEX i ON token (n);"})
	steps := up(t, r.Files[0])
	if _, err := builder.Exec(t.Context(), steps[0].SQL); err != nil {
		t.Fatal(err)
	}
	tx, err := old.BeginTx(t.Context(), pgx.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "UPDATE public.token SET n = 50 WHERE sig = 's1'"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	pid := builder.PgConn().PID()
	go func() {
		_, err := builder.Exec(t.Context(), steps[1].SQL)
		done <- err
	}()
	await.That(t, "the build waits for somebody", func() (is bool) {
		if err := writer.QueryRow(t.Context(), waiting, pid).Scan(&is); err != nil {
			t.Fatal(err)
		}
		return is
	})
	var level int
	if err := writer.QueryRow(t.Context(), locks, lockModes, pid).Scan(&level); err != nil {
		t.Fatal(err)
	}
	if got := sqlrewrite.Analyze(steps[1]).Lock; got != sqlrewrite.Level(level) {
		t.Errorf("Postgres takes %s, the analysis says %s", sqlrewrite.Level(level), got)
	}
	if _, err := writer.Exec(t.Context(), "SET lock_timeout = '100ms'; UPDATE public.token SET n = 51 WHERE sig = 's2'"); err != nil {
		t.Errorf("a writer is blocked: %v", err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestRewrittenIsSafe: no statement of a rewritten file both blocks writers and takes long, unless a hazard says so.
func TestRewrittenIsSafe(t *testing.T) {
	t.Parallel()
	for _, m := range corpus(t) {
		r := live(t, m)
		if len(r.Hazards) > 0 || !r.Changed {
			continue
		}
		for _, f := range r.Files {
			list := up(t, f)
			for i, st := range list {
				a := sqlrewrite.Analyze(st)
				// A validated CHECK, dropped by the next statement, saves SET NOT NULL the reading.
				proved := i+1 < len(list) && strings.Contains(st.SQL, "SET NOT NULL") && strings.Contains(list[i+1].SQL, "tideover_")
				if a.Scan && a.BlocksWrites && !proved {
					t.Errorf("%s: %s blocks writers while it reads a table", f.Name, st.SQL)
				}
			}
		}
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	one := live(t, migration{file: "d/00006_b.sql", sql: "SELECT 1;"})
	two := live(t, migration{file: "d/00007_a.sql", sql: "-- +goose Up\nDROP INDEX a, b;\n-- +goose Down\nSELECT 2;\n"})
	files, err := sqlrewrite.Folder([]sqlrewrite.Rewritten{one, two})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "d/6001_b.sql d/7001_a.sql d/7002_a.sql" {
		t.Error(got)
	}
	if !strings.Contains(files[1].SQL, "SELECT 2") || strings.Contains(files[2].SQL, "SELECT 2") {
		t.Error("Down belongs into the first file")
	}
	if files[2].Part != 2 || files[2].Parts != 2 || files[2].Version != 7 {
		t.Errorf("%+v", files[2])
	}
	if files, err := sqlrewrite.Folder([]sqlrewrite.Rewritten{one, one}); err != nil || files[0].Name != "d/00006_b.sql" {
		t.Errorf("%v %v", files, err)
	}
	two.Files[0].Version = 0
	if _, err := sqlrewrite.Folder([]sqlrewrite.Rewritten{two}); err == nil {
		t.Error("a file without a version was numbered")
	}
}
