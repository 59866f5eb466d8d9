package migrate_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
)

// TestRowsThatDependOnEachOther: what isn't proved to be row by row is refused in the light of the catalog, before anything is done; what
// a person allows is run whole, and ends as Postgres would end it.
func TestRowsThatDependOnEachOther(t *testing.T) {
	t.Parallel()
	const touch = `CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END$$;`
	for _, c := range quick.First(t, 1, []struct {
		name, base, up string
		reason         string // of the refusal; "": none
		allow          string
		asked, want    string
	}{
		{
			name: "a back-fill of ours fires no trigger",
			base: `CREATE TABLE doc (id bigint PRIMARY KEY, body text, updated_at timestamptz NOT NULL DEFAULT now());` + touch + `
				CREATE TRIGGER touch BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION touch();
				CREATE TRIGGER never BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION touch();
				ALTER TABLE doc DISABLE TRIGGER never;
				INSERT INTO doc SELECT i, 'b' || i, '2026-01-01' FROM generate_series(1, 3000) i;`,
			up:    `ALTER TABLE doc ADD COLUMN pub uuid NOT NULL DEFAULT gen_random_uuid();`,
			asked: `SELECT format('%s %s', count(*) FILTER (WHERE updated_at = '2026-01-01'), (SELECT string_agg(tgenabled::text, '' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'doc'::regclass)) FROM doc`,
			want:  "3000 DO",
		},
		{
			name: "not even one that fires always",
			base: `CREATE TABLE doc (id bigint PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now());` + touch + `
				CREATE TRIGGER a BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION touch(); ALTER TABLE doc ENABLE ALWAYS TRIGGER a;
				CREATE TRIGGER b BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION touch(); ALTER TABLE doc ENABLE REPLICA TRIGGER b;
				CREATE TRIGGER c BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION touch();
				INSERT INTO doc SELECT i, '2026-01-01' FROM generate_series(1, 3000) i;`,
			up:    `ALTER TABLE doc ADD COLUMN num bigserial;`,
			asked: `SELECT format('%s %s', count(*) FILTER (WHERE updated_at = '2026-01-01'), (SELECT string_agg(tgenabled::text, '' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'doc'::regclass)) FROM doc`,
			want:  "3000 ARO",
		},
		{
			name: "a foreign key to itself",
			base: `CREATE TABLE folder (id bigint PRIMARY KEY, parent bigint REFERENCES folder ON DELETE SET NULL, keep boolean NOT NULL DEFAULT false);
				INSERT INTO folder SELECT i, CASE WHEN i > 1500 THEN i - 1500 END FROM generate_series(1, 3000) i;`,
			up:     `DELETE FROM folder WHERE parent IS NULL AND NOT keep;`,
			reason: `the foreign key folder_parent_fkey of folder to itself`, allow: "writes-whole-table",
			asked: `SELECT count(*)::text FROM folder`, want: "1500",
		},
		{
			name: "a function of the database's own",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, score int NOT NULL, rank int); INSERT INTO acc SELECT i, i FROM generate_series(1, 5000) i;
				CREATE FUNCTION acc_rank(s int) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM acc WHERE score < s AND rank IS NULL';`,
			up:     `UPDATE acc SET rank = acc_rank(score);`,
			reason: `the function acc_rank isn't known`, allow: "writes-whole-table",
			asked: `SELECT sum(rank)::text FROM acc`, want: "12497500",
		},
		{
			name: "one that hides behind a built-in's name",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, score int NOT NULL, rank int); INSERT INTO acc SELECT i, i FROM generate_series(1, 3000) i;
				CREATE FUNCTION left(s int, n int) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM acc WHERE rank IS NULL';`,
			up:     `UPDATE acc SET rank = left(score, 1);`,
			reason: `there is a function "left"`, allow: "writes-whole-table",
			asked: `SELECT min(rank)::text FROM acc`, want: "3000",
		},
		{
			name: "one that is written as a column",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, score int NOT NULL, n int); INSERT INTO acc SELECT i, i FROM generate_series(1, 3000) i;
				CREATE FUNCTION left_over(acc) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM acc WHERE n IS NULL';`,
			up:     `UPDATE acc SET n = acc.left_over;`,
			reason: `there is a function left_over`, allow: "writes-whole-table",
			asked: `SELECT min(n)::text FROM acc`, want: "3000",
		},
		{
			name: "an operator of the database's own",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, n int); INSERT INTO acc SELECT i FROM generate_series(1, 3000) i;
				CREATE FUNCTION many(int, int) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM acc WHERE n IS NULL';
				CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = many);`,
			up:     `UPDATE acc SET n = 1 ### 2;`,
			reason: `there is an operator ###`, allow: "writes-whole-table",
			asked: `SELECT min(n)::text FROM acc`, want: "3000",
		},
		{
			name: "an operator that isn't written out",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, n int, b boolean); INSERT INTO acc SELECT i FROM generate_series(1, 3000) i;
				CREATE FUNCTION alike(bigint, boolean) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT count(*) = 3000 FROM acc WHERE n IS NULL';
				CREATE OPERATOR = (LEFTARG = bigint, RIGHTARG = boolean, FUNCTION = alike);`,
			up:     `UPDATE acc SET n = CASE id WHEN true THEN 1 ELSE 2 END;`,
			reason: `there is an operator =`, allow: "writes-whole-table",
			asked: `SELECT max(n)::text FROM acc`, want: "1",
		},
		{
			name: "a view of the table",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, n int); INSERT INTO acc SELECT i FROM generate_series(1, 3000) i;
				CREATE VIEW empty AS SELECT id FROM acc WHERE n IS NULL;`,
			up:     `UPDATE acc SET n = (SELECT count(*) FROM empty);`,
			reason: `it reads empty, which is no table`, allow: "writes-whole-table, moves-data",
			asked: `SELECT min(n)::text FROM acc`, want: "3000",
		},
		{
			name: "a deferrable key",
			base: `CREATE TABLE item (id bigint PRIMARY KEY, pos int NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED);
				INSERT INTO item SELECT i, i FROM generate_series(1, 5000) i;`,
			up:     `UPDATE item SET pos = pos + 1;`,
			reason: `rows of two batches may meet in the unique or exclusion key item_pos_key`, allow: "writes-whole-table",
			asked: `SELECT sum(pos - id)::text FROM item`, want: "5000",
		},
		{
			name: "a key of a generated column",
			base: `CREATE TABLE item (id bigint PRIMARY KEY, pos int NOT NULL, twice int GENERATED ALWAYS AS (pos * 2) STORED, UNIQUE (twice) DEFERRABLE INITIALLY DEFERRED);
				INSERT INTO item SELECT i, i FROM generate_series(1, 3000) i;`,
			up:     `UPDATE item SET pos = pos + 1;`,
			reason: `item_twice_key`, allow: "writes-whole-table",
			asked: `SELECT sum(pos - id)::text FROM item`, want: "3000",
		},
		{
			name: "a trigger on each statement",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO acc SELECT i FROM generate_series(1, 3000) i;
				CREATE TABLE told (n int); CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO told VALUES (1); RETURN NULL; END$$;
				CREATE TRIGGER tell AFTER UPDATE ON acc FOR EACH STATEMENT EXECUTE FUNCTION tell();`,
			up:     `UPDATE acc SET n = n + 1;`,
			reason: `the trigger tell of acc fires`, allow: "writes-whole-table",
			asked: `SELECT count(*)::text FROM told`, want: "1",
		},
		{
			name: "a trigger of other columns stays out of the way",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, m int, updated_at timestamptz DEFAULT '2026-01-01'); INSERT INTO acc SELECT i FROM generate_series(1, 3000) i;` + touch + `
				CREATE TRIGGER touch BEFORE UPDATE OF m ON acc FOR EACH ROW EXECUTE FUNCTION touch();`,
			up:    `UPDATE acc SET n = n + 1;`,
			asked: `SELECT format('%s %s', sum(n), count(DISTINCT updated_at)) FROM acc`, want: "3000 1",
		},
		{
			name: "a rule",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO acc SELECT i FROM generate_series(1, 3000) i;
				CREATE TABLE told (n int); CREATE RULE tell AS ON UPDATE TO acc DO ALSO INSERT INTO told VALUES (NEW.n);`,
			up:     `UPDATE acc SET n = n + 1;`,
			reason: `the rule tell of acc`, allow: "writes-whole-table",
			asked: `SELECT format('%s %s', sum(n), count(*)) FROM told`, want: "3000 3000",
		},
		{
			name: "children",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); CREATE TABLE more () INHERITS (acc);
				INSERT INTO acc SELECT i FROM generate_series(1, 10) i; INSERT INTO more SELECT i FROM generate_series(1, 3000) i;`,
			up:     `UPDATE acc SET n = n + 1;`,
			reason: `acc has partitions, a parent or children`, allow: "writes-whole-table",
			asked: `SELECT sum(n)::text FROM acc`, want: "3010",
		},
		{
			name: "a constraint that reads the table",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO acc SELECT i FROM generate_series(1, 3000) i;
				CREATE FUNCTION fine(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true';
				ALTER TABLE acc ADD CHECK (fine(n));`,
			up:     `UPDATE acc SET n = n + 1;`,
			reason: `calls code of the database's own`, allow: "writes-whole-table",
			asked: `SELECT sum(n)::text FROM acc`, want: "3000",
		},
		{
			name: "a constraint of the same script that reads the table",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO acc SELECT i FROM generate_series(1, 3000) i;
				CREATE FUNCTION fine(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT count(*) > 0 FROM acc';`,
			up:     `ALTER TABLE acc ADD CONSTRAINT k CHECK (fine(n)); UPDATE acc SET n = n + 1;`,
			reason: `there is a function fine(integer) of the database's own`, allow: "writes-whole-table",
			asked: `SELECT sum(n)::text FROM acc`, want: "3000",
		},
		{
			name: "an index of the same script that calls its function",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO acc SELECT i FROM generate_series(1, 3000) i;`,
			up: `CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
				CREATE INDEX i ON acc (twice(n)); UPDATE acc SET n = n + 1;`,
			reason: `a constraint, an index or a column of acc calls twice`, allow: "writes-whole-table, opaque, holds-lock, blocks-writes",
			asked: `SELECT sum(n)::text FROM acc`, want: "3000",
		},
		{
			name: "a child that loses its reference, on which more hangs",
			base: `CREATE TABLE a (id bigint PRIMARY KEY); CREATE TABLE b (id bigint PRIMARY KEY, a bigint REFERENCES a ON DELETE CASCADE);
				CREATE TABLE c (id bigint PRIMARY KEY, b bigint REFERENCES b, a bigint REFERENCES a ON DELETE CASCADE);
				INSERT INTO a SELECT i FROM generate_series(1, 3000) i; INSERT INTO b SELECT i, i FROM generate_series(1, 3000) i;
				INSERT INTO c SELECT i, i, 3001 - i FROM generate_series(1, 3000) i;`,
			up:     `DELETE FROM a;`,
			reason: `rows of b go with those of a, and more hangs on them`, allow: "writes-whole-table",
			asked: `SELECT (SELECT count(*) FROM a) || ' ' || (SELECT count(*) FROM c)`, want: "0 0",
		},
		{
			name: "a child on which nothing hangs",
			base: `CREATE TABLE a (id bigint PRIMARY KEY); CREATE TABLE b (id bigint PRIMARY KEY, a bigint REFERENCES a ON DELETE SET NULL);
				INSERT INTO a SELECT i FROM generate_series(1, 3000) i; INSERT INTO b SELECT i, i FROM generate_series(1, 3000) i;`,
			up:    `DELETE FROM a WHERE id > 10;`,
			asked: `SELECT (SELECT count(*) FROM a) || ' ' || (SELECT count(a) FROM b)`, want: "10 10",
		},
		{
			name: "one moment for all rows",
			base: `CREATE TABLE acc (id bigint PRIMARY KEY, at timestamptz, day date); INSERT INTO acc SELECT i FROM generate_series(1, 30000) i;`,
			up:   `UPDATE acc SET at = now(), day = CURRENT_DATE;`, asked: `SELECT count(DISTINCT at)::text FROM acc`, want: "1",
		},
		{
			name:   "a time that is written as text",
			base:   `CREATE TABLE acc (id bigint PRIMARY KEY, at timestamptz); INSERT INTO acc SELECT i FROM generate_series(1, 3000) i;`,
			up:     `UPDATE acc SET at = 'now';`,
			reason: `"now" means another time`, allow: "writes-whole-table",
			asked: `SELECT count(DISTINCT at)::text FROM acc`, want: "1",
		},
		{
			name:   "defaults of a table that an INSERT fills",
			base:   `CREATE TABLE s (id bigint PRIMARY KEY); INSERT INTO s SELECT i FROM generate_series(1, 3000) i; CREATE TABLE x (id bigint, at timestamptz DEFAULT now());`,
			up:     `INSERT INTO x (id) SELECT id FROM s;`,
			reason: `the default of at in x may differ between batches`, allow: "moves-data, not-split",
			asked: `SELECT count(DISTINCT at)::text FROM x`, want: "1",
		},
	}) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.NewDatabase(t)
			conn := connect(t, dsn)
			must(t, conn, c.base)
			folder := files("1_a.sql", up+c.up+"\n")
			var refused *migrate.HazardError
			if c.reason != "" {
				for what, err := range map[string]error{"plan": liveGoose(folder).LiveHazardsAt(t.Context(), dsn), "run": liveGoose(folder).Migrate(t.Context(), dsn)} {
					if !errors.As(err, &refused) || !strings.Contains(fmt.Sprint(err), c.reason) {
						t.Fatalf("%s: %v; want a refusal with %q", what, err, c.reason)
					}
				}
				if ask[bool](t, conn, `SELECT to_regclass('tideover_backfill') IS NOT NULL`) {
					t.Error("refused, but begun")
				}
			}
			allowed := strings.Split(c.allow, ", ")
			if err := liveGoose(folder, migrate.Allow(allowed...)).LiveHazardsAt(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
			if err := liveGoose(folder, migrate.Allow(allowed...)).Migrate(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
			if got := ask[string](t, conn, c.asked); got != c.want {
				t.Errorf("%s: %s, want %s", c.asked, got, c.want)
			}
		})
	}
}

// TestNoRightToSilenceTriggers: a role that may not turn replication on turns them off for each batch, and on again.
func TestNoRightToSilenceTriggers(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	role := fmt.Sprintf("plain_%d", conn.PgConn().PID())
	must(t, conn, `CREATE ROLE `+role+`; GRANT CREATE, USAGE ON SCHEMA public TO `+role)
	must(t, conn, `SET ROLE `+role)
	must(t, conn, `CREATE TABLE doc (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0);
		CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.n := NEW.n + 1; RETURN NEW; END$$;
		CREATE TRIGGER count_up BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION count_up();
		INSERT INTO doc SELECT i FROM generate_series(1, 3000) i;`)
	must(t, conn, `RESET ROLE; ALTER DATABASE `+ask[string](t, conn, `SELECT quote_ident(current_database())`)+` SET role = `+role)
	folder := files("1_a.sql", up+`ALTER TABLE doc ADD COLUMN u uuid NOT NULL DEFAULT gen_random_uuid();`)
	if err := liveGoose(folder).Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	if got := ask[string](t, conn, `SELECT format('%s %s %s', sum(n), count(u), (SELECT tgenabled FROM pg_trigger WHERE tgname = 'count_up')) FROM doc`); got != "0 3000 O" {
		t.Error(got)
	}
	must(t, conn, `ALTER DATABASE `+ask[string](t, conn, `SELECT quote_ident(current_database())`)+` RESET role`)
}

// TestNotNullWithoutDefault: the server in use fails from then on, which the scripts show or the catalog.
func TestNotNullWithoutDefault(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	must(t, connect(t, dsn), `CREATE TABLE acc (id bigint PRIMARY KEY, name text NOT NULL, old text, filled text DEFAULT 'x');
		INSERT INTO acc SELECT i, 'n', 'o' FROM generate_series(1, 10) i;`)
	for _, c := range []struct {
		name, up       string
		static, online bool // refused
	}{
		{"a new column", "ALTER TABLE acc ADD COLUMN q text;\nUPDATE acc SET q = name;\nALTER TABLE acc ALTER COLUMN q SET NOT NULL;", true, true},
		{"a new column that is given a default", "ALTER TABLE acc ADD COLUMN q text;\nUPDATE acc SET q = name;\nALTER TABLE acc ALTER COLUMN q SET DEFAULT '', ALTER COLUMN q SET NOT NULL;", false, false},
		{"a default that comes too late", "ALTER TABLE acc ADD COLUMN q text;\nUPDATE acc SET q = name;\nALTER TABLE acc ALTER COLUMN q SET NOT NULL;\nALTER TABLE acc ALTER COLUMN q SET DEFAULT '';", true, true},
		{"a new serial", "ALTER TABLE acc ADD COLUMN q serial;\nALTER TABLE acc ALTER COLUMN q SET NOT NULL;", false, false},
		{"a new column at once", "ALTER TABLE acc ADD COLUMN q text NOT NULL;", true, true},
		{"an old column", "ALTER TABLE acc ALTER COLUMN old SET NOT NULL;", false, true},
		{"an old column as a key", "ALTER TABLE acc DROP CONSTRAINT acc_pkey, ADD CONSTRAINT acc_pkey PRIMARY KEY (id, old);", false, true},
		{"an old column with a default", "ALTER TABLE acc ALTER COLUMN filled SET NOT NULL;", false, false},
		{"one that is NOT NULL", "ALTER TABLE acc ALTER COLUMN name SET NOT NULL;", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := liveGoose(files("1_a.sql", up+c.up+"\n"))
			for what, got := range map[string]error{"static": g.LiveHazards(0), "online": g.LiveHazardsAt(t.Context(), dsn)} {
				var refused *migrate.HazardError
				is := errors.As(got, &refused) && strings.Contains(strings.Join(refused.Names(), " "), "needs-value")
				if want := map[string]bool{"static": c.static, "online": c.online}[what]; is != want {
					t.Errorf("%s: %v; want a refusal: %t", what, got, want)
				}
			}
		})
	}
}

// TestNotNullOfAnEarlierFile: the folder shows it, without a database.
func TestNotNullOfAnEarlierFile(t *testing.T) {
	t.Parallel()
	folder := files("1_a.sql", up+"ALTER TABLE acc ADD COLUMN q text;\n", "2_b.sql", up+"ALTER TABLE acc RENAME COLUMN q TO r;\n", "3_c.sql", up+"ALTER TABLE acc ALTER COLUMN r SET NOT NULL;\n")
	var refused *migrate.HazardError
	if err := liveGoose(folder, migrate.Allow("breaks-old-server")).LiveHazards(2); !errors.As(err, &refused) || fmt.Sprint(refused.Names()) != "[needs-value]" {
		t.Error(err)
	}
}
