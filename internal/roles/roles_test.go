package roles_test

import (
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

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
	err = s.Check(t.Context(), blue, green, p)
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
	if err := s.Check(t.Context(), blue, green, p); err != nil {
		t.Error(err)
	}
	pgtest.Exec(t, green.DSN(), `SET ROLE `+app+`; INSERT INTO flow DEFAULT VALUES; DELETE FROM flow; SELECT twice(1) FROM version`)
	pgtest.Exec(t, green.DSN(), `REVOKE DELETE ON flow FROM `+app)
	if err := s.Check(t.Context(), blue, green, p); err == nil || !strings.Contains(err.Error(), `DELETE on table "public.flow"`) {
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
