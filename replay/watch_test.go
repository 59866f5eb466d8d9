package replay

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	db := open(t, "blue", newDatabase(t))
	exec(t, db, `
CREATE SCHEMA billing; CREATE SCHEMA jobs;
CREATE TABLE token (id int PRIMARY KEY); CREATE TABLE noted (id int);
CREATE TABLE part (id int) PARTITION BY LIST (id); CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE billing.invoice (id int); CREATE TABLE billing.token (id int); CREATE TABLE jobs.run (id int);
CREATE TABLE child (extra int) INHERITS (token)`)
	p := &plan.Profile{Tables: []plan.Table{{Name: "token"}, {Name: "part"}}, Bookkeeping: []string{"noted"}, Others: []string{"jobs.*"}}
	w := NewWatch(db, p)
	budget := postgres.DefaultBudget()
	if err := w.Check(t.Context()); err != nil {
		t.Fatalf("before it begins: %v", err)
	}
	for range 2 {
		if err := w.Install(t.Context(), budget); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := w.Installed(t.Context()); err != nil || !there {
		t.Fatalf("installed: %v, %v", there, err)
	}
	exec(t, db, `INSERT INTO token VALUES (1); INSERT INTO noted VALUES (1); INSERT INTO part_1 VALUES (1); INSERT INTO jobs.run VALUES (1)`)
	if err := w.Check(t.Context()); err != nil {
		t.Fatalf("only what is named was written: %v", err)
	}
	exec(t, db, `BEGIN; INSERT INTO billing.invoice VALUES (1); ROLLBACK`)
	if err := w.Check(t.Context()); err != nil {
		t.Fatalf("a write was taken back: %v", err)
	}
	for _, write := range []struct{ sql, table string }{
		{`INSERT INTO billing.token VALUES (1)`, "billing.token"},
		{`SET session_replication_role = replica; INSERT INTO billing.invoice VALUES (1); RESET session_replication_role`, "billing.invoice"},
		{`INSERT INTO child VALUES (7); DELETE FROM tideover.written; UPDATE token SET id = 8 WHERE id = 7`, "public.child"},
		{`DELETE FROM tideover.written; DELETE FROM token WHERE id = 8`, "public.child"},
		{`DELETE FROM tideover.written; TRUNCATE child`, "public.child"},
		{`DELETE FROM tideover.written; SELECT lo_create(0)`, "large objects"},
	} {
		exec(t, db, write.sql)
		var written *WrittenError
		if err := w.Check(t.Context()); !errors.As(err, &written) || !slices.Contains(written.Tables, write.table) {
			t.Errorf("%s: %v", write.sql, err)
		}
	}
	exec(t, db, `SELECT lo_unlink(oid) FROM pg_largeobject_metadata`)
	if err := w.Remove(t.Context(), budget); err != nil {
		t.Fatal(err)
	}
	if err := w.Check(t.Context()); err != nil {
		t.Errorf("after it was removed: %v", err)
	}
	exec(t, db, `SELECT lo_create(0)`) // no trigger of ours is needed to see it
	var written *WrittenError
	if err := w.Check(t.Context()); !errors.As(err, &written) || !slices.Equal(written.Tables, []string{"large objects"}) {
		t.Errorf("a large object, where no table is watched: %v", err)
	}
	var left int
	if err := db.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tideover%'`).Scan(&left); err != nil || left > 0 {
		t.Errorf("%d triggers are left (%v)", left, err)
	}
}

