package preflight_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

// oldSchema has rows that the migrations of newSchema refuse, of each kind another number.
const oldSchema = `
CREATE EXTENSION btree_gist;
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE app (id integer PRIMARY KEY, name text, mail text, level text, uris text, port text, code text, amount text, born text, uid text, score integer);
CREATE TABLE token (id integer PRIMARY KEY, app integer, parent integer REFERENCES token (id) ON DELETE CASCADE);
CREATE TABLE room (id integer PRIMARY KEY, room integer, during tstzrange);
INSERT INTO app SELECT i, 'app' || i, 'm' || i || '@x', 'low', '["a"]', i::text, 'c', i::text, '2020-01-01', gen_random_uuid()::text, i FROM generate_series(1, 500) i;
INSERT INTO token SELECT i, i FROM generate_series(1, 300) i;
INSERT INTO token SELECT 1000 + i, i, i FROM generate_series(1, 20) i;
INSERT INTO room SELECT i, i, '[2020-01-01, 2020-02-01)' FROM generate_series(1, 20) i;
UPDATE app SET name = NULL WHERE id <= 2;                                                   -- not null: 2
UPDATE app SET mail = 'twice@x' WHERE id BETWEEN 10 AND 13;                                 -- unique: 3
UPDATE app SET name = 'Same' WHERE id BETWEEN 20 AND 22; UPDATE app SET name = 'sAME' WHERE id BETWEEN 23 AND 24; -- unique by an expression: 4
UPDATE token SET app = 9999 WHERE id BETWEEN 1 AND 5;                                       -- foreign key: 5, and 5 that hang on them
UPDATE app SET level = 'none' WHERE id BETWEEN 30 AND 35;                                   -- check: 6
UPDATE app SET uris = 'no json' WHERE id BETWEEN 40 AND 45; UPDATE app SET uris = '["\u0000"]' WHERE id = 46; -- json: 7
UPDATE app SET port = 'http' WHERE id BETWEEN 50 AND 57;                                    -- number: 8
UPDATE app SET code = 'much too long' WHERE id BETWEEN 60 AND 68;                           -- length: 9
UPDATE app SET amount = '123456789' WHERE id BETWEEN 70 AND 79;                             -- precision: 10
UPDATE app SET born = '2020-02-30' WHERE id BETWEEN 80 AND 90;                              -- date: 11
UPDATE app SET uid = 'none' WHERE id BETWEEN 100 AND 111;                                   -- uuid: 12
UPDATE app SET score = -1 WHERE id BETWEEN 120 AND 132;                                     -- domain: 13
UPDATE room SET room = 1 WHERE id BETWEEN 2 AND 15;                                         -- exclusion: 14
`

const newSchema = `-- +goose Up
ALTER TABLE app ALTER COLUMN name SET NOT NULL;
ALTER TABLE app ADD CONSTRAINT app_mail_key UNIQUE (mail);
CREATE UNIQUE INDEX app_lower_name ON app (lower(name));
ALTER TABLE token ADD CONSTRAINT token_app_fk FOREIGN KEY (app) REFERENCES app (id);
ALTER TABLE app ADD CONSTRAINT app_level_check CHECK (level IN ('low', 'high'));
ALTER TABLE app ALTER COLUMN uris TYPE jsonb USING uris::jsonb, ALTER COLUMN uris SET DEFAULT '[]';
ALTER TABLE app ALTER COLUMN port TYPE integer USING port::integer;
ALTER TABLE app ALTER COLUMN code TYPE varchar(5);
ALTER TABLE app ALTER COLUMN amount TYPE numeric(6, 2) USING amount::numeric;
ALTER TABLE app ALTER COLUMN born TYPE date USING born::date;
ALTER TABLE app ALTER COLUMN uid TYPE uuid USING uid::uuid;
ALTER TABLE app ALTER COLUMN score TYPE positive;
ALTER TABLE room ADD CONSTRAINT room_excl EXCLUDE USING gist (room WITH =, during WITH &&);
`

