package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

// noMigrations leave a database as it is: then green must be the same as blue, value by value.
type noMigrations struct{}

func (noMigrations) Migrate(context.Context, string) error { return nil }

// twin is a blue of some schema and rows, whose changes are captured, and a green that was copied from it.
type twin struct{ *pair }

func newTwin(t testing.TB, p *plan.Profile, schema string) *twin {
	t.Helper()
	return newTwinOf(t, p, schema, newDatabase(t), triggers)
}

// newTwinOf has blue's database at dsn, and a source.
func newTwinOf(t testing.TB, p *plan.Profile, schema, dsn, source string) *twin {
	t.Helper()
	w := &twin{&pair{blue: open(t, "blue", dsn), profile: p}}
	w.as(t, schema)
	// What the schema's SQL sets for the database is in force for new sessions.
	w.blue = open(t, "blue", w.blue.DSN())
	w.green = open(t, "green", newDatabase(t))
	installSource(t, w.blue, p, source)
	if _, err := snapshot.Copy(t.Context(), snapshot.Options{Blue: w.blue, Green: w.green, Profile: p, Jobs: 1, Triggers: true}); err != nil {
		t.Fatal(err)
	}
	w.config = Config{Blue: w.blue, Green: w.green, Profile: p, Migrator: noMigrations{}, Rules: cleanup.New(nil, cleanup.Options{}), Source: sourceOf(w.blue, p, source)}
	return w
}

// differences are the rows that one side alone has, as text of one form.
func (w *twin) differences(t testing.TB) []string {
	t.Helper()
	rows := func(db *postgres.DB) []string {
		conn := stranger(t, db)
		const form = `SET search_path = ''; SET DateStyle = ISO; SET IntervalStyle = postgres; SET TimeZone = UTC; SET extra_float_digits = 3; SET bytea_output = hex; SET row_security = off`
		if _, err := conn.Exec(t.Context(), form, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		const tables = `
SELECT c.oid::regclass::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tideover') ORDER BY 1`
		names, err := collect[string](t.Context(), conn, "tables", tables)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, name := range names {
			some, err := collect[string](t.Context(), conn, name, "SELECT '"+name+" ' || (t.*)::text FROM ONLY "+name+" t")
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, some...)
		}
		slices.Sort(all)
		return all
	}
	want, got := rows(w.blue), rows(w.green)
	var found []string
	for _, row := range want {
		if i := slices.Index(got, row); i >= 0 {
			got = slices.Delete(got, i, i+1)
		} else {
			found = append(found, "green lacks "+row)
		}
	}
	for _, row := range got {
		found = append(found, "green has "+row)
	}
	return found
}

func tables(names ...string) []plan.Table {
	var all []plan.Table
	for _, n := range names {
		name, key, _ := strings.Cut(n, " ")
		t := plan.Table{Name: name}
		if key != "" {
			t.Key = strings.Split(key, ",")
		}
		all = append(all, t)
	}
	return all
}

// settingSQL gives the database of the session a setting for all that come.
func settingSQL(name, value string) string {
	return fmt.Sprintf(`DO $$ BEGIN EXECUTE pg_catalog.format('ALTER DATABASE %%I SET %s = %%L', pg_catalog.current_database(), '%s'); END $$;`, name, value)
}

