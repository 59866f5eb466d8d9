package migrate_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/prove"
	"github.com/tideover/tideover/sqlrewrite"
)

// liveCase is a migration that is run by goose itself on one database, and live on another.
type liveCase struct {
	name  string
	base  string
	files []string
	gate  string // a hazard of the plan, with its reason; allowed, the migration must end the same
	not   string // what no hazard of the plan may say
	never string // why it is refused whatever is allowed, before anything is changed
	code  string // of the error that both end with; "*": any
}

// folder are the case's files.
func (c liveCase) folder() []string {
	var list []string
	for i, f := range c.files {
		head := up
		if rest, is := strings.CutPrefix(f, "-- +goose NO TRANSACTION\n"); is {
			head, f = "-- +goose NO TRANSACTION\n"+up, rest
		}
		if !strings.HasSuffix(f, "-- +goose StatementEnd") {
			f = strings.TrimSuffix(f, ";") + ";"
		}
		list = append(list, fmt.Sprintf("%d_f.sql", i+1), head+f+"\n")
	}
	return list
}

// asTheVendor runs the files as the vendor's own tool does: in sessions that have what the database and the role set.
func (c liveCase) asTheVendor(t *testing.T, dsn string) error {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files(c.folder()...), goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	_, err = provider.Up(t.Context())
	return err
}

// state is what a database holds.
func state(t *testing.T, dsn string) string {
	t.Helper()
	dump, err := prove.Dump(t.Context(), dsn, pgtest.Shared(t).BinDir())
	if err != nil {
		t.Fatal(err)
	}
	return dump
}

