package replay

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// server makes the role of a server, which may write every table and has by default privileges whatever is made later.
func server(t *testing.T, db *postgres.DB) string {
	t.Helper()
	role := "server_" + strings.ToLower(rand.Text()[:10])
	exec(t, db, `CREATE ROLE `+role+`; GRANT ALL ON ALL TABLES IN SCHEMA public TO `+role+`; GRANT SET ON PARAMETER session_replication_role TO `+role+`;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO `+role+`; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO `+role+`;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO `+role+`; ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO `+role)
	t.Cleanup(func() { pgtest.Exec(t, db.DSN(), `DROP OWNED BY `+role+`; DROP ROLE `+role) })
	return role
}

// forgeries are what a role can set, read and make so as to be taken for ours. Each must leave it outside.
var forgeries = []struct{ name, sql string }{
	{"nothing", ``},
	{"the old word", `SET tideover.pass = 'on'`},
	{"an empty word", `SET tideover.pass = ''`},
	{"a guess", `SELECT set_config('tideover.pass', gen_random_uuid()::text || gen_random_uuid(), false)`},
	{"our name", `SET application_name = 'tideover/blue'`},
	{"as a replica", `SET session_replication_role = replica; SET tideover.pass = 'on'`},
	{"the word, read", `SELECT set_config('tideover.pass', word, false) FROM tideover.pass`},
	{"the word, written", `UPDATE tideover.pass SET word = 'mine'; SET tideover.pass = 'mine'`},
	{"another word", `INSERT INTO tideover.pass (one, word) VALUES (false, 'mine'); SET tideover.pass = 'mine'`},
	{"a table of its own", `CREATE TEMP TABLE pass (one boolean, word text); INSERT INTO pass VALUES (true, 'mine'); SET search_path = pg_temp, public; SET tideover.pass = 'mine'`},
	{"a schema in front", `SET search_path = public, pg_catalog; SET tideover.pass = 'on'`},
	{"an heir of the table", `CREATE TABLE tideover.heir () INHERITS (tideover.pass)`},
	{"a trigger of its own", `CREATE TRIGGER mine BEFORE INSERT ON tideover.captured FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`},
	{"the fence, lowered", `SELECT setval('tideover.fence', 0)`},
	{"the fence by its number", `SELECT setval((SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = 'tideover' AND relname = 'fence'), 0)`},
	{"the fence, dropped", `DROP SEQUENCE tideover.fence`},
	{"the function replaced", `CREATE OR REPLACE FUNCTION tideover.refuse_write() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`},
	{"the trigger, disabled", `ALTER TABLE parent DISABLE TRIGGER tideover_fence`},
	{"as somebody else", `SET SESSION AUTHORIZATION DEFAULT`},
}

// forger opens a session of the role, in which one forgery was tried. What it was refused does not matter.
func forger(t *testing.T, db *postgres.DB, role, sql string) *pgx.Conn {
	t.Helper()
	conn := stranger(t, db)
	// A superuser's session could go back: the forger's authorization is set where it can't be taken back, by its password.
	pgtest.Exec(t, db.DSN(), `ALTER ROLE `+role+` LOGIN PASSWORD '`+role+`'`)
	cfg := conn.Config().Copy()
	cfg.User, cfg.Password = role, role
	forged, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = forged.Close(context.Background()) })
	for _, s := range statements(sql) {
		_, _ = forged.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol)
	}
	return forged
}

// Nothing that a role can set, read or make lets it through a raised fence.
func TestNobodyForgesThePass(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	db, f := fenced(t)
	role := server(t, db)
	exec(t, db, `DROP SCHEMA tideover CASCADE; DROP TABLE child, part`) // to be made again, under the default privileges
	if err := f.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	installSource(t, db, &plan.Profile{Tables: []plan.Table{{Name: "parent"}}}, "triggers")
	raise(t, f)
	for _, forgery := range forgeries {
		conn := forger(t, db, role, forgery.sql)
		for _, write := range []string{`INSERT INTO public.parent VALUES (9)`, `TRUNCATE public.parent`, `BEGIN; UPDATE public.parent SET v = 'x'; PREPARE TRANSACTION 'forged'`} {
			_, err := conn.Exec(t.Context(), write, pgx.QueryExecModeSimpleProtocol)
			if postgres.Code(err) != FencedCode && postgres.Code(err) != "42501" {
				t.Errorf("%s: %s: got %v, want SQLSTATE %s", forgery.name, write, err, FencedCode)
			}
			_, _ = conn.Exec(t.Context(), `ROLLBACK`)
		}
	}
	if up, err := f.Raised(t.Context()); err != nil || !up {
		t.Errorf("the fence is up: %v, %v", up, err)
	}
	exec(t, db, `INSERT INTO parent VALUES (10)`) // by a session of ours
}

// Nor does any of it keep a change of green's from being recorded for the way back.
func TestForgedPassIsCaptured(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPair(t)
	if err := goose(version20).Migrate(t.Context(), p.green.DSN()); err != nil {
		t.Fatal(err)
	}
	role := server(t, p.green)
	if err := NewCapture(p.green, p.profile, plan.Green).Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	for i, forgery := range forgeries {
		id := string(rune('a' + i))
		exec(t, p.green, `INSERT INTO oauth_client (id, owner, nid) VALUES ('`+id+`', 'o', (SELECT id FROM oauth_network LIMIT 1))`)
		conn := forger(t, p.green, role, forgery.sql)
		if _, err := conn.Exec(t.Context(), `DELETE FROM public.oauth_client WHERE id = '`+id+`'`); err != nil {
			t.Fatalf("%s: %v", forgery.name, err)
		}
		if n := pgtest.Query[int](t, p.green.DSN(), `SELECT count(*)::int FROM tideover.change WHERE table_name = 'oauth_client' AND key ->> 'id' = $1`, id); n != 1 {
			t.Errorf("%s: the change was recorded %d times", forgery.name, n)
		}
	}
	exec(t, p.green, `INSERT INTO oauth_client (id, owner, nid) VALUES ('ours', 'o', (SELECT id FROM oauth_network LIMIT 1)); DELETE FROM oauth_client WHERE id = 'ours'`)
	if n := pgtest.Query[int](t, p.green.DSN(), `SELECT count(*)::int FROM tideover.change WHERE key ->> 'id' = 'ours'`); n != 0 {
		t.Errorf("what our own session did was recorded %d times", n)
	}
}