// What replay brings is what blue has, whatever the shape of the tables.
func TestShapes(t *testing.T) {
	t.Parallel()
	for _, s := range quick.First(t, 1, []struct {
		name            string
		tables          []plan.Table
		schema, changes string
		green           string // run on green after the copy
	}{
		{
			name:   "equal is not the same",
			tables: tables("token id", "word w", "amount n"),
			schema: `
CREATE EXTENSION citext; CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE token (id bigint PRIMARY KEY, c citext, n numeric, i interval, t text COLLATE ci, j jsonb, f float8, a citext[], x json, p point);
INSERT INTO token SELECT x, 'abc', 1.0, '1 day', 'abc', '{"a":1.0}', 0.0, '{abc}', '{"a":1}', '(1,2)' FROM generate_series(1, 12) x;
CREATE TABLE word (w citext PRIMARY KEY, v text UNIQUE); INSERT INTO word VALUES ('Alice', '1'), ('Bob', '2'), ('Carl', '3');
CREATE TABLE amount (n numeric PRIMARY KEY, t text COLLATE ci UNIQUE); INSERT INTO amount VALUES (1.0, 'One'), (2, 'Two');`,
			changes: `
UPDATE token SET c = 'ABC' WHERE id = 1; UPDATE token SET n = 1.00 WHERE id = 2; UPDATE token SET i = '24 hours' WHERE id = 3; UPDATE token SET t = 'ABC' WHERE id = 4;
UPDATE token SET j = '{"a":1.00}' WHERE id = 5; UPDATE token SET f = '-0' WHERE id = 6; UPDATE token SET a = '{ABC}' WHERE id = 7;
UPDATE token SET x = '{"a": 1}' WHERE id = 8; UPDATE token SET p = '(1,3)' WHERE id = 9;
UPDATE word SET w = 'ALICE' WHERE w = 'alice'; DELETE FROM word WHERE w = 'carl'; INSERT INTO word VALUES ('CARL', '2b'); UPDATE word SET v = '3' WHERE w = 'bob';
UPDATE amount SET n = 1.000 WHERE n = 1; UPDATE amount SET t = 'TWO' WHERE n = 2;`,
		},
		{
			name:   "operators in another schema",
			tables: tables("token id"),
			schema: `
CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions; CREATE EXTENSION hstore SCHEMA extensions;
SET search_path = public, extensions;
CREATE TABLE token (id citext PRIMARY KEY, h hstore, n int DEFAULT 0);
INSERT INTO token (id, h) VALUES ('Alice', 'a=>1'), ('Bob', 'b=>2'), ('Carl', NULL);`,
			changes: `
SET search_path = public, extensions;
UPDATE token SET id = 'ALICE' WHERE id = 'alice'; UPDATE token SET h = 'b=>3' WHERE id = 'BOB'; INSERT INTO token (id, h) VALUES ('Dora', 'x=>NULL');
DELETE FROM token WHERE id = 'carl'; INSERT INTO token (id) VALUES ('CARL');`,
		},
		{
			name:   "settings of database and session",
			tables: tables("token id", "day d", "span s", "number f", "raw b", "zoned z", "list l"),
			schema: settingSQL("DateStyle", "SQL, DMY") + settingSQL("IntervalStyle", "sql_standard") + settingSQL("extra_float_digits", "0") +
				settingSQL("bytea_output", "escape") + settingSQL("TimeZone", "Asia/Kolkata") + `
CREATE TABLE token (id int PRIMARY KEY, d date, ts timestamp, tz timestamptz, i interval, f float8, ar float8[], b bytea, r daterange);
INSERT INTO token VALUES (1, '2024-02-03', '2024-02-03 04:05:06.7', '2024-02-03 04:05:06.7+00', '1 year -2 days +03:04:05.6', 0.1 + 0.2, ARRAY[0.1 + 0.2::float8], '\x005c0a27ff', '[2024-02-03,2024-02-05)');
CREATE TABLE day (d date PRIMARY KEY, v int); INSERT INTO day VALUES ('2024-02-03', 1), ('2024-03-04', 2);
CREATE TABLE span (s interval PRIMARY KEY, v int); INSERT INTO span VALUES ('1 mon -1 day', 1), ('-1 year +2 days -03:00', 2);
CREATE TABLE number (f float8 PRIMARY KEY, v int); INSERT INTO number VALUES (0.1::float8 + 0.2::float8, 1), (0.3, 2);
CREATE TABLE raw (b bytea PRIMARY KEY, v int); INSERT INTO raw VALUES ('\x005c0a27ff', 1), ('\x61', 2);
CREATE TABLE zoned (z timestamptz PRIMARY KEY, v int); INSERT INTO zoned VALUES ('2024-02-03 04:05:06.7+00', 1), ('infinity', 2), ('2024-03-04 04:05:06+00', 3);
CREATE TABLE list (l int[] PRIMARY KEY, v int); INSERT INTO list VALUES ('{1,2}', 1), ('{}', 2);`,
			changes: `
UPDATE day SET v = v + 10; UPDATE span SET v = v + 10; UPDATE number SET v = v + 10; UPDATE raw SET v = v + 10; UPDATE zoned SET v = v + 10; UPDATE list SET v = v + 10;
SET DateStyle = 'German'; SET IntervalStyle = 'iso_8601'; SET TimeZone = 'America/New_York'; SET extra_float_digits = -3; SET bytea_output = 'hex';
UPDATE token SET d = '2024-03-04', ts = '2024-03-04 05:06:07', tz = '2024-03-04 05:06:07+00', i = '-1 day +00:00:01', f = 0.1 + 0.7, ar = ARRAY[0.1::float8 + 0.7], b = '\x0001025c5c27', r = '[2024-03-04,2024-03-07)' WHERE id = 1;
DELETE FROM day WHERE v = 12; DELETE FROM span WHERE v = 12; DELETE FROM number WHERE v = 12; DELETE FROM raw WHERE v = 12; DELETE FROM zoned WHERE v = 13; DELETE FROM list WHERE v = 12;
UPDATE day SET d = '2024-05-06'; UPDATE span SET s = '7 days'; UPDATE number SET f = 0.1 + 0.7; UPDATE raw SET b = '\xff00'; UPDATE zoned SET z = '2024-05-06 05:06:07+00' WHERE v = 11; UPDATE list SET l = '{3,NULL}';`,
		},
		{
			name:    "inheritance",
			tables:  tables("token id", "token_child id"),
			schema:  `CREATE TABLE token (id bigint PRIMARY KEY, v text); CREATE TABLE token_child (extra int, PRIMARY KEY (id)) INHERITS (token); INSERT INTO token VALUES (1, 'a'), (2, 'b'); INSERT INTO token_child VALUES (10, 'c', 1), (11, 'd', 2);`,
			changes: `UPDATE token SET v = 'z'; INSERT INTO token_child VALUES (12, 'n', 3), (1, 'the same key', 4); DELETE FROM token WHERE id = 11; DELETE FROM ONLY token WHERE id = 2; TRUNCATE ONLY token; INSERT INTO token VALUES (3, 'new')`,
		},
		{
			name:   "partitions",
			tables: tables("part id,at", "deep id,a,b"),
			schema: `
CREATE TABLE part (id bigint, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2024-02-01'); CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
CREATE TABLE part_d PARTITION OF part DEFAULT;
INSERT INTO part SELECT i, date '2024-01-01' + i, 'p' FROM generate_series(0, 70) i;
CREATE TABLE deep (id int, a int, b int, v text, PRIMARY KEY (id, a, b)) PARTITION BY LIST (a);
CREATE TABLE deep_1 PARTITION OF deep FOR VALUES IN (1) PARTITION BY LIST (b);
CREATE TABLE deep_1_1 PARTITION OF deep_1 FOR VALUES IN (1); CREATE TABLE deep_1_2 (v text, b int, a int, id int NOT NULL); ALTER TABLE deep_1_2 ALTER a SET NOT NULL, ALTER b SET NOT NULL; ALTER TABLE deep_1 ATTACH PARTITION deep_1_2 FOR VALUES IN (2);
INSERT INTO deep SELECT i, 1, 1 + i % 2, 'd' FROM generate_series(1, 10) i;`,
			changes: `
UPDATE part SET at = '2024-02-10' WHERE id = 3; UPDATE part_1 SET v = 'direct' WHERE id = 4; TRUNCATE part_2; INSERT INTO part VALUES (900, '2030-01-01', 'def'); DELETE FROM part_d WHERE id = 65;
TRUNCATE deep_1_2; INSERT INTO deep VALUES (77, 1, 2, 'again'); UPDATE deep SET b = 2 WHERE id = 4; `,
		},
		{
			name:   "a whole partition tree is truncated",
			tables: tables("deep id,a,b"),
			schema: `
CREATE TABLE deep (id int, a int, b int, PRIMARY KEY (id, a, b)) PARTITION BY LIST (a); CREATE TABLE deep_1 PARTITION OF deep FOR VALUES IN (1) PARTITION BY LIST (b);
CREATE TABLE deep_1_1 PARTITION OF deep_1 FOR VALUES IN (1); CREATE TABLE deep_2 PARTITION OF deep FOR VALUES IN (2); INSERT INTO deep VALUES (1, 1, 1), (2, 2, 1), (3, 2, 2);`,
			changes: `TRUNCATE deep_1; INSERT INTO deep VALUES (5, 1, 1); TRUNCATE deep; INSERT INTO deep VALUES (6, 2, 9)`,
		},
		{
			name:   "identity beside the key",
			tables: tables("token id", "child token"),
			schema: `
CREATE TABLE token (id text PRIMARY KEY, seq bigint GENERATED ALWAYS AS IDENTITY, v text); INSERT INTO token (id, v) VALUES ('a', '1'), ('b', '2'), ('c', '3');
CREATE TABLE child (token text PRIMARY KEY REFERENCES token ON DELETE CASCADE, n int); INSERT INTO child VALUES ('b', 1), ('c', 2);`,
			changes: `DELETE FROM token WHERE id = 'a'; INSERT INTO token (id, v) VALUES ('a', '9'); UPDATE token SET seq = DEFAULT WHERE id = 'b'`,
		},
		{
			name:   "computed keys and identities",
			tables: tables("token id", "only_id id", "gen sig", "child token_id"),
			schema: `
CREATE TABLE token (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar NOT NULL, shout text GENERATED ALWAYS AS (upper(name)) STORED);
CREATE TABLE only_id (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE child (token_id int PRIMARY KEY REFERENCES token, v int GENERATED BY DEFAULT AS IDENTITY);
CREATE TABLE gen (raw text, sig text GENERATED ALWAYS AS (md5(raw)) STORED PRIMARY KEY);
INSERT INTO token (name) SELECT 'n' || i FROM generate_series(1, 50) i; DELETE FROM token WHERE id < 5; INSERT INTO only_id SELECT FROM generate_series(1, 20);
INSERT INTO child (token_id) SELECT id FROM token WHERE id < 40; INSERT INTO gen (raw) VALUES ('a'), ('b'), ('c');`,
			changes: `
UPDATE token SET name = 'new' WHERE id = 7; INSERT INTO token (name) VALUES ('x'); DELETE FROM child WHERE token_id = 8; DELETE FROM token WHERE id = 8;
INSERT INTO token (id, name) OVERRIDING SYSTEM VALUE VALUES (1000, 'far'); INSERT INTO only_id DEFAULT VALUES; DELETE FROM only_id WHERE id = 3;
UPDATE child SET v = 777 WHERE token_id = 9; UPDATE gen SET raw = 'z' WHERE raw = 'a'; INSERT INTO gen (raw) VALUES ('q'); DELETE FROM gen WHERE raw = 'b'`,
		},
		{
			name:   "deferrable keys",
			tables: tables("token id", "pos id"),
			schema: `
CREATE TABLE token (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text); INSERT INTO token VALUES (1, 'a'), (2, 'b'), (3, 'c');
CREATE TABLE pos (id int PRIMARY KEY, p int UNIQUE DEFERRABLE INITIALLY IMMEDIATE); INSERT INTO pos VALUES (1, 10), (2, 20), (3, 30);`,
			changes: `
BEGIN; UPDATE token SET id = CASE id WHEN 1 THEN 2 ELSE 1 END WHERE id < 3; COMMIT;
BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE pos SET p = 20 WHERE id = 1; UPDATE pos SET p = 10 WHERE id = 2; COMMIT; UPDATE pos SET p = p + 10`,
		},
		{
			name:   "exclusion constraints",
			tables: tables("booking id"),
			schema: `CREATE TABLE booking (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&)); INSERT INTO booking VALUES (1, '[1,5)'), (2, '[5,9)'), (3, '[20,30)');`,
			changes: `DELETE FROM booking WHERE id = 3; INSERT INTO booking VALUES (4, '[25,40)'); BEGIN; UPDATE booking SET during = '[100,101)' WHERE id = 1;
UPDATE booking SET during = '[1,5)' WHERE id = 2; UPDATE booking SET during = '[5,9)' WHERE id = 1; COMMIT`,
		},
		{
			name:   "foreign keys in a circle",
			tables: tables("account id", "email id", "node id"),
			schema: `
CREATE TABLE account (id int PRIMARY KEY, main_email int, v text); CREATE TABLE email (id int PRIMARY KEY, account int NOT NULL REFERENCES account ON DELETE CASCADE, addr text);
ALTER TABLE account ADD FOREIGN KEY (main_email) REFERENCES email ON DELETE SET NULL;
CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node);
INSERT INTO account VALUES (1, NULL, 'a'), (5, NULL, 'e'); INSERT INTO email VALUES (1, 1, 'x'), (5, 5, 'z'); UPDATE account SET main_email = id; INSERT INTO node VALUES (1, 1), (2, 1), (3, 2);`,
			changes: `
BEGIN; INSERT INTO account VALUES (2, NULL, 'b'); INSERT INTO email VALUES (2, 2, 'y'); UPDATE account SET main_email = 2 WHERE id = 2; COMMIT;
DELETE FROM account WHERE id = 5; INSERT INTO node VALUES (5, NULL), (4, 5); UPDATE node SET up = 4 WHERE id = 5; UPDATE node SET up = 5 WHERE id = 2; UPDATE node SET up = 3 WHERE id = 1`,
		},
		{
			name:   "a child leaves the parent that goes",
			tables: tables("parent id", "child id", "strict id"),
			schema: `
CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE); CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL REFERENCES parent); CREATE TABLE strict (id int PRIMARY KEY, code text REFERENCES parent (code) ON DELETE RESTRICT);
INSERT INTO parent VALUES (1, 'a'), (2, 'b'); INSERT INTO child VALUES (1, 1), (2, 2); INSERT INTO strict VALUES (1, 'a');`,
			changes: `
BEGIN; UPDATE child SET parent = 2 WHERE id = 1; UPDATE strict SET code = 'b'; DELETE FROM parent WHERE id = 1; COMMIT;
BEGIN; UPDATE strict SET code = NULL; UPDATE parent SET code = 'c' WHERE id = 2; UPDATE strict SET code = 'c'; COMMIT`,
		},
		{
			name:   "a new owner of a name",
			tables: tables("person id"),
			schema: `CREATE TABLE person (id int PRIMARY KEY, name text UNIQUE); INSERT INTO person VALUES (1, 'a'), (2, 'b');`,
			// Nothing captures what refers to a person here: on green it must go with the person all the same.
			green:   `CREATE TABLE green_note (person int REFERENCES person ON DELETE CASCADE); INSERT INTO green_note VALUES (1)`,
			changes: `DELETE FROM person WHERE id = 1; INSERT INTO person VALUES (3, 'a'); CREATE TABLE green_note (person int)`,
		},
		{
			name:    "a key that the profile alone knows",
			tables:  tables("log host,at"),
			schema:  `CREATE TABLE log (host text NOT NULL, at int NOT NULL, line text); INSERT INTO log VALUES ('a', 1, 'x'), ('a', 1, 'x'), ('a', 2, 'y'), ('b', 1, 'z');`,
			changes: `UPDATE log SET line = 'new' WHERE host = 'a' AND at = 2; INSERT INTO log VALUES ('a', 1, 'w'), ('c', 3, NULL); DELETE FROM log WHERE host = 'b'`,
		},
		{
			name:   "domains, enums, composites and ranges",
			tables: tables("odd id", "kind k"),
			schema: `
CREATE TYPE mood AS ENUM ('fine', 'so so', 'bad'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE pairs AS (a int, b text); CREATE DOMAIN tag AS text CHECK (VALUE <> '');
CREATE TABLE odd (id positive PRIMARY KEY, m mood, p pairs, r int4range, ms mood[], t tag, ps pairs[], mr int4multirange);
CREATE TABLE kind (k mood PRIMARY KEY, v int); INSERT INTO kind VALUES ('fine', 1), ('bad', 2);
INSERT INTO odd VALUES (1, 'fine', '(1,"a,b")', '[1,5)', '{fine,bad}', 'x', '{"(1,x)"}', '{[1,3)}'), (2, NULL, NULL, 'empty', '{}', NULL, NULL, NULL);`,
			changes: `UPDATE odd SET m = 'bad', p = ROW (NULL, '"')::pairs, r = NULL, ms = '{NULL}', ps = NULL WHERE id = 1; UPDATE odd SET id = 3 WHERE id = 2; UPDATE kind SET k = 'so so' WHERE k = 'bad'`,
		},
	}) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newTwin(t, &plan.Profile{Tables: s.tables}, s.schema)
			if s.green != "" {
				exec(t, w.green, s.green)
			}
			r := w.replayer(t)
			w.as(t, s.changes)
			if a := drain(t, r); len(a.Parked) > 0 {
				t.Errorf("parked: %v", a.Parked)
			}
			for _, d := range w.differences(t) {
				t.Error(d)
			}
			auditAll(t, NewAudit(r, 1))
			if err := Wake(t.Context(), w.green, postgres.DefaultBudget()); err != nil {
				t.Error(err)
			}
		})
	}
}