// differences are those between the tables and rows of two databases.
func differences(t *testing.T, written, live string) string {
	t.Helper()
	if d := cmp.Diff(state(t, written), state(t, live)); d != "" {
		return "the schema differs:\n" + d
	}
	tables, err := prove.CompareRows(t.Context(), connect(t, written), connect(t, live), nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, table := range tables {
		if table.Difference != "" {
			all = append(all, table.Name+": "+table.Difference)
		}
	}
	return strings.Join(all, "\n")
}

// everything is all hazards but the one that changes what a schema is.
func everything() migrate.Option {
	return migrate.Allow(slices.DeleteFunc(sqlrewrite.HazardNames(), func(n string) bool { return n == sqlrewrite.ColumnOrder })...)
}

func (c liveCase) run(t *testing.T) {
	t.Helper()
	vendors, live := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	for _, dsn := range []string{vendors, live} {
		conn := asItIs(t, dsn)
		if _, err := conn.PgConn().Exec(t.Context(), strings.ReplaceAll(c.base, "@database", pgx.Identifier{conn.Config().Database}.Sanitize())).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	folder := files(c.folder()...)
	before := state(t, live)
	err := liveGoose(folder).LiveHazardsAt(t.Context(), live)
	switch {
	case c.never != "":
		for what, err := range map[string]error{"plan": liveGoose(folder, everything()).LiveHazardsAt(t.Context(), live), "run": liveGoose(folder, everything()).Migrate(t.Context(), live)} {
			if err == nil || !strings.Contains(err.Error(), c.never) {
				t.Errorf("%s: %v, want %s", what, err, c.never)
			}
		}
		if d := cmp.Diff(before, state(t, live)); d != "" {
			t.Errorf("it was refused, and something is changed:\n%s", d)
		}
		return
	case c.gate != "" && (err == nil || !strings.Contains(err.Error(), c.gate)):
		t.Errorf("%v; want a gate: %s", err, c.gate)
	case c.not != "" && err != nil && strings.Contains(err.Error(), c.not):
		t.Errorf("%v; want no gate: %s", err, c.not)
	}
	var hazards *migrate.HazardError
	if err != nil && !errors.As(err, &hazards) {
		t.Fatal(err)
	}
	asWritten, rewritten := c.asTheVendor(t, vendors), liveGoose(folder, everything()).Migrate(t.Context(), live)
	if c.code == "*" && asWritten != nil && rewritten != nil {
		return // for one reason, which has another code where a CHECK finds it
	}
	if postgres.Code(asWritten) != c.code || postgres.Code(rewritten) != c.code || (c.code == "") != (asWritten == nil && rewritten == nil) {
		t.Fatalf("as written: %v; live: %v; want %q", asWritten, rewritten, c.code)
	}
	if c.code != "" {
		return
	}
	if d := differences(t, vendors, live); d != "" {
		t.Error(d)
	}
}

// asItIs is a session with what the database sets.
func asItIs(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { postgres.HangUp(t.Context(), conn) })
	return conn
}

// TestDefaultsOfDomains: what a domain says of its values holds for a new column as with the original.
func TestDefaultsOfDomains(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const base = `CREATE DOMAIN plain AS int; CREATE DOMAIN seven AS int DEFAULT 7; CREATE DOMAIN drawn AS double precision DEFAULT random() * 0 + 3; CREATE DOMAIN must AS text NOT NULL;
		CREATE DOMAIN over_must AS must; CREATE DOMAIN small AS int CHECK (VALUE < 100); CREATE DOMAIN filled AS int CHECK (VALUE IS NOT NULL) DEFAULT 5;
		CREATE DOMAIN stamped AS timestamptz DEFAULT now() - now() + '2026-01-01'::timestamptz; CREATE TABLE n (id int, d stamped);
		CREATE TYPE mood AS ENUM ('fine'); CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50);`
	const worked = "rewrites-table"
	for _, c := range quick.First(t, 2, []liveCase{
		{name: "a default of its own that is drawn", files: []string{"ALTER TABLE t ADD COLUMN c seven DEFAULT 1 + floor(random())"}, not: worked},
		{name: "a type that is no domain", files: []string{"ALTER TABLE t ADD COLUMN c mood DEFAULT (CASE WHEN random() < 2 THEN 'fine' END)::mood"}, not: worked},
		{name: "a domain that says nothing", files: []string{"ALTER TABLE t ADD COLUMN c plain NOT NULL DEFAULT 1 + floor(random())"}, not: worked},
		{name: "the domain's default", files: []string{"ALTER TABLE t ADD COLUMN c seven, ADD COLUMN r text DEFAULT left(random()::text, 0)"}, not: worked},
		{name: "a domain's default that is drawn", files: []string{"ALTER TABLE t ADD COLUMN c drawn"}, gate: "rewrites-table: t.c is of the domain drawn, whose default"},
		{name: "NOT NULL", files: []string{"ALTER TABLE t ADD COLUMN c must DEFAULT left(random()::text, 0)"}, gate: "rewrites-table: t.c is of the domain must, which has constraints"},
		{name: "NOT NULL of a domain below", files: []string{"ALTER TABLE t ADD COLUMN c over_must DEFAULT left(random()::text, 0)"}, gate: "which has constraints"},
		{name: "NOT NULL without a value", files: []string{"ALTER TABLE t ADD COLUMN c over_must"}, gate: "fails-on-rows: t.c is NOT NULL", code: "23502"},
		{name: "NOT NULL with a value", files: []string{"ALTER TABLE t ADD COLUMN c must DEFAULT 'x'"}, gate: worked},
		{name: "a check of the domain", files: []string{"ALTER TABLE t ADD COLUMN c small DEFAULT floor(random()) + 99"}, gate: worked},
		{name: "a check that is broken", files: []string{"ALTER TABLE t ADD COLUMN c small DEFAULT floor(random()) + 100"}, gate: worked, code: "23514"},
		{name: "a check that is NOT NULL", files: []string{"ALTER TABLE t ADD COLUMN c filled DEFAULT floor(random()) + 8"}, gate: worked},
		{name: "a domain of the migrations", files: []string{"CREATE DOMAIN own AS must", "ALTER TABLE t ADD COLUMN c own DEFAULT left(random()::text, 0)"}, gate: "rewrites-table: t.c is of the domain own, which has constraints"},
		{name: "a domain of the same file", files: []string{"CREATE DOMAIN own AS int DEFAULT 3; ALTER DOMAIN own SET NOT NULL; ALTER TABLE t ADD COLUMN c own DEFAULT floor(random())"}, gate: worked},
		{name: "another default in the same statement", files: []string{"ALTER TABLE t ADD COLUMN c int DEFAULT floor(random()) + 1, ALTER COLUMN c SET DEFAULT 2"}, gate: "another part of the statement sets its default"},
		{name: "another default before", files: []string{"ALTER TABLE t ALTER COLUMN c SET DEFAULT 2, ADD COLUMN c serial"}, gate: "another part of the statement sets its default"},
		{name: "another default of another column", files: []string{"ALTER TABLE t ADD COLUMN c int DEFAULT floor(random()) + 1, ADD COLUMN d int, ALTER COLUMN d SET DEFAULT 2"}, not: worked},
		{name: "a type that becomes a domain", files: []string{"ALTER TABLE t ADD COLUMN c text DEFAULT 'x'; ALTER TABLE t ALTER COLUMN c TYPE must"}, gate: worked},
		{name: "rows go to a column that a domain fills", files: []string{"INSERT INTO n (id) SELECT id FROM t"}, gate: "the default of d in n may differ between batches"},
		{name: "rows go to a new column that a domain fills", files: []string{"CREATE DOMAIN now AS timestamptz DEFAULT now() - now() + '2026-01-01'::timestamptz; CREATE TABLE o (id int, d now)", "INSERT INTO o (id) SELECT id FROM t"},
			gate: "the default of d may differ between batches"},
	}) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.base = base
			c.run(t)
		})
	}
}

