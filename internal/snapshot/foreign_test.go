package snapshot_test

import (
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
)

// ordinary makes a role that can log in, for the time of a test, and a database that it owns.
func ordinary(t *testing.T) (name, dsn string) {
	t.Helper()
	admin := pgtest.NewDatabase(t)
	name = "role_" + strings.ToLower(rand.Text()[:10])
	run(t, admin, "CREATE ROLE "+name+" LOGIN PASSWORD '"+name+"'")
	t.Cleanup(func() {
		pgtest.Exec(t, admin, "REASSIGN OWNED BY "+name+" TO CURRENT_USER; DROP OWNED BY "+name+"; DROP ROLE "+name)
	})
	database := pgx.Identifier{pgtest.Query[string](t, admin, `SELECT current_database()`)}.Sanitize()
	run(t, admin, "ALTER DATABASE "+database+" OWNER TO "+name)
	return name, admin
}

// as is the DSN with another user.
func as(t *testing.T, dsn, user string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, user)
	return u.String()
}

// hostile is what the plain owner of blue's tables can put there so that others run it. Each has table t (id int, v text), and
// functions that say yes and leave a trace: quiet(text), a trigger's, an event trigger's.
var hostile = []struct{ name, sql, object string }{
	{"check", `ALTER TABLE t ADD CHECK (quiet('x'))`, "function public.quiet(text)"},
	{"generated column", `ALTER TABLE t ADD g boolean GENERATED ALWAYS AS (quiet('x')) STORED`, "function public.quiet(text)"},
	{"default", `ALTER TABLE t ALTER v SET DEFAULT quiet('x')::text`, "function public.quiet(text)"},
	{"index expression", `CREATE INDEX ON t ((quiet('x')))`, "function public.quiet(text)"},
	{"index predicate", `CREATE INDEX ON t (id) WHERE quiet('x')`, "function public.quiet(text)"},
	{"exclusion constraint", `ALTER TABLE t ADD EXCLUDE USING btree ((quiet('x')) WITH =)`, "function public.quiet(text)"},
	{"domain", `CREATE DOMAIN d AS text CHECK (quiet(VALUE)); ALTER TABLE t ADD d d`, "function public.quiet(text)"},
	{"domain's default", `CREATE DOMAIN d AS text DEFAULT quiet('x')::text; ALTER TABLE t ADD d d`, "function public.quiet(text)"},
	{"materialized view", `CREATE MATERIALIZED VIEW m AS SELECT quiet('x') AS q`, "function public.quiet(text)"},
	{"view", `CREATE VIEW m AS SELECT quiet('x') AS q`, "function public.quiet(text)"},
	{"trigger", `CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION quiet_trigger()`, "function public.quiet_trigger()"},
	{"always trigger", `CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION quiet_trigger(); ALTER TABLE t ENABLE ALWAYS TRIGGER a`, "function public.quiet_trigger()"},
	{"trigger's condition", `CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW WHEN (quiet('x')) EXECUTE FUNCTION suppress_redundant_updates_trigger()`, "function public.quiet(text)"},
	{"rule", `CREATE RULE r AS ON INSERT TO t DO ALSO SELECT quiet('x')`, "function public.quiet(text)"},
	{"policy", `ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (quiet('x'))`, "function public.quiet(text)"},
	{"operator", `CREATE OPERATOR public.@@@ (LEFTARG = text, RIGHTARG = text, FUNCTION = same)`, "function public.same(text, text)"},
	{"cast", `CREATE TYPE e AS ENUM ('x'); CREATE FUNCTION e_text(e) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM quiet(''x''); RETURN ''x''; END'; CREATE CAST (e AS text) WITH FUNCTION e_text(e) AS IMPLICIT`, "function public.e_text(public.e)"},
	{"aggregate", `CREATE AGGREGATE public.gather(text) (SFUNC = keep, STYPE = text)`, "function public.keep(text, text)"},
	{"statistics", `CREATE STATISTICS s ON (quiet(v)), id FROM t`, "function public.quiet(text)"},
	{"partition key", `CREATE TABLE p (v text) PARTITION BY LIST ((quiet(v)))`, "function public.quiet(text)"},
	{"operator class", `CREATE FUNCTION c(text, text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM quiet(''x''); RETURN 0; END'; CREATE OPERATOR public.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = same)`, "function public.same(text, text)"},
	{"range type", `CREATE TYPE p AS (a int); CREATE FUNCTION diff(float8, float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM quiet(''x''); RETURN 0; END'; CREATE TYPE r AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = diff)`, "function public.diff(double precision, double precision)"},
	{"function that calls another", `CREATE FUNCTION two() RETURNS boolean LANGUAGE sql BEGIN ATOMIC SELECT quiet('x'); END`, "function public.quiet(text)"},
	{"function with a default", `CREATE FUNCTION two(a boolean DEFAULT quiet('x')) RETURNS boolean LANGUAGE sql AS 'SELECT a'`, "function public.quiet(text)"},
	{"security definer", `CREATE FUNCTION sd() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN quiet(''x''); END'; ALTER TABLE t ADD CHECK (sd())`, "function public.sd()"},
	{"foreign key to a domain", `CREATE DOMAIN d AS int CHECK (quiet(VALUE::text)); CREATE TABLE parent (id d PRIMARY KEY)`, "function public.quiet(text)"},
	{"function that a migration could call", `SELECT 1`, "function public.keep(text, text), which a migration could call"},
	{"composite type", `CREATE DOMAIN d AS int CHECK (quiet(VALUE::text)); CREATE TYPE c AS (d d); ALTER TABLE t ADD c c`, "function public.quiet(text)"},
	{"inherited check", `CREATE TABLE child () INHERITS (t); ALTER TABLE child ADD CHECK (quiet('x'))`, "function public.quiet(text)"},
	{"publication's filter", `ALTER TABLE t REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR TABLE t WHERE (v IS NOT NULL AND id > 0); ALTER TABLE t ADD CHECK (quiet('x'))`, "function public.quiet(text)"},
	{"the system's SQL in a check", `ALTER TABLE t ADD CHECK (query_to_xml('SELECT 1', true, true, '') IS NOT NULL)`, "query_to_xml"},
	{"the system's SQL in a materialized view", `CREATE MATERIALIZED VIEW m AS SELECT schema_to_xml('public', true, true, '') AS x`, "schema_to_xml"},
	{"the server's files in a default", `ALTER TABLE t ALTER v SET DEFAULT pg_read_file('PG_VERSION')`, "pg_read_file"},
	{"the server's files in a rule", `CREATE RULE r AS ON INSERT TO t DO ALSO SELECT pg_catalog.lo_export(1, '/nowhere')`, "lo_export"},
	{"the server's sessions in a policy", `CREATE POLICY p ON t USING (pg_terminate_backend(0))`, "pg_terminate_backend"},
	{"the server's settings in a trigger", `CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW WHEN (set_config('a.b', 'c', true) = 'c') EXECUTE FUNCTION suppress_redundant_updates_trigger()`, "set_config"},
	{"the system's function in an aggregate", `CREATE AGGREGATE public.run(text) (SFUNC = set_one, STYPE = text)`, "function public.set_one(text, text)"},
}