// offending is how many rows of each kind are named, by the rule that is proposed for them.
var offending = map[string]int64{
	"app-not-null-name": 2, "app-unique-mail-key": 3, "app-unique-lower-name": 4, "token-foreign-key-app-fk": 5, "app-check-level-check": 6,
	"app-json-uris-jsonb": 7, "app-type-port-integer": 8, "app-type-code-character-varying-5": 9, "app-type-amount-numeric-6-2": 10, "app-type-born-date": 11,
	"app-type-uid-uuid": 12, "app-type-score-positive": 13, "room-exclusion-excl": 14,
}

// TestEveryOffendingRowIsNamedAndItsRulePasses: what preflight finds before anything is copied is exactly what the migrations
// would refuse; the rules that it proposes, read back from its YAML, let them pass, and no row is lost by them.
func TestEveryOffendingRowIsNamedAndItsRulePasses(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	goose := migrate.NewGoose(fstest.MapFS{"00001_new.sql": {Data: []byte(newSchema)}}, 1)
	o := preflight.Options{Blue: open(t, "blue"), Green: open(t, "green"), Migrator: goose, Profile: &plan.Profile{Schema: "public"}}
	for _, n := range []string{"app", "token", "room"} {
		o.Profile.Tables = append(o.Profile.Tables, plan.Table{Name: n})
	}
	if _, err := pgtest.Pool(t, o.Blue.DSN()).Exec(t.Context(), oldSchema); err != nil {
		t.Fatal(err)
	}
	findings := check(t, o)
	got := map[string]int64{}
	for _, f := range findings {
		if f.Rule != nil {
			got[f.Rule.Name] = f.Rows
		}
	}
	if diff := cmp.Diff(offending, got); diff != "" {
		t.Fatalf("the rules that are proposed, with their rows (-want +got):\n%s\n%+v", diff, findings)
	}
	text, err := preflight.Proposed(findings)
	if err != nil {
		t.Fatal(err)
	}
	var pasted struct {
		Rules []plan.Rule `yaml:"rules"`
	}
	if err := yaml.UnmarshalWithOptions([]byte(text), &pasted, yaml.Strict()); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	o.Profile.Rules = pasted.Rules
	for _, f := range check(t, o) {
		if f.Level != preflight.OK {
			t.Errorf("with the proposed rules: %+v", f)
		}
	}

	if _, err := snapshot.Copy(t.Context(), snapshot.Options{Blue: o.Blue, Green: o.Green, Profile: o.Profile}); err != nil {
		t.Fatal(err)
	}
	green, err := o.Green.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer green.Close(t.Context())
	if _, err := green.Exec(t.Context(), `SET search_path = public, pg_temp`); err != nil {
		t.Fatal(err)
	}
	before := contents(t, green)
	rules := cleanup.New(pasted.Rules, cleanup.Options{Schemas: plan.Schemas{"public"}})
	results, err := rules.Apply(t.Context(), green, "before")
	if err != nil {
		t.Fatal(err)
	}
	kept, gone := int64(0), int64(0)
	for i, r := range results {
		// Tokens lose their apps to the rules before theirs: how many, preflight has foreseen.
		if r.Rows != *pasted.Rules[i].ExpectAtMost || r.Left != 0 || r.Rows != offending[r.Rule] && r.Rule != "token-foreign-key-app-fk" {
			t.Errorf("%+v; want %d rows and none left", r, offending[r.Rule])
		}
		if r.Quarantined {
			gone += r.Rows + r.Cascaded
		}
	}
	if err := green.QueryRow(t.Context(), `SELECT count(*) FROM tideover.quarantine`).Scan(&kept); err != nil || kept != gone || gone < 100 {
		t.Errorf("%d rows are gone from their tables, %d are in quarantine (%v)", gone, kept, err)
	}
	if err := goose.Migrate(t.Context(), o.Green.DSN()); err != nil {
		t.Errorf("the migrations refuse what is left: %v", err)
	}

	// There and back: on a copy that is not migrated the rows return as they were, but for the JSON that was repaired.
	again := open(t, "green")
	if _, err := snapshot.Copy(t.Context(), snapshot.Options{Blue: o.Blue, Green: again, Profile: o.Profile}); err != nil {
		t.Fatal(err)
	}
	back, err := again.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close(t.Context())
	if _, err := back.Exec(t.Context(), `SET search_path = public, pg_temp`); err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Apply(t.Context(), back, "before"); err != nil {
		t.Fatal(err)
	}
	for i := len(pasted.Rules) - 1; i >= 0; i-- {
		if r := pasted.Rules[i]; r.Quarantine {
			n, err := cleanup.Restore(t.Context(), back, plan.Schemas{"public"}, r.Name)
			if err != nil || n < offending[r.Name] {
				t.Errorf("restore %s: %d rows, %v", r.Name, n, err)
			}
		}
	}
	if _, err := back.Exec(t.Context(), `UPDATE app SET uris = 'no json' WHERE uris = '["no json"]'; UPDATE app SET uris = '["\u0000"]' WHERE uris = '[""]'`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, contents(t, back)); diff != "" {
		t.Errorf("what came back is not what was there (-was +is):\n%s", diff)
	}
}