func TestDrift(t *testing.T) {
	t.Parallel()
	const schema = `
CREATE SCHEMA billing;
CREATE TYPE color AS ENUM ('red');
CREATE DOMAIN short AS text CHECK (length(VALUE) < 9);
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n';
CREATE TABLE token (id int PRIMARY KEY, v text, c color, s short);
CREATE TABLE billing.invoice (id int PRIMARY KEY);
CREATE TABLE part (id int) PARTITION BY LIST (id);
CREATE VIEW seen AS SELECT id FROM token;
CREATE POLICY mine ON token USING (id > 0);
CREATE SEQUENCE numbers`
	for _, c := range quick.First(t, 1, []struct{ sql, object string }{
		{`INSERT INTO token VALUES (1); TRUNCATE token; ANALYZE token; REINDEX TABLE token; GRANT ALL ON token TO PUBLIC; REVOKE ALL ON token FROM PUBLIC`, ""},
		{`COMMENT ON TABLE token IS 'x'`, "comment on table public.token is new"},
		{`ALTER TABLE token SET (fillfactor = 70)`, "table public.token is another"},
		{`ALTER TABLE token ALTER COLUMN v SET STORAGE EXTERNAL`, "column public.token.v is another"},
		{`ALTER TABLE token CLUSTER ON token_pkey`, "index public.token_pkey is another"},
		{`ALTER FUNCTION twice(int) COST 7`, "function public.twice(integer) is another"},
		{`CREATE CAST (color AS int) WITH INOUT`, "cast from public.color to integer is new"},
		{`CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)`, "operator public.===(integer,integer) is new"},
		{`CREATE COLLATION mine FROM "C"`, "collation public.mine is new"},
		{`CREATE TEXT SEARCH CONFIGURATION words (COPY = simple)`, "text search configuration public.words is new"},
		{`CREATE SCHEMA empty`, "schema empty is new"},
		{`CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER tell ON ddl_command_end EXECUTE FUNCTION told()`, "event trigger tell is new"},
		{`ALTER SEQUENCE numbers CACHE 9`, "sequence public.numbers is another"},
		{`ALTER SEQUENCE numbers OWNED BY token.id`, "sequence public.numbers is another"},
		{`SELECT setval('numbers', 7)`, ""},
		{`GRANT SELECT ON token TO PUBLIC`, "owner and grants of table public.token is another"},
		{`GRANT SELECT (v) ON token TO PUBLIC`, "owner and grants of column v of table public.token is new"},
		{`REVOKE ALL ON FUNCTION twice(int) FROM PUBLIC`, "owner and grants of function public.twice(integer) is another"},
		{`ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC`, "owner and grants of default privileges on new relations belonging to role"},
		{`ALTER TABLE token OWNER TO pg_database_owner`, "owner and grants of table public.token is another"},
		{`ALTER TABLE token ADD COLUMN extra text`, "column public.token.extra is new"},
		{`ALTER TABLE token DROP COLUMN v`, "column public.token.v is gone"},
		{`ALTER TABLE token ALTER COLUMN v SET DEFAULT 'x'`, "column public.token.v is another"},
		{`ALTER TABLE token ALTER COLUMN v TYPE varchar(9)`, "column public.token.v is another"},
		{`ALTER TABLE token ADD CHECK (id > 0)`, "constraint public.token.token_id_check is new"},
		{`CREATE INDEX by_v ON token (v)`, "index public.by_v is new"},
		{`CREATE TABLE billing.other (id int)`, "table billing.other is new"},
		{`CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1)`, "table public.part_1 is new"},
		{`ALTER TYPE color ADD VALUE 'blue'`, "type public.color is another"},
		{`ALTER DOMAIN short ADD CHECK (VALUE <> 'x')`, "type public.short is another"},
		{`CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 3 * n'`, "function public.twice(integer) is another"},
		{`CREATE OR REPLACE VIEW seen AS SELECT id, v FROM token`, "view public.seen is another"},
		{`ALTER POLICY mine ON token USING (id > 5)`, "policy public.token.mine is another"},
		{`CREATE POLICY yours ON token AS RESTRICTIVE WITH CHECK (id < 9)`, "policy public.token.yours is new"},
		{`ALTER FUNCTION twice(int) SECURITY DEFINER`, "function public.twice(integer) is another"},
		{`CREATE OR REPLACE FUNCTION twice(n int DEFAULT 4) RETURNS int LANGUAGE sql AS 'SELECT 2 * n'`, "function public.twice(integer) is another"},
		{`ALTER VIEW seen SET (security_barrier)`, "view public.seen is another"},
		{`CREATE RULE told AS ON INSERT TO seen DO INSTEAD NOTHING`, "rule public.seen.told is new"},
		{`CREATE STATISTICS pair ON id, v FROM token`, "statistics public.pair is new"},
		{`CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)`, "aggregate public.total(integer) is new"},
		{`ALTER TABLE token ENABLE ROW LEVEL SECURITY`, "table public.token is another"},
	}) {
		t.Run(c.sql, func(t *testing.T) {
			t.Parallel()
			blue, green := open(t, "blue", newDatabase(t)), open(t, "green", newDatabase(t))
			exec(t, blue, schema)
			d := NewDrift(blue, green, true)
			for range 2 {
				if err := d.Record(t.Context(), postgres.DefaultBudget()); err != nil {
					t.Fatal(err)
				}
			}
			p := &plan.Profile{Tables: []plan.Table{{Name: "token"}}}
			if err := NewCapture(blue, p, plan.Blue).Install(t.Context(), postgres.DefaultBudget()); err != nil {
				t.Fatal(err)
			}
			if err := NewFence(blue, "").Install(t.Context(), postgres.DefaultBudget()); err != nil {
				t.Fatal(err)
			}
			if err := d.Check(t.Context()); err != nil {
				t.Fatalf("only we have changed anything: %v", err)
			}
			exec(t, blue, c.sql)
			err := d.Check(t.Context())
			switch {
			case c.object == "" && err != nil:
				t.Error(err)
			case strings.HasPrefix(c.object, grantsOf) && NewDrift(blue, green, false).Check(t.Context()) != nil:
				t.Error("grants count, and were not copied")
			case c.object != "" && (err == nil || !strings.Contains(err.Error(), c.object)):
				t.Errorf("%v, want %q", err, c.object)
			}
		})
	}
}