// TestSettingsOfTheDatabase: a migration's statements are read as the vendor's own tool has them read, whatever our sessions have besides, live
// and offline.
func TestSettingsOfTheDatabase(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const german = `ALTER DATABASE @database SET timezone = 'Europe/Berlin'; ALTER DATABASE @database SET datestyle = 'SQL, DMY'; ALTER DATABASE @database SET intervalstyle = 'sql_standard';
		ALTER DATABASE @database SET bytea_output = 'escape'; CREATE TABLE t (id int PRIMARY KEY, at timestamp, d date, i interval, b bytea, s text);
		INSERT INTO t SELECT i, timestamp '2026-03-29 00:30:00' + i * interval '1 hour', '2026-01-01', '1 day', 'a\001', '01/02/2024' FROM generate_series(1, 1500) i;`
	const app = `CREATE SCHEMA app; CREATE SCHEMA more; CREATE TABLE app.t (id int PRIMARY KEY, n int); CREATE TABLE more.other (id int PRIMARY KEY); INSERT INTO app.t SELECT i, i FROM generate_series(1, 1500) i;`
	for _, c := range quick.First(t, 2, []liveCase{
		{name: "a type with a zone", base: german, files: []string{"ALTER TABLE t ALTER COLUMN at TYPE timestamptz"}},
		{name: "rows in batches", base: german, files: []string{"UPDATE t SET at = at::timestamptz AT TIME ZONE 'UTC', d = s::date, s = i::text || b::text || d::text"}},
		{name: "one moment", base: german, files: []string{"UPDATE t SET s = date_part('timezone', now())::text || (now()::date - d > 0)::text"}},
		{name: "a constant default", base: german, files: []string{"ALTER TABLE t ADD COLUMN c date DEFAULT '01/02/2024', ADD COLUMN z timestamptz DEFAULT '2026-07-01 00:00', ADD COLUMN x text DEFAULT (date '2024-02-01')::text"}},
		{name: "a check", base: german, files: []string{"ALTER TABLE t ADD CHECK (d >= '01/02/2024'); CREATE INDEX ON t (d) WHERE d > '03/04/2024'"}},
		{name: "a function that doesn't compile", base: `ALTER DATABASE @database SET check_function_bodies = off`, files: []string{"-- +goose StatementBegin\nCREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT n FROM nowhere'\n-- +goose StatementEnd"}},
		{name: "text that is not escaped", base: `ALTER DATABASE @database SET standard_conforming_strings = off; CREATE TABLE t (s text)`, files: []string{`INSERT INTO t VALUES ('a''b')`}},
		{name: "text that is escaped", base: `ALTER DATABASE @database SET standard_conforming_strings = off; CREATE TABLE t (s text)`, files: []string{`INSERT INTO t VALUES ('a\x62')`}, never: "standard_conforming_strings"},
		{name: "another schema first", base: app + "ALTER DATABASE @database SET search_path = app, public", files: []string{"CREATE TABLE n (id int)"}, never: `would work in schema "app", and the profile says "public"`},
		{name: "another schema behind", base: app + "CREATE TABLE t (id int PRIMARY KEY); ALTER DATABASE @database SET search_path = public, more, app", files: []string{"ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES other; UPDATE t SET id = id + 1; CREATE INDEX ON other (id)"}},
		{name: "no schema", base: app + "ALTER DATABASE @database SET search_path = ''", files: []string{"CREATE INDEX ON app.t (n)"}, never: "has no schema to work in"},
	}) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
		if c.name == "no schema" {
			continue // goose's own has none for its table
		}
		ways := map[string][]migrate.Option{"offline": nil}
		if c.name == "a type with a zone" {
			ways["offline, as written"] = []migrate.Option{migrate.AsWritten()}
		}
		for how, options := range ways {
			t.Run(c.name+" "+how, func(t *testing.T) {
				t.Parallel()
				c.offline(t, options...)
			})
		}
	}
}