// script is a migration of one SQL text.
type script string

func (s script) Migrate(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	_, err = conn.Exec(ctx, string(s), pgx.QueryExecModeSimpleProtocol)
	return err
}

// A check that old rows need not pass lets them through where they are.
func TestChecksThatAreNotValid(t *testing.T) {
	t.Parallel()
	w := newTwin(t, &plan.Profile{Tables: tables("owner", "token")}, `
CREATE TABLE owner (id int PRIMARY KEY, name text);
CREATE TABLE token (id int PRIMARY KEY, owner int REFERENCES owner, v text);
INSERT INTO owner VALUES (1, ''), (2, ''), (3, 'c'); INSERT INTO token VALUES (1, 1, 'a');
ALTER TABLE owner ADD CONSTRAINT named CHECK (name <> '') NOT VALID`)
	r := w.replayer(t)
	w.as(t, `UPDATE token SET v = 'b'; INSERT INTO token VALUES (2, 1, 'c'); UPDATE owner SET name = 'b' WHERE id = 2; INSERT INTO owner VALUES (4, 'd'); UPDATE owner SET name = 'e' WHERE id = 3`)
	if a := drain(t, r); len(a.Parked) > 0 {
		t.Errorf("parked: %q", a.Parked)
	}
	if d := w.differences(t); len(d) > 0 {
		t.Error(d)
	}
}
