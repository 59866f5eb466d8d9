package prove_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/prove"
	"github.com/tideover/tideover/sqlrewrite"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

func scripts(t *testing.T, texts ...string) []*sqlrewrite.Script {
	t.Helper()
	folder := fstest.MapFS{}
	for i, s := range texts {
		folder[string(rune('1'+i))+"_a.sql"] = &fstest.MapFile{Data: []byte(s)}
	}
	s, err := sqlrewrite.ReadFolder(folder, sqlrewrite.PlainFormat)
	if err != nil {
		t.Fatal(err)
	}
	return s.Scripts
}

const base = `CREATE TYPE mood AS ENUM ('good', 'bad');
	CREATE TABLE p (id bigint PRIMARY KEY, name varchar(3) UNIQUE, j jsonb NOT NULL, m mood, at timestamptz DEFAULT now());
	CREATE TABLE c (a int, b uuid, p bigint NOT NULL REFERENCES p, note text NOT NULL, ip inet, raw bytea, self int, PRIMARY KEY (a, b));
	CREATE TABLE odd (x text CHECK (x = 'never a number'))`

// TestSame: rewritten migrations end where the original ones do, random columns aside; the probe has measured.
func TestSame(t *testing.T) {
	t.Parallel()
	r, err := prove.Run(t.Context(), prove.Options{Server: pgtest.Shared(t), Base: 1, Rows: 500, Probe: true, Scripts: scripts(t, base,
		"CREATE INDEX c_note_idx ON c (note); ALTER TABLE c ALTER COLUMN self SET DEFAULT 1; UPDATE c SET self = a * 2;",
		"ALTER TABLE p ADD COLUMN u uuid NOT NULL DEFAULT gen_random_uuid(); ALTER TABLE c ADD CHECK (a > 0);")})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Same() {
		t.Errorf("%s %+v", r.Schema, r.Tables)
	}
	if len(r.Tables) != 3 || r.Tables[0].Rows != 500 || r.Tables[2].Rows != 500 {
		t.Errorf("tables %+v", r.Tables)
	}
	if got := strings.Join(r.Tables[2].LeftOut, " "); got != "at u" {
		t.Errorf("left out of p: %s, want at and u", got)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "public.odd") {
		t.Errorf("notes %v; want one of the table that takes no sample rows", r.Notes)
	}
	if all := r.Total(); all.OriginalWrite == 0 || all.RewrittenRead == 0 || len(r.Scripts) != 2 {
		t.Errorf("nothing was measured: %+v", r.Scripts)
	}
}

// TestProbeGivesWay: a script that locks rows first, which the probe waits for, and then the table, which the probe has, is not the one that
// Postgres ends.
func TestProbeGivesWay(t *testing.T) {
	t.Parallel()
	r, err := prove.Run(t.Context(), prove.Options{Server: pgtest.Shared(t), Base: 1, Rows: 0, Probe: true, Scripts: scripts(t,
		"CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, g FROM generate_series(1, 50) g;",
		"UPDATE t SET n = n + 1; SELECT pg_sleep(0.1); CREATE INDEX i ON t (n);")})
	if err != nil || !r.Same() {
		t.Fatalf("%v %+v", err, r)
	}
}

// TestFindsDifferences: rows that tell how many commands there were.
func TestFindsDifferences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, sql, want string }{
		// A trigger of the database's that counts commands makes the splitting of one visible.
		{"rows", `CREATE TABLE log (n int); CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (1); END';
			CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f();`, "public.log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := prove.Run(t.Context(), prove.Options{Server: pgtest.Shared(t), Base: 2, Rows: 30, Scripts: scripts(t, base, c.sql, "ALTER TABLE c ADD CHECK (a > 0);")})
			if err != nil {
				t.Fatal(err)
			}
			if r.Same() {
				t.Fatal("the difference was not found")
			}
			found := false
			for _, table := range r.Tables {
				found = found || table.Name == c.want && table.Difference != ""
			}
			if !found {
				t.Errorf("%+v; want a difference in %s", r.Tables, c.want)
			}
		})
	}
}

// TestOutsideATransaction: a plain file runs as psql runs it, where Postgres refuses it inside a transaction.
func TestOutsideATransaction(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	r, err := prove.Run(t.Context(), prove.Options{Server: pgtest.Shared(t), Base: 1, Rows: 50, Probe: true, Scripts: scripts(t, base,
		"-- x\nCREATE INDEX CONCURRENTLY i ON p (at);", "UPDATE p SET name = NULL WHERE id > 5; DROP INDEX CONCURRENTLY i; VACUUM p;")})
	if err != nil || !r.Same() {
		t.Fatalf("%v %+v", err, r)
	}
}

// TestOriginalFails: then there is nothing to prove, and it is said why.
func TestOriginalFails(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	_, err := prove.Run(t.Context(), prove.Options{Server: pgtest.Shared(t), Base: 1, Rows: 10, Scripts: scripts(t, base, "ALTER TABLE c ADD CHECK (a > 5)")})
	var failed *prove.OriginalError
	if !errors.As(err, &failed) || failed.File != "2_a.sql" || failed.Hint() == "" {
		t.Errorf("%v; want an OriginalError", err)
	}
	_, err = prove.Run(t.Context(), prove.Options{Server: pgtest.Shared(t), Base: 1, Seed: "INSERT INTO p (id, j) VALUES (1, '{}')", Scripts: scripts(t, base, "ALTER TABLE p ADD CHECK (id = 1)")})
	if err != nil {
		t.Errorf("rows of our own: %v", err)
	}
}

// TestVendorsTable: scripts that note themselves in their vendor's table find it, and no made-up rows in it.
func TestVendorsTable(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	s, err := sqlrewrite.ReadFolder(fstest.MapFS{"V1__a.sql": {Data: []byte("CREATE TABLE a (id int PRIMARY KEY, n int);")},
		"V2__b.sql": {Data: []byte("ALTER TABLE a ADD CHECK (n IS NOT NULL OR id > -1000000);")}}, "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := prove.Run(t.Context(), prove.Options{Server: pgtest.Shared(t), Base: 1, Rows: 10, Scripts: s.Scripts, Records: s.Records()})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.Tables, func(x prove.Table) bool { return x.Name == "public.flyway_schema_history" })
	if r.Schema != "" || i < 0 || r.Tables[i].Rows != 2 || r.Tables[i].Difference != "" {
		t.Errorf("%+v", r)
	}
}

// TestColumnOrder: where it is allowed, columns may stand elsewhere; anything else still counts.
func TestColumnOrder(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	o := prove.Options{Server: pgtest.Shared(t), Base: 1, Rows: 100, Allow: []string{sqlrewrite.ColumnOrder},
		Scripts: scripts(t, base, "ALTER TABLE c ALTER COLUMN raw TYPE text USING encode(raw, 'hex'); ALTER TABLE c ADD CHECK (a > 0);")}
	r, err := prove.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Same() || !strings.Contains(strings.Join(r.Notes, " "), "order of columns") {
		t.Errorf("%s %+v, notes %v", r.Schema, r.Tables, r.Notes)
	}
}