// offline runs the case on a database that nobody uses.
func (c liveCase) offline(t *testing.T, options ...migrate.Option) {
	t.Helper()
	vendors, ours := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	for _, dsn := range []string{vendors, ours} {
		conn := asItIs(t, dsn)
		if _, err := conn.PgConn().Exec(t.Context(), strings.ReplaceAll(c.base, "@database", pgx.Identifier{conn.Config().Database}.Sanitize())).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	err := migrate.NewGoose(files(c.folder()...), 0, options...).Migrate(t.Context(), ours)
	if c.never != "" {
		if err == nil || !strings.Contains(err.Error(), c.never) {
			t.Errorf("%v, want %s", err, c.never)
		}
		return
	}
	if err := errors.Join(err, c.asTheVendor(t, vendors)); err != nil {
		t.Fatal(err)
	}
	if d := differences(t, vendors, ours); d != "" {
		t.Error(d)
	}
}

// TestSettingsOfAFile: what a file sets for its session ends with it, and a folder in which that would show is refused.
func TestSettingsOfAFile(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const base = `CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, at timestamp, z text); INSERT INTO t SELECT i, '2026-01-01' FROM generate_series(1, 50) i;`
	const berlin = "SET timezone = 'Europe/Berlin'; UPDATE t SET z = at::timestamptz::text WHERE id = 1"
	for _, c := range quick.First(t, 2, []liveCase{
		{name: "the last file", files: []string{berlin}},
		{name: "a file behind", files: []string{berlin, "UPDATE t SET z = at::timestamptz::text WHERE id = 2"}, never: `file "1_f.sql": line 2 sets timezone for the rest of the session: whether it holds in 2_f.sql`},
		{name: "a file behind that sets it too", files: []string{berlin, "SET timezone = 'Asia/Tokyo'; UPDATE t SET z = at::timestamptz::text WHERE id = 2; RESET timezone", "UPDATE t SET z = 'x' WHERE id = 3"}},
		{name: "taken back", files: []string{berlin + "; RESET ALL; SET search_path = public", "UPDATE t SET z = at::timestamptz::text WHERE id = 2"}},
		{name: "of the transaction", files: []string{"SET LOCAL timezone = 'Europe/Berlin'; UPDATE t SET z = at::timestamptz::text WHERE id = 1", "UPDATE t SET z = at::timestamptz::text WHERE id = 2"}},
		{name: "what doesn't matter", files: []string{"SET statement_timeout = 0; SET client_min_messages = warning; SET search_path = public; CREATE TABLE n (id int)", "CREATE TABLE m (id int)"}},
		{name: "a dump's path", files: []string{"SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE public.n (id int)", "CREATE TABLE public.m (id int)"}, never: "sets search_path"},
		{name: "a parameter of their own", files: []string{"SET app.tenant = 'a'; UPDATE t SET z = current_setting('app.tenant', true)", "UPDATE t SET z = coalesce(current_setting('app.tenant', true), 'none')"}, never: "sets app.tenant"},
		{name: "of sessions to come", files: []string{"ALTER ROLE CURRENT_USER SET timezone = 'Asia/Tokyo'", "UPDATE t SET z = at::timestamptz::text WHERE id = 2"}, never: "line 2 sets timezone for sessions to come"},
		{name: "another path", files: []string{"SET search_path = app, public; UPDATE t SET id = 1 WHERE id = 5; CREATE TABLE n (id int)"}},
		{name: "without a transaction", files: []string{"-- +goose NO TRANSACTION\nSET search_path = app, public;\nCREATE INDEX CONCURRENTLY i ON t (id);\nCREATE TABLE n (id int)"}},
	}) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.base = base
			c.run(t)
		})
	}
}