const quietSQL = `
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE FUNCTION quiet(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN
	IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE EXCEPTION 'ran as a superuser: %', what; END IF;
	RETURN true;
END $f$;
CREATE FUNCTION same(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN RETURN quiet($1); END $f$;
CREATE FUNCTION keep(text, text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN PERFORM quiet($2); RETURN $1; END $f$;
CREATE FUNCTION set_one(text, text) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN RETURN set_config($1, $2, true); END $f$;
CREATE FUNCTION quiet_trigger() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN PERFORM quiet('trigger'); RETURN NEW; END $f$;
`

// What an ordinary role has put into blue is not let into a superuser's session, and named; between ordinary roles it
// comes along, and has no more rights than they.
func TestForeignCodeGetsNoRights(t *testing.T) {
	t.Parallel()
	for _, h := range quick.First(t, 3, hostile) {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			owner, blue := ordinary(t)
			run(t, as(t, blue, owner), quietSQL+h.sql)
			var foreign *snapshot.ForeignCodeError
			green := pgtest.NewDatabase(t)
			err := snapshot.Schema(t.Context(), as(t, blue, owner), green, snapshot.SchemaOptions{})
			if !errors.As(err, &foreign) || !strings.Contains(foreign.Error(), h.object) || !strings.Contains(foreign.Error(), owner) || foreign.Hint() == "" {
				t.Errorf("want a refusal that names %s and its owner, got %v", h.object, err)
			}
			if tables := pgtest.Tables(t, green); len(tables) > 0 {
				t.Errorf("%v came along all the same", tables)
			}
		})
	}
}

// The same comes along where our roles are ordinary ones. Nothing in it has met a superuser.
func TestForeignCodeComesAlongBetweenOrdinaryRoles(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, h := range slice.Pick(t, 2, hostile) {
		if strings.HasPrefix(h.name, "the server's") { // the role itself may not do that
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			owner, blue := ordinary(t)
			other, green := ordinary(t)
			run(t, as(t, blue, owner), quietSQL+h.sql)
			from, to := open(t, "blue", as(t, blue, owner)), open(t, "green", as(t, green, other))
			if _, err := snapshot.Copy(t.Context(), snapshot.Options{Blue: from, Green: to}); err != nil {
				t.Fatal(err)
			}
			var owners []string
			rows, err := to.Pool().Query(t.Context(), `SELECT DISTINCT pg_catalog.pg_get_userbyid(relowner) FROM pg_catalog.pg_class WHERE relnamespace = 'public'::regnamespace`)
			if err == nil {
				owners, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			if err != nil || len(owners) != 1 || owners[0] != other {
				t.Errorf("what came along belongs to %v (%v), want %s", owners, err, other)
			}
		})
	}
}

// What no role could do harm with is no foreign code: a database as servers have it comes along under any role.
func TestOrdinaryExpressionsAreAdmitted(t *testing.T) {
	t.Parallel()
	owner, blue := ordinary(t)
	run(t, blue, `CREATE EXTENSION citext; CREATE EXTENSION pgcrypto; CREATE EXTENSION "uuid-ossp"`)
	run(t, as(t, blue, owner), `
CREATE TABLE t (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), other uuid DEFAULT uuid_generate_v4(), n serial, at timestamptz DEFAULT now() + interval '1 day',
	mail citext UNIQUE CHECK (mail ~ '@' AND length(mail) < 99), secret text DEFAULT encode(gen_random_bytes(8), 'hex'), low text GENERATED ALWAYS AS (lower(mail::text)) STORED);
CREATE INDEX ON t (lower(secret)) WHERE at IS NOT NULL;
CREATE VIEW v AS SELECT count(*), max(at) FROM t WHERE at > now();
CREATE FUNCTION unused() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`)
	conn, err := postgres.Connect(t.Context(), "blue", as(t, blue, owner))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if found, err := snapshot.ForeignCode(t.Context(), conn); err != nil || len(found) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}
