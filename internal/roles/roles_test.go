package roles_test

import (
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/roles"
	"github.com/tideover/tideover/plan"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

func open(t *testing.T, name, dsn string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// world is blue, of an ordinary owner, and green as a superuser has migrated it: one table is new, one has gone.
func world(t *testing.T) (blue, green *postgres.DB, app string, p *plan.Profile) {
	t.Helper()
	blue, green = open(t, "blue", pgtest.NewDatabase(t)), open(t, "green", pgtest.NewDatabase(t))
	app = "app_" + strings.ToLower(rand.Text()[:10])
	pgtest.Exec(t, blue.DSN(), `CREATE ROLE `+app+`; GRANT CREATE ON SCHEMA public TO `+app+`; CREATE SCHEMA billing AUTHORIZATION `+app+`; SET ROLE `+app+`;
CREATE TABLE client (id int PRIMARY KEY); CREATE TABLE login (id serial PRIMARY KEY); CREATE TABLE billing.invoice (id int); CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n'`)
	pgtest.Exec(t, green.DSN(), `CREATE SCHEMA billing; CREATE TABLE client (id int PRIMARY KEY); CREATE TABLE billing.invoice (id int); CREATE TABLE flow (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE version (n int); CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n'; REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC; CREATE TABLE billing.by_hand (id int)`)
	t.Cleanup(func() {
		for _, db := range []*postgres.DB{green, blue} {
			pgtest.Exec(t, db.DSN(), `DROP OWNED BY `+app+` CASCADE`)
		}
		pgtest.Exec(t, blue.DSN(), `DROP ROLE `+app)
	})
	return blue, green, app, &plan.Profile{Schema: "public", Tables: []plan.Table{{Name: "client"}, {Name: "login"}}, Bookkeeping: []string{"version"}}
}

// What green's server lacks is named with the statement that gives it. Given that, it works.
func TestRightsOfGreensServer(t *testing.T) {
	t.Parallel()
	blue, green, app, p := world(t)
	s, err := roles.Find(t.Context(), blue, green, "public", "", "")
	if err != nil || s.Blue != app || s.Green != app || s.Named {
		t.Fatalf("%+v, %v; want the owner of blue's tables", s, err)
	}
	err = s.Check(t.Context(), blue, green, p, nil)
	var missing *roles.MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v, want what is missing", err)
	}
	var got []string
	for _, r := range missing.Rights {
		got = append(got, r.Grant)
	}
	to := " TO " + pgx.Identifier{app}.Sanitize()
	for _, want := range []string{
		"GRANT USAGE ON SCHEMA billing" + to, "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE billing.invoice" + to, "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.client" + to,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.flow" + to, "GRANT SELECT ON TABLE public.version" + to,
		"GRANT USAGE ON SEQUENCE public.flow_id_seq" + to, "GRANT EXECUTE ON ROUTINE public.twice(n integer)" + to,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among\n%s", want, strings.Join(got, "\n"))
		}
	}
	if len(got) != 7 {
		t.Errorf("too much is asked for:\n%s", strings.Join(got, "\n"))
	}
	if !strings.Contains(missing.Hint(), "public.flow") || !strings.Contains(missing.Hint(), "green.role") || !strings.Contains(missing.Error(), `table "public.flow"`) {
		t.Errorf("error %q, hint %q", missing, missing.Hint())
	}
	if err := roles.Give(t.Context(), green, postgres.DefaultBudget(), missing.Rights); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), blue, green, p, nil); err != nil {
		t.Error(err)
	}
	pgtest.Exec(t, green.DSN(), `SET ROLE `+app+`; INSERT INTO flow DEFAULT VALUES; DELETE FROM flow; SELECT twice(1) FROM version`)
	pgtest.Exec(t, green.DSN(), `REVOKE DELETE ON flow FROM `+app)
	if err := s.Check(t.Context(), blue, green, p, nil); err == nil || !strings.Contains(err.Error(), `DELETE on table "public.flow"`) {
		t.Errorf("got %v, want the right that was taken away", err)
	}
}

func TestRoleThatTheRunbookNames(t *testing.T) {
	t.Parallel()
	blue, green, app, _ := world(t)
	if s, err := roles.Find(t.Context(), blue, green, "public", "", app); err != nil || !s.Named || s.Green != app {
		t.Errorf("%+v, %v", s, err)
	}
	var unknown *roles.UnknownError
	if _, err := roles.Find(t.Context(), blue, green, "public", "", "nobody_there"); !errors.As(err, &unknown) || unknown.Hint() == "" {
		t.Errorf("got %v, want that there is no such role", err)
	}
	if s, err := roles.Find(t.Context(), blue, green, "public", "nobody_there", ""); err != nil || s.Green != "" {
		t.Errorf("%+v, %v; want that nobody knows", s, err)
	}
}