// TestSettingsOfCode: what a block sets ends with its file too, live and offline, and offline a folder whose files would find what one sets is refused.
func TestSettingsOfCode(t *testing.T) {
	t.Parallel()
	const set = "-- migrate:up\nDO $$ BEGIN PERFORM set_config('timezone', 'Asia/Tokyo', false), set_config('role', 'pg_monitor', false); END $$;\nCREATE TABLE t AS SELECT current_setting('timezone') AS zone;\n"
	const read = "-- migrate:up\nINSERT INTO t SELECT current_setting('timezone');\n"
	for name, o := range map[string]migrate.Option{"live": migrate.Live(postgres.Budget{Timeout: 500 * time.Millisecond, Retry: time.Minute}), "as written": migrate.AsWritten()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.NewDatabase(t)
			conn := connect(t, dsn)
			must(t, conn, "GRANT ALL ON SCHEMA public TO pg_monitor")
			must(t, conn, "CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY)")
			must(t, conn, "GRANT ALL ON schema_migrations TO pg_monitor")
			dbmate := func(second string) *migrate.Goose {
				return migrate.NewGoose(files("1_a.sql", set, "2_b.sql", second), 0, migrate.InFormat("dbmate"), everything(), o)
			}
			if err := dbmate("-- migrate:up\nSET datestyle = 'German';\n").Migrate(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
			var folder *migrate.FolderError
			if err := migrate.NewGoose(files("1_a.sql", set, "2_b.sql", "-- migrate:up\nSET datestyle = 'German';\n", "3_c.sql", read, "4_d.sql", "-- migrate:up\nSET app.x = 'y';\n", "5_e.sql", read), 0,
				migrate.InFormat("dbmate"), everything(), o).Migrate(t.Context(), dsn); !errors.As(err, &folder) || !strings.Contains(err.Error(), "sets app.x") {
				t.Errorf("%v, want a refusal", err)
			}
			if err := migrate.NewGoose(files("1_a.sql", set, "2_b.sql", "-- migrate:up\nSET datestyle = 'German';\n", "3_c.sql", read), 0, migrate.InFormat("dbmate"), everything(), o).Migrate(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
			if got := ask[string](t, conn, `SELECT string_agg(zone, ' ' ORDER BY zone = 'Asia/Tokyo' DESC) FROM t`); !strings.HasPrefix(got, "Asia/Tokyo ") || strings.HasSuffix(got, " Asia/Tokyo") {
				t.Errorf("%s: the second file found what the first has set, or the first did not", got)
			}
		})
	}
}

