package sqlrewrite_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/prove"
	"github.com/tideover/tideover/sqlrewrite"
)

func byShadow(t *testing.T, sql string) sqlrewrite.Rewritten {
	t.Helper()
	s, err := sqlrewrite.Parse("00007_a.sql", sql)
	if err != nil {
		t.Fatal(err)
	}
	r, err := sqlrewrite.LiveWith(s, sqlrewrite.Given{Allowed: []string{sqlrewrite.ColumnOrder}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTypeByShadow: a column of another type ends with the rows, the default, NOT NULL, the sequence and the comment of the
// original way; only its place among the columns differs. Meanwhile others write. Rewriting twice changes nothing.
func TestTypeByShadow(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const before = `CREATE TABLE t (id int PRIMARY KEY, n serial, small integer NOT NULL DEFAULT 7, word varchar(8), "Odd one" text, keyed int UNIQUE);
		INSERT INTO t (id, word, "Odd one", keyed) SELECT i, 'w' || i, i::text, i FROM generate_series(1, 3000) i;
		COMMENT ON COLUMN t.small IS 'how''s that'`
	for _, c := range []struct{ name, sql string }{
		{"wider", "ALTER TABLE t ALTER COLUMN small TYPE bigint"},
		{"serial", "ALTER TABLE t ALTER COLUMN n TYPE bigint"},
		{"using", `ALTER TABLE public.t ALTER COLUMN "Odd one" TYPE numeric(12,2) USING length(t.word) + "Odd one"::numeric`},
		{"text", "ALTER TABLE t ALTER COLUMN word TYPE text; CREATE INDEX t_word_idx ON t (word)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := byShadow(t, c.sql)
			again(t, r)
			var names []string
			for _, h := range r.Hazards {
				names = append(names, h.Name)
			}
			if !r.Changed || strings.Join(names, " ") != "column-order breaks-old-server" {
				t.Fatalf("%d files, hazards %v", len(r.Files), names)
			}
			want := apply(t, []string{before}, sqlrewrite.File{Name: "00007_a.sql", SQL: "-- +goose Up\n" + c.sql + ";\n"})
			got := prepared(t, []string{before})
			writers(t, got, func() { run(t, got, r) })
			if diff := cmp.Diff(sorted(dump(t, want)), sorted(dump(t, got))); diff != "" {
				t.Errorf("original -, rewritten +:\n%s", diff)
			}
			tables, err := prove.CompareRows(t.Context(), connect(t, want), connect(t, got), nil)
			if err != nil {
				t.Fatal(err)
			}
			if i := slices.IndexFunc(tables, func(t prove.Table) bool { return t.Name == "public.t" && t.Difference != "" }); i >= 0 {
				t.Errorf("%+v", tables[i])
			}
		})
	}
	for _, sql := range []string{"ALTER TABLE t ALTER COLUMN id TYPE bigint", "ALTER TABLE t ALTER COLUMN keyed TYPE bigint"} {
		conn := connect(t, prepared(t, []string{before}))
		var refused *pgconn.PgError
		err := attempt(t.Context(), conn, byShadow(t, sql))
		if !errors.As(err, &refused) || refused.Code != "2BP01" || refused.Hint == "" {
			t.Errorf("%s: %v, want a refusal with a way on", sql, err)
		}
	}
	for what, hangs := range map[string]string{"index t_n_idx": "CREATE INDEX t_n_idx ON t (n)", "index part": "CREATE INDEX part ON t (id) WHERE n > 3", "index computed": "CREATE INDEX computed ON t ((n + 1))",
		"statistics object": "CREATE STATISTICS pair ON id, n FROM t", "view v": "CREATE VIEW v AS SELECT n FROM t"} {
		conn := connect(t, prepared(t, []string{before, hangs}))
		err := attempt(t.Context(), conn, byShadow(t, "ALTER TABLE t ALTER COLUMN n TYPE bigint"))
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "2BP01" || !strings.Contains(refused.Message, what) {
			t.Errorf("%s: %v", hangs, err)
		}
		var begun bool
		if err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 't'::regclass AND attname LIKE 'tideover%') OR EXISTS (SELECT FROM pg_trigger WHERE tgname LIKE 'tideover%')`).Scan(&begun); err != nil || begun {
			t.Errorf("%s: refused, but begun: %t, %v", hangs, begun, err)
		}
	}
	for _, sql := range []string{"ALTER TABLE t ALTER COLUMN n TYPE int USING f(n)", "ALTER TABLE ONLY t ALTER COLUMN n TYPE bigint", "ALTER TABLE t ALTER COLUMN a TYPE int, ALTER COLUMN b TYPE int",
		`ALTER TABLE t ALTER COLUMN a TYPE text COLLATE "C"`} {
		if r := byShadow(t, sql); r.Changed || r.Hazards[0].Name != sqlrewrite.RewritesTable {
			t.Errorf("%s was rewritten: %+v", sql, r.Hazards)
		}
	}
}

func attempt(ctx context.Context, conn *pgx.Conn, r sqlrewrite.Rewritten) error {
	e := &migrate.Executor{Conn: conn, Budget: postgres.DefaultBudget()}
	for _, f := range r.Files {
		if err := e.Run(ctx, f, 0, nil); err != nil {
			return err
		}
	}
	return nil
}

func run(t *testing.T, dsn string, r sqlrewrite.Rewritten) {
	t.Helper()
	if err := attempt(t.Context(), connect(t, dsn), r); err != nil {
		t.Fatal(err)
	}
}

// writers write rows, and take away what they wrote, until do has returned.
func writers(t *testing.T, dsn string, do func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var open sync.WaitGroup
	for w := range 3 {
		conn := connect(t, dsn)
		open.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := 10000 + 3*i + w
				for _, sql := range []string{fmt.Sprintf(`INSERT INTO t (id, word, "Odd one", n) VALUES (%d, 'x', '1', 0)`, id), fmt.Sprintf(`UPDATE t SET word = 'y', "Odd one" = '2' WHERE id = %d`, id),
					fmt.Sprintf(`UPDATE t SET id = id WHERE id = %d`, 1+i%3000), fmt.Sprintf(`DELETE FROM t WHERE id = %d`, id)} {
					if _, err := conn.PgConn().Exec(context.WithoutCancel(ctx), sql).ReadAll(); err != nil {
						t.Errorf("%s: %v", sql, err)
						return
					}
				}
			}
		})
	}
	do()
	stop()
	open.Wait()
}

// sorted is a dump without the order of columns.
func sorted(dump string) []string {
	lines := strings.Split(strings.ReplaceAll(dump, ",\n", "\n"), "\n")
	slices.Sort(lines)
	return lines
}