// A role gets what it had, on what an object is called by now, and no more; and all of what the migrations have made, in schemas
// of their own, too.
func TestRightsOfALimitedRole(t *testing.T) {
	t.Parallel()
	blue, green := open(t, "blue", pgtest.NewDatabase(t)), open(t, "green", pgtest.NewDatabase(t))
	app := "app_" + strings.ToLower(rand.Text()[:10])
	const schema = `
CREATE TABLE secret (id int PRIMARY KEY, password text, public text, gone text); CREATE TABLE log (id int PRIMARY KEY, at timestamptz); CREATE TABLE other (id int); CREATE VIEW names AS SELECT public FROM secret;
CREATE FUNCTION checked() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION hidden() RETURNS int LANGUAGE sql AS 'SELECT 2'; REVOKE EXECUTE ON FUNCTION checked, hidden FROM PUBLIC;
CREATE SCHEMA billing; CREATE TABLE billing.invoice (id int)`
	pgtest.Exec(t, blue.DSN(), schema+`; CREATE ROLE `+app+`; GRANT SELECT (id, public, gone), UPDATE (public) ON secret TO `+app+`; GRANT INSERT ON log TO `+app+`; GRANT SELECT ON names TO `+app+
		`; GRANT EXECUTE ON FUNCTION checked TO `+app)
	t.Cleanup(func() {
		for _, db := range []*postgres.DB{green, blue} {
			pgtest.Exec(t, db.DSN(), `DROP OWNED BY `+app+` CASCADE`)
		}
		pgtest.Exec(t, blue.DSN(), `DROP ROLE `+app)
	})
	pgtest.Exec(t, green.DSN(), schema)
	before, err := roles.NamesOf(t.Context(), green)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, green.DSN(), `ALTER TABLE secret RENAME TO "Vault"; ALTER TABLE "Vault" DROP COLUMN gone; ALTER TABLE "Vault" RENAME COLUMN public TO "shown to all"; ALTER TABLE "Vault" RENAME COLUMN password TO public;
ALTER TABLE log SET SCHEMA billing; CREATE TABLE secret (id int); ALTER FUNCTION checked RENAME TO verified; CREATE FUNCTION checked() RETURNS int LANGUAGE sql AS 'SELECT 3'; REVOKE EXECUTE ON FUNCTION checked FROM PUBLIC;
ALTER TABLE billing.invoice ENABLE ROW LEVEL SECURITY; ALTER TABLE secret ENABLE ROW LEVEL SECURITY; CREATE POLICY rows ON secret USING (id > 1);
CREATE SCHEMA fresh; CREATE TABLE fresh.made (id serial PRIMARY KEY); CREATE VIEW fresh.seen AS SELECT * FROM fresh.made; CREATE TABLE billing.by_hand (id int)`)
	s := roles.Server{Blue: app, Green: app, Named: true}
	missing, err := s.Missing(t.Context(), blue, green, &plan.Profile{Schema: "public"}, before)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range missing {
		got = append(got, strings.TrimSuffix(m.Grant, " TO "+pgx.Identifier{app}.Sanitize()))
	}
	slices.Sort(got)
	want := []string{
		`GRANT EXECUTE ON ROUTINE public.checked()`, `GRANT EXECUTE ON ROUTINE public.verified()`, `GRANT INSERT ON TABLE billing.log`,
		`GRANT SELECT ("id", "shown to all") ON TABLE public."Vault"`, `GRANT SELECT ON TABLE fresh.seen`, `GRANT SELECT ON TABLE public.names`,
		`GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE fresh.made`, `GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.secret`,
		`GRANT UPDATE ("shown to all") ON TABLE public."Vault"`, `GRANT USAGE ON SCHEMA billing`, `GRANT USAGE ON SCHEMA fresh`, `GRANT USAGE ON SEQUENCE fresh.made_id_seq`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := roles.Give(t.Context(), green, postgres.DefaultBudget(), missing); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), blue, green, &plan.Profile{Schema: "public"}, before); err != nil {
		t.Error(err)
	}
}

// A role that takes another one's rights by SET ROLE needs them on green, too.
func TestRightsOfARoleThatIsTaken(t *testing.T) {
	t.Parallel()
	blue, green, app, p := world(t)
	login := app + "_login"
	pgtest.Exec(t, blue.DSN(), `CREATE ROLE `+login+` NOINHERIT IN ROLE `+app)
	t.Cleanup(func() {
		for _, db := range []*postgres.DB{green, blue} {
			pgtest.Exec(t, db.DSN(), `DROP OWNED BY `+login+` CASCADE`)
		}
		pgtest.Exec(t, blue.DSN(), `DROP ROLE `+login)
	})
	s := roles.Server{Blue: login, Green: login, Named: true}
	missing, err := s.Missing(t.Context(), blue, green, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range missing {
		if strings.Contains(r.Object, "(SET ROLE)") {
			got = append(got, r.Grant)
		}
	}
	to := " TO " + pgx.Identifier{app}.Sanitize()
	want := []string{"GRANT USAGE ON SCHEMA billing" + to, "GRANT EXECUTE ON ROUTINE public.twice(n integer)" + to, "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE billing.invoice" + to, "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.client" + to}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
