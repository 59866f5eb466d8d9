package preflight_test

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

// role makes a role that can log in and nothing else, for the time of a test.
func role(t *testing.T, dsn string) string {
	t.Helper()
	name := "role_" + strings.ToLower(rand.Text()[:10])
	pgtest.Exec(t, dsn, "CREATE ROLE "+name+" LOGIN")
	t.Cleanup(func() { pgtest.Exec(t, dsn, "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name) })
	return name
}

// intruder is an operator that fits varchar better than pg_catalog's, which are text's.
const intruder = `
CREATE FUNCTION public.veq(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN
	IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
		EXECUTE 'CREATE TABLE IF NOT EXISTS public.ran_as_superuser (what text)';
	END IF;
	RETURN $1::text OPERATOR(pg_catalog.=) $2::text;
END $f$;
CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.veq)`

// What a role that can only log in puts into a schema that is open to it is named, and never run.
func TestOperatorOfAStrangerIsNeverUsed(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	o := setup(t)
	stranger := role(t, o.Blue.DSN())
	pgtest.Exec(t, o.Blue.DSN(), `GRANT CREATE ON SCHEMA public TO PUBLIC;
		ALTER TABLE oauth_client ALTER id TYPE varchar; ALTER TABLE oauth_access ALTER signature TYPE varchar, ALTER client_id TYPE varchar`)
	profile, err := plan.LoadProfile("bundled", ".")
	if err != nil {
		t.Fatal(err)
	}
	o.Profile = profile
	warned := slices.ContainsFunc(check(t, o), func(f preflight.Finding) bool { return f.Level == preflight.Warn && f.Check == "open-schema" })
	if !warned {
		t.Error("nobody is told of a schema that is open to everybody")
	}
	pgtest.Exec(t, o.Blue.DSN(), "SET SESSION AUTHORIZATION "+stranger+";"+intruder)

	findings := check(t, o)
	named := slices.ContainsFunc(findings, func(f preflight.Finding) bool {
		return f.Level == preflight.Fail && f.Check == "shadow" && strings.Contains(f.Text, "operator public.=(character varying, character varying)") && strings.Contains(f.Text, stranger)
	})
	if !named {
		t.Errorf("the operator and its owner are not named: %+v", findings)
	}
	// A run that goes on with it, since it came later, meets it here.
	doors := map[string]func() error{
		"a profile's SQL": func() error { return o.Blue.InSchema(t.Context(), "public", func(pgx.Tx) error { return nil }) },
		"the copy": func() error {
			_, err := snapshot.Copy(t.Context(), snapshot.Options{Blue: o.Blue, Green: o.Green, Profile: profile})
			return err
		},
		"blue's schema": func() error {
			return snapshot.Schema(t.Context(), o.Blue.DSN(), pgtest.NewDatabase(t), snapshot.SchemaOptions{Profile: profile})
		},
		"migrations": func() error { return o.Migrator.Migrate(t.Context(), o.Blue.DSN()) },
	}
	for name, door := range doors {
		if err := door(); err == nil || !strings.Contains(err.Error(), "operator public.=") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if pgtest.Query[bool](t, o.Blue.DSN(), `SELECT to_regclass('public.ran_as_superuser') IS NOT NULL`) {
		t.Error("it ran as a superuser")
	}
}

// What an ordinary role has put into blue is named before a superuser's session could run any of it: nothing is made on
// green's server, and blue is asked nothing more.
func TestForeignCodeIsNamedFirst(t *testing.T) {
	t.Parallel()
	o := setup(t)
	owner := role(t, o.Blue.DSN())
	pgtest.Exec(t, o.Blue.DSN(), `GRANT CREATE ON SCHEMA public TO `+owner+`; ALTER TABLE oauth_session OWNER TO `+owner+`; SET SESSION AUTHORIZATION `+owner+`;
CREATE FUNCTION public.quiet(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN
	IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'CREATE TABLE IF NOT EXISTS public.ran_as_superuser (what text)'; END IF;
	RETURN true;
END $f$;
CREATE INDEX innocent ON oauth_session ((public.quiet('index'))); ALTER TABLE oauth_session ADD CHECK (public.quiet('check'))`)
	findings := check(t, o)
	i := slices.IndexFunc(findings, func(f preflight.Finding) bool { return f.Check == "foreign-code" })
	if i < 0 || findings[i].Level != preflight.Fail || !strings.Contains(findings[i].Text, "function public.quiet(text)") || !strings.Contains(findings[i].Text, owner) {
		t.Errorf("the function and its owner are not named: %+v", findings)
	}
	if slices.ContainsFunc(findings, func(f preflight.Finding) bool { return f.Check == "trial" || f.Check == "tables" }) {
		t.Errorf("it went on looking: %+v", findings)
	}
	if pgtest.Query[bool](t, o.Blue.DSN(), `SELECT to_regclass('public.ran_as_superuser') IS NOT NULL`) {
		t.Error("it ran as a superuser")
	}
}

// Our own words mean the system's, whatever stands in the schemas that a database looks into.
func TestOurOwnWordsAreTheSystems(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	pgtest.Exec(t, dsn, `CREATE TABLE t (v varchar); INSERT INTO t VALUES ('a');`+intruder+`;
		CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE sql AS $$SELECT public.veq('', '')::text$$;
		ALTER DATABASE `+pgx.Identifier{pgtest.Query[string](t, dsn, `SELECT current_database()`)}.Sanitize()+` SET search_path = public, pg_catalog`)
	db, err := postgres.Open(t.Context(), "blue", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.Pool().QueryRow(context.WithoutCancel(t.Context()), `SELECT count(*) FROM public.t WHERE v = 'a'::varchar AND lower(v) = 'a'`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
	if pgtest.Query[bool](t, dsn, `SELECT to_regclass('public.ran_as_superuser') IS NOT NULL`) {
		t.Error("the operator of another schema was used")
	}
}