// TestSettingsAfterAStop: a file without a transaction that stops goes on with what its first statements have set.
func TestSettingsAfterAStop(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	must(t, conn, "CREATE SCHEMA app")
	must(t, conn, "CREATE TABLE app.t (id int)")
	must(t, conn, "INSERT INTO app.t VALUES (1), (1)")
	folder := files("1_f.sql", "-- +goose NO TRANSACTION\n"+up+"SET search_path = app;\nSELECT set_config('timezone', 'Asia/Tokyo', false);\nCREATE UNIQUE INDEX CONCURRENTLY i ON t (id);\nCREATE TABLE n AS SELECT '2026-01-01 00:00'::timestamptz AS at;\n")
	if err := liveGoose(folder, everything()).Migrate(t.Context(), dsn); postgres.Code(err) != "23505" {
		t.Fatalf("%v, want rows that are there twice", err)
	}
	must(t, conn, "DROP INDEX app.i")
	must(t, conn, "DELETE FROM app.t WHERE ctid = (SELECT ctid FROM app.t LIMIT 1)")
	if err := liveGoose(folder, everything()).Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	if !ask[bool](t, conn, `SELECT at = '2025-12-31 15:00Z' FROM app.n`) {
		t.Error("the time zone is lost")
	}
}

// TestWhatIsSeenTogether: statements that only hold together, and places that are renamed while rows are copied there.
func TestWhatIsSeenTogether(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const keys = `CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT generate_series(1, 2000);
		CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED, n int); INSERT INTO c SELECT i, i FROM generate_series(1, 2000) i;
		CREATE TABLE o (id int PRIMARY KEY, k int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO o SELECT i, i FROM generate_series(1, 2000) i;
		CREATE TABLE q (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE); INSERT INTO q SELECT i, i FROM generate_series(1, 2000) i;
		CREATE TABLE s (id int PRIMARY KEY, n int); CREATE FUNCTION even() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF (SELECT count(*) FROM s) % 2 > 0 THEN RAISE ''odd''; END IF; RETURN NULL; END';
		CREATE CONSTRAINT TRIGGER even AFTER INSERT ON s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION even();`
	const tree = `CREATE TABLE up (id int, n int); CREATE TABLE below () INHERITS (up); INSERT INTO up VALUES (1, 1); INSERT INTO below VALUES (2, NULL);
		CREATE TABLE parts (id int, k int) PARTITION BY LIST (k); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); INSERT INTO parts VALUES (1, 1);
		CREATE TABLE none (id int, k int) PARTITION BY LIST (k);`
	const moved = `CREATE TABLE t (id int PRIMARY KEY, a int, b text); INSERT INTO t SELECT i, i, 'b' || i FROM generate_series(1, 1500) i;`
	const whole = "not-split: the script stays as it is: a deferred constraint of"
	for _, c := range quick.First(t, 2, []liveCase{
		{name: "a foreign key", base: keys, files: []string{"UPDATE c SET p = p + 5000; INSERT INTO p SELECT generate_series(5001, 7000)"}, gate: whole},
		{name: "a foreign key, of rows by their key", base: keys, files: []string{"UPDATE c SET p = 9000 WHERE id = 1; CREATE INDEX ON p (id); INSERT INTO p VALUES (9000)"}, gate: whole},
		{name: "a foreign key, seen from its table", base: keys, files: []string{"DELETE FROM q; DELETE FROM p WHERE id = 1; CREATE INDEX ON s (n); UPDATE c SET p = 2 WHERE id = 1"}, gate: whole},
		{name: "one that isn't deferred", base: keys, files: []string{"INSERT INTO p SELECT generate_series(5001, 7000); UPDATE q SET p = p + 5000"}, not: whole},
		{name: "one statement alone", base: keys, files: []string{"UPDATE c SET p = p % 2000 + 1; CREATE INDEX ON s (n)"}, not: whole},
		{name: "a key", base: keys, files: []string{"UPDATE o SET k = 2 WHERE id = 1; CREATE INDEX ON s (n); UPDATE o SET k = 1 WHERE id = 2"}, gate: whole},
		{name: "a trigger", base: keys, files: []string{"INSERT INTO s VALUES (1, 1); CREATE INDEX ON o (k, id); INSERT INTO s VALUES (2, 2)"}, gate: whole},
		{name: "a key of the migrations", base: moved, files: []string{"CREATE TABLE r (id int PRIMARY KEY, t int REFERENCES t DEFERRABLE INITIALLY DEFERRED)", "INSERT INTO r VALUES (1, 9000); CREATE INDEX ON t (a); INSERT INTO t VALUES (9000)"}, gate: whole},
		{name: "NOT NULL of a parent alone", base: tree, files: []string{"ALTER TABLE ONLY up ALTER COLUMN n SET NOT NULL"}, not: "blocks-reads"},
		{name: "NOT NULL of a parent and its child", base: tree, files: []string{"ALTER TABLE up ALTER COLUMN id SET NOT NULL"}},
		{name: "NOT NULL of a parent and its child, which has NULL", base: tree, files: []string{"ALTER TABLE up ALTER COLUMN n SET NOT NULL"}, code: "*"},
		{name: "NOT NULL of a table without its partitions", base: tree, files: []string{"ALTER TABLE ONLY parts ALTER COLUMN id SET NOT NULL"}, gate: "blocks-reads", code: "*"},
		{name: "NOT NULL of a table that has none", base: tree, files: []string{"ALTER TABLE ONLY none ALTER COLUMN id SET NOT NULL"}},
		{name: "NOT NULL of a partition", base: tree, files: []string{"ALTER TABLE ONLY parts_1 ALTER COLUMN id SET NOT NULL"}},
		{name: "a copy whose place is renamed", base: moved, files: []string{"CREATE TABLE n (id int PRIMARY KEY, a int); INSERT INTO n (id, a) SELECT id, a FROM t; ALTER TABLE n RENAME COLUMN a TO x; ALTER TABLE t DROP COLUMN a"}, gate: "moves-data"},
		{name: "a copy whose table is renamed", base: moved, files: []string{"CREATE TABLE n (id int PRIMARY KEY, a int); INSERT INTO n (id, a) SELECT id, a FROM t; ALTER TABLE n RENAME TO m; ALTER TABLE t DROP COLUMN a"}, gate: "moves-data"},
		{name: "a copy whose column changes", base: moved, files: []string{"CREATE TABLE n (id int PRIMARY KEY, a int); INSERT INTO n (id, a) SELECT id, a FROM t; ALTER TABLE t ALTER COLUMN a TYPE bigint; ALTER TABLE t DROP COLUMN a"}, gate: "moves-data"},
		{name: "a copy", base: moved, files: []string{"CREATE TABLE n (id int PRIMARY KEY, a int); INSERT INTO n (id, a) SELECT id, a FROM t; CREATE INDEX ON n (a); ALTER TABLE t DROP COLUMN a"}, not: "moves-data"},
	}) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

// TestSerialOfAnothersTable: a role that may do what the owner may adds a numbered column; the sequence is the owner's.
func TestSerialOfAnothersTable(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	id := conn.PgConn().PID()
	role, owner, database := fmt.Sprintf("member_%d", id), fmt.Sprintf("owner_%d", id), ask[string](t, conn, `SELECT quote_ident(current_database())`)
	must(t, conn, `CREATE ROLE `+owner+`; CREATE ROLE `+role+` IN ROLE `+owner+`; GRANT CREATE ON SCHEMA public TO `+owner+`, `+role)
	must(t, conn, `CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50); ALTER TABLE t OWNER TO `+owner)
	must(t, conn, `ALTER DATABASE `+database+` SET role = `+role)
	if err := liveGoose(files("1_f.sql", up+"ALTER TABLE t ADD COLUMN n serial;\n"), everything()).Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	must(t, conn, `ALTER DATABASE `+database+` RESET role`)
	if !ask[bool](t, conn, `SELECT count(DISTINCT n) = 50 AND pg_get_serial_sequence('t', 'n') = 'public.t_n_seq' AND (SELECT relowner::regrole::text = '`+owner+`' FROM pg_class WHERE relname = 't_n_seq') FROM t`) {
		t.Error("the column isn't numbered, or its sequence isn't the owner's")
	}
}