// The fence is around the whole database, whatever schema a table is in.
func TestFenceHoldsEverySchema(t *testing.T) {
	t.Parallel()
	db := open(t, "blue", newDatabase(t))
	exec(t, db, `CREATE SCHEMA billing; CREATE SCHEMA jobs; CREATE TABLE billing.invoice (id int); CREATE TABLE token (id int); CREATE TABLE jobs.run (id int);
		CREATE TABLE jobs.base (id int); CREATE TABLE heir () INHERITS (jobs.base); INSERT INTO heir VALUES (1)`)
	f := NewFence(db, "", "jobs.*")
	if err := f.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	if err := f.Raise(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	conn := stranger(t, db)
	for _, table := range []string{"billing.invoice", "token"} {
		if _, err := conn.Exec(t.Context(), `INSERT INTO `+table+` VALUES (1)`); postgres.Code(err) != FencedCode {
			t.Errorf("a write to %s: %v", table, err)
		}
	}
	for _, through := range []string{`UPDATE jobs.base SET id = 2`, `DELETE FROM jobs.base`} {
		if _, err := conn.Exec(t.Context(), through); postgres.Code(err) != FencedCode {
			t.Errorf("%s, a table of others that heir inherits from: %v", through, err)
		}
	}
	if missing, err := f.Missing(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("without a fence: %q, %v", missing, err)
	}
	if _, err := conn.Exec(t.Context(), `INSERT INTO jobs.run VALUES (1)`); err != nil {
		t.Errorf("a write to a table of others: %v", err)
	}
	if err := f.Remove(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `DELETE FROM jobs.base`)
}

// What notices changes is switched off and on again, as a restore does: it fires no more for replicas, and nobody knows what was written.
func TestSwitchedOffCapture(t *testing.T) {
	t.Parallel()
	db := open(t, "blue", newDatabase(t))
	exec(t, db, `CREATE TABLE token (id int PRIMARY KEY); CREATE TABLE noticed (id int)`)
	p := &plan.Profile{Tables: tables("token")}
	c, w := NewCapture(db, p, plan.Blue), NewWatch(db, p)
	if err := errors.Join(c.Install(t.Context(), postgres.DefaultBudget()), w.Install(t.Context(), postgres.DefaultBudget())); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `ALTER TABLE token DISABLE TRIGGER ALL; ALTER TABLE token ENABLE TRIGGER ALL; ALTER TABLE noticed DISABLE TRIGGER ALL; ALTER TABLE noticed ENABLE TRIGGER ALL`)
	if there, err := c.Installed(t.Context()); err != nil || there {
		t.Errorf("the capture is all there: %t, %v", there, err)
	}
	if there, err := w.Installed(t.Context()); err != nil || there {
		t.Errorf("the watch is all there: %t, %v", there, err)
	}
}

// A partition has copies of its table's triggers, which can be switched off by themselves.
func TestSwitchedOffCaptureOfAPartition(t *testing.T) {
	t.Parallel()
	db := open(t, "blue", newDatabase(t))
	exec(t, db, `CREATE TABLE token (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF token FOR VALUES FROM (0) TO (9) PARTITION BY RANGE (id);
CREATE TABLE lowest PARTITION OF low FOR VALUES FROM (0) TO (3); CREATE TABLE rest PARTITION OF token DEFAULT`)
	c := NewCapture(db, &plan.Profile{Tables: tables("token")}, plan.Blue)
	if err := c.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `CREATE TABLE later PARTITION OF token FOR VALUES FROM (9) TO (12)`)
	if there, err := c.Installed(t.Context()); err != nil || there { // TRUNCATE of it would go unnoticed
		t.Errorf("the capture of a new partition is all there: %t, %v", there, err)
	}
	if err := c.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	if there, err := c.Installed(t.Context()); err != nil || !there {
		t.Errorf("the capture is all there: %t, %v", there, err)
	}
	exec(t, db, `ALTER TABLE lowest DISABLE TRIGGER USER; ALTER TABLE lowest ENABLE TRIGGER USER`)
	if there, err := c.Installed(t.Context()); err != nil || there {
		t.Errorf("the capture is all there: %t, %v", there, err)
	}
}