// contents has all rows of the tables as text.
func contents(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	var all strings.Builder
	for _, table := range []string{"app", "token", "room"} {
		var rows string
		if err := conn.QueryRow(t.Context(), fmt.Sprintf(`SELECT string_agg(t::text, E'\n' ORDER BY id) FROM %s t`, table)).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		all.WriteString(rows + "\n")
	}
	return all.String()
}

// TestNoRuleForAWholeTable: what no row meets the migrations have to see to, and nothing is proposed that would set a whole table
// aside; of what the profile says that they convert, nothing is said.
func TestNoRuleForAWholeTable(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const before = `CREATE TABLE app (id integer PRIMARY KEY, pk integer, list text, bars text, note text);
		INSERT INTO app SELECT i, i, 'a|b', CASE WHEN i = 1 THEN '{}' ELSE 'a|b' END FROM generate_series(1, 5) i;`
	const after = `-- +goose Up
		UPDATE app SET note = '' WHERE note IS NULL;
		ALTER TABLE app ALTER COLUMN note SET NOT NULL, ALTER COLUMN pk TYPE uuid USING gen_random_uuid(),
			ALTER COLUMN list TYPE jsonb USING to_jsonb(string_to_array(list, '|')), ALTER COLUMN bars TYPE jsonb USING to_jsonb(string_to_array(bars, '|'));`
	o := preflight.Options{Blue: open(t, "blue"), Green: open(t, "green"), Migrator: migrate.NewGoose(fstest.MapFS{"00001_new.sql": {Data: []byte(after)}}, 1),
		Profile: &plan.Profile{Schema: "public", Tables: []plan.Table{{Name: "app"}}, Converted: []plan.ColumnRef{{Table: "app", Column: "bars"}}}}
	if _, err := pgtest.Pool(t, o.Blue.DSN()).Exec(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	findings := check(t, o)
	if text, err := preflight.Proposed(findings); err != nil || text != "" {
		t.Errorf("proposed (%v):\n%s", err, text)
	}
	if !has(findings, preflight.Warn, "constraints", "not null of table \"app\" (note): none of the 5 rows of blue meets it", 5) ||
		!has(findings, preflight.OK, "constraints", "type of table \"app\" (pk uuid): none of the 5", 0) ||
		!has(findings, preflight.OK, "constraints", "json of table \"app\" (list jsonb): none of the 5", 0) {
		t.Errorf("%+v", findings)
	}
	for _, f := range findings {
		if strings.Contains(f.Text, "bars") {
			t.Errorf("of what is converted: %+v", f)
		}
	}
}
