package replay

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tideover/tideover/internal/lab/mutant"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

// newMigrated is a twin whose green has been migrated.
func newMigrated(t testing.TB, p *plan.Profile, schema, migration string) *twin {
	t.Helper()
	w := newTwin(t, p, schema)
	w.config.Migrator = migrate.NewGoose(fstest.MapFS{"1_m.sql": {Data: []byte("-- +goose Up\n" + migration + ";\n")}}, 0)
	if err := w.config.Migrator.Migrate(t.Context(), w.green.DSN()); err != nil {
		t.Fatal(err)
	}
	return w
}

// off is how green differs from what the migrations make of blue as it is now, at one go.
func (w *twin) off(t testing.TB) []string {
	t.Helper()
	other := &twin{&pair{blue: open(t, "expected", newDatabase(t)), green: w.green}}
	if err := snapshot.Reference(t.Context(), snapshot.Options{Blue: w.blue, Green: other.blue, Profile: w.profile}); err != nil {
		t.Fatal(err)
	}
	if err := w.config.Migrator.Migrate(t.Context(), other.blue.DSN()); err != nil {
		t.Fatal(err)
	}
	found := other.differences(t)
	for i := len(found) - 1; i >= 0; i-- {
		if strings.Contains(found[i], "goose_db_version") {
			found = append(found[:i], found[i+1:]...)
		}
	}
	return found
}

func follow(from, columns, to, toColumns string) plan.Follow {
	return plan.Follow{From: from, FromColumns: strings.Split(columns, " "), To: to, ToColumns: strings.Split(toColumns, " ")}
}

const lineageFamily = `
CREATE TABLE parent (id int PRIMARY KEY, name text, hidden boolean NOT NULL DEFAULT false, n int);
CREATE TABLE child (id int PRIMARY KEY, up int REFERENCES parent ON DELETE CASCADE, name text, tags text[] NOT NULL DEFAULT '{}', kind text);
INSERT INTO parent SELECT n, 'p' || n, n % 4 = 0 FROM generate_series(1, 8) n;
INSERT INTO child SELECT n, 1 + n % 8, 'c' || n, ARRAY['a' || n, 'b'], CASE WHEN n % 2 = 0 THEN 'cat' ELSE 'dog' END FROM generate_series(1, 24) n;`

const lineageDeeds = `
UPDATE parent SET name = 'other', hidden = NOT hidden WHERE id IN (1, 4);
UPDATE child SET up = 3 WHERE id = 7;
UPDATE child SET tags = '{z}', kind = 'dog' WHERE id = 2;
UPDATE child SET tags = '{}', kind = 'cat' WHERE id = 1;
DELETE FROM child WHERE id = 9;
DELETE FROM parent WHERE id = 6;
INSERT INTO parent VALUES (20, 'new', false, NULL);
INSERT INTO child VALUES (30, 20, 'new', '{q}', 'cat'), (31, 1, 'new', '{q,r}', 'bird')`

var down, up = follow("parent", "id", "child", "up"), follow("child", "up", "parent", "id")

// bumps counts in another row.
const bumps = `CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE public.parent SET n = coalesce(n, 0) + 1 WHERE id = NEW.up; RETURN NULL; END $$;
`

// lineageCase is a migration by which rows hang on others.
type lineageCase struct {
	name, schema, migration string
	deeds                   string // on blue, drained one by one; empty: lineageDeeds
	refused                 string // what the refusal says; empty: it is right
	follow                  []plan.Follow
	settled                 []plan.Settled
}

var lineageCases = []lineageCase{
	{name: "a parent's column", migration: `UPDATE child SET name = p.name FROM parent p WHERE p.id = child.up`, refused: `1_m.sql:2: a row of table "child" becomes what rows of table "parent" say, and is not brought along when these change`},
	{name: "a parent's column, followed", migration: `UPDATE child SET name = p.name FROM parent p WHERE p.id = child.up`, follow: []plan.Follow{down}},
	{name: "a parent's column, without a foreign key", schema: `ALTER TABLE child DROP CONSTRAINT child_up_fkey;`, migration: `UPDATE child SET name = p.name FROM parent p WHERE p.id = child.up`, refused: `doesn't bring them along`},
	{name: "a parent's column, without a foreign key, followed", schema: `ALTER TABLE child DROP CONSTRAINT child_up_fkey;`, migration: `UPDATE child SET name = p.name FROM parent p WHERE p.id = child.up`, follow: []plan.Follow{up, down}},
	{name: "a parent's column, settled", migration: `UPDATE child SET name = p.name FROM parent p WHERE p.id = child.up`, deeds: `UPDATE child SET up = 2 WHERE id = 5`, settled: []plan.Settled{{Table: "child", On: "parent"}}},
	{name: "a new key of a parent", migration: `ALTER TABLE parent ADD COLUMN no int NOT NULL DEFAULT 7; ALTER TABLE child ADD COLUMN up_no int; UPDATE child SET up_no = p.no FROM parent p WHERE p.id = child.up`},
	{name: "a computed column of a parent", migration: `ALTER TABLE parent ADD COLUMN lname text GENERATED ALWAYS AS (lower(name)) STORED; UPDATE child SET name = p.lname FROM parent p WHERE p.id = child.up`, refused: "is not brought along when these change"},
	{name: "a parent by another column than is followed", schema: `ALTER TABLE child ADD COLUMN helper int;`, migration: `UPDATE child SET name = p.name FROM parent p WHERE p.id = child.helper`, follow: []plan.Follow{down, up}, refused: "doesn't bring them along"},
	{name: "a parent of a tree", schema: `ALTER TABLE parent ADD COLUMN above int;`, migration: `UPDATE parent c SET name = p.name FROM parent p WHERE p.id = c.above`, follow: []plan.Follow{follow("parent", "above", "parent", "id")}, refused: "both ways"},
	{name: "a parent of a tree, followed", schema: `ALTER TABLE parent ADD COLUMN above int; UPDATE parent SET above = id / 2 WHERE id > 1;`, migration: `UPDATE parent c SET name = p.name FROM parent p WHERE p.id = c.above`, follow: []plan.Follow{follow("parent", "above", "parent", "id"), follow("parent", "id", "parent", "above")}},
	{name: "numbered rows with their source's key", migration: `CREATE TABLE tag (id bigserial PRIMARY KEY, child int, tag text, UNIQUE (child, tag)); INSERT INTO tag (child, tag) SELECT c.id, x FROM child c, unnest(c.tags) x`, refused: "has another value each time"},
	{name: "rows with a random key", migration: `CREATE TABLE tag (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), child int, tag text); INSERT INTO tag (child, tag) SELECT c.id, x FROM child c, unnest(c.tags) x`, refused: "has another value each time"},
	{name: "a default that looks at rows", schema: `CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.parent';`, migration: `ALTER TABLE child ADD COLUMN n bigint DEFAULT public.counted()`, refused: "the function counted may look at other rows"},
	{name: "an operator that looks at rows", schema: `CREATE FUNCTION counted(int, int) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int + $1 FROM public.parent'; CREATE OPERATOR ## (FUNCTION = counted, LEFTARG = int, RIGHTARG = int);`,
		migration: `UPDATE parent SET n = id OPERATOR(public.##) 1`, refused: "the operator ## calls a function that may look at other rows"},
	{name: "an aggregate that looks at rows", schema: `CREATE FUNCTION counted(int, int) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int + $1 FROM public.parent'; CREATE AGGREGATE summed(int) (SFUNC = counted, STYPE = int, INITCOND = '0');`,
		migration: `UPDATE parent SET n = (SELECT public.summed(x) FROM unnest(ARRAY[id]) x)`, refused: "the function summed may look at other rows"},
	{name: "a cast that looks at rows", schema: `CREATE TYPE pair AS (a int); CREATE FUNCTION counted(pair) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM public.parent'; CREATE CAST (pair AS int) WITH FUNCTION counted(pair);`,
		migration: `UPDATE parent SET n = ROW(id)::public.pair::int`, refused: "the cast (public.pair AS integer), which any value may take, calls a function that may look at other rows"},
	{name: "a key that is changed and cast", migration: `ALTER TABLE child ALTER id TYPE bigint USING (id + 0)::bigint`, refused: `column "id" of table "child" gets another value`},
	{name: "a foreign key that blue lacks", schema: `ALTER TABLE child DROP CONSTRAINT child_up_fkey;`, migration: `ALTER TABLE child ADD FOREIGN KEY (up) REFERENCES parent ON DELETE SET NULL`,
		deeds: `UPDATE child SET name = 'x' WHERE id = 3; INSERT INTO parent VALUES (30); INSERT INTO child VALUES (50, 30); DELETE FROM child WHERE up = 2; DELETE FROM parent WHERE id = 2; UPDATE child SET up = 30 WHERE up = 5; DELETE FROM parent WHERE id = 5`},
	{name: "a foreign key that blue lacks, and what it does", schema: `ALTER TABLE child DROP CONSTRAINT child_up_fkey;`, migration: `ALTER TABLE child ADD FOREIGN KEY (up) REFERENCES parent ON DELETE CASCADE; DELETE FROM parent WHERE hidden`, refused: "is not brought along when these change"},
	{name: "a count of children", migration: `UPDATE parent SET n = (SELECT count(*) FROM child WHERE child.up = parent.id)`, refused: `a row of table "parent" becomes what rows of table "child" say`},
	{name: "a count of children, followed", migration: `UPDATE parent SET n = (SELECT count(*) FROM child WHERE child.up = parent.id)`, follow: []plan.Follow{down}},
	{name: "a count of children, without a foreign key, followed", schema: `ALTER TABLE child DROP CONSTRAINT child_up_fkey;`, migration: `UPDATE parent SET n = (SELECT count(*) FROM child WHERE child.up = parent.id)`, follow: []plan.Follow{down, up}},
	{name: "a count of all", migration: `UPDATE parent SET n = (SELECT count(*) FROM child)`, follow: []plan.Follow{down}, refused: "which are not found by equal columns"},
	{name: "a cascade of the migration", migration: `DELETE FROM parent WHERE hidden`, refused: `a row of table "child" becomes what rows of table "parent" say`},
	{name: "a cascade of the migration, followed", migration: `DELETE FROM parent WHERE hidden`, follow: []plan.Follow{down}},
	{name: "ranks", migration: `UPDATE child c SET name = r.n::text FROM (SELECT id, row_number() OVER (PARTITION BY up ORDER BY id) n FROM child) r WHERE r.id = c.id`, refused: "becomes what other rows of that table say"},
	{name: "ranks, followed", migration: `UPDATE child c SET name = r.n::text FROM (SELECT id, row_number() OVER (PARTITION BY up ORDER BY id) n FROM child) r WHERE r.id = c.id`, follow: []plan.Follow{follow("child", "up", "child", "up")}},
	{name: "orphans", schema: `ALTER TABLE child DROP CONSTRAINT child_up_fkey;`, migration: `DELETE FROM child WHERE NOT EXISTS (SELECT 1 FROM parent p WHERE p.id = child.up)`, refused: "{from: child, from_columns: […], to: parent, to_columns: [id]}"},
	{name: "orphans, followed", schema: `ALTER TABLE child DROP CONSTRAINT child_up_fkey;`, migration: `DELETE FROM child WHERE NOT EXISTS (SELECT 1 FROM parent p WHERE p.id = child.up)`, follow: []plan.Follow{up}},
	{name: "an array to rows", migration: `CREATE TABLE tag (child int, tag text, PRIMARY KEY (child, tag)); INSERT INTO tag SELECT c.id, x FROM child c, unnest(c.tags) x; ALTER TABLE child DROP COLUMN tags`},
	{name: "an array to rows that nothing tells apart", migration: `CREATE TABLE tag (child int, tag text); INSERT INTO tag SELECT c.id, x FROM child c, unnest(c.tags) x; ALTER TABLE child DROP COLUMN tags`},
	{name: "a column to a table", migration: `CREATE TABLE named (child int PRIMARY KEY REFERENCES child ON DELETE CASCADE, name text); INSERT INTO named SELECT id, name FROM child WHERE kind <> 'dog'`},
	{name: "by kind", migration: `CREATE TABLE cat (id int PRIMARY KEY, name text); CREATE TABLE dog (LIKE cat INCLUDING ALL); INSERT INTO cat SELECT id, name FROM child WHERE kind = 'cat'; INSERT INTO dog SELECT id, name FROM child WHERE kind = 'dog'; DROP TABLE child`},
	{name: "a table made anew", migration: `CREATE TABLE other (LIKE child INCLUDING ALL); INSERT INTO other SELECT * FROM child; DROP TABLE child; ALTER TABLE other RENAME TO child`},
	{name: "a table made anew, partitioned", migration: `ALTER TABLE child RENAME TO old; CREATE TABLE child (id int, up int, name text, tags text[], kind text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE cats PARTITION OF child FOR VALUES IN ('cat'); CREATE TABLE others PARTITION OF child DEFAULT; INSERT INTO child SELECT * FROM old; DROP TABLE old`},
	{name: "values of a column", migration: `CREATE TABLE kinds (kind text PRIMARY KEY); INSERT INTO kinds SELECT DISTINCT kind FROM child`, refused: `rows of table "kinds" are made of several of child, and which of them is not seen in any`},
	{name: "numbered rows", migration: `CREATE TABLE named (id serial PRIMARY KEY, name text); INSERT INTO named (name) SELECT name FROM child`, refused: `whose key they don't have: they would stay when those change`},
	{name: "a sum in a table", migration: `CREATE TABLE total (parent int PRIMARY KEY, n int); INSERT INTO total SELECT p.id, count(*) FROM parent p JOIN child c ON c.up = p.id GROUP BY p.id`, follow: []plan.Follow{down}},
	{name: "two tables in one", migration: `CREATE TABLE both_of (id int, name text); INSERT INTO both_of SELECT id, name FROM parent UNION ALL SELECT id, name FROM child`, refused: "which are not told apart by column id"},
	{name: "an archive that blue has", schema: `CREATE TABLE archive (id int PRIMARY KEY, name text); INSERT INTO archive VALUES (100, 'x');`, migration: `INSERT INTO archive SELECT id, name FROM child WHERE kind = 'dog'; DELETE FROM child WHERE kind = 'dog'`, refused: "archive"},
	{name: "another key", migration: `UPDATE child SET id = id + 1000 WHERE kind = 'dog'`, refused: `column "id" of table "child" gets another value`},
	{name: "a function that looks at rows", schema: `CREATE FUNCTION label(n int) RETURNS text LANGUAGE sql STABLE AS 'SELECT name FROM public.parent WHERE id = n';`, migration: `UPDATE child SET name = public.label(up)`, refused: "the function label may look at other rows"},
	{name: "a function that looks at its arguments", schema: `CREATE FUNCTION label(n int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''of '' || n';`, migration: `UPDATE child SET name = public.label(up)`},
	{name: "a trigger that writes other rows", schema: bumps + `CREATE TRIGGER bump AFTER INSERT OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION bump();`, migration: `UPDATE child SET name = name || 'x'`,
		refused: `trigger "bump" of table "child" fires`},
	{name: "a trigger that writes other rows, of a column that stays", schema: bumps + `CREATE TRIGGER bump AFTER UPDATE OF kind ON child FOR EACH ROW EXECUTE FUNCTION bump();`, migration: `UPDATE child SET name = name || 'x'`},
	{name: "a trigger that writes other rows, switched off", schema: bumps + `CREATE TRIGGER bump AFTER INSERT OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION bump();`,
		migration: `ALTER TABLE child DISABLE TRIGGER bump; UPDATE child SET name = name || 'x'; ALTER TABLE child ENABLE TRIGGER bump`},
	{name: "a trigger that reads other rows", schema: `CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := (SELECT p.name FROM public.parent p WHERE p.id = NEW.up); RETURN NEW; END $$;
CREATE TRIGGER look BEFORE UPDATE ON child FOR EACH ROW EXECUTE FUNCTION look();`, migration: `UPDATE child SET kind = kind || 'x'`, refused: `trigger "look" of table "child" fires`},
	{name: "a trigger that sees its row alone", schema: `CREATE FUNCTION low() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN -- select, update
	IF TG_OP = 'UPDATE' THEN NEW.name := lower(NEW.name) || '!'; END IF; RETURN NEW; END $$; CREATE TRIGGER low BEFORE INSERT OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION low();`,
		migration: `UPDATE child SET kind = kind || 'x'`, deeds: `UPDATE child SET kind = 'dog' WHERE id = 2; DELETE FROM child WHERE id = 9; INSERT INTO child VALUES (31, 1, 'new', '{q,r}', 'bird')`},
	{name: "a foreign key that hands on another value", schema: `ALTER TABLE parent ADD UNIQUE (name); CREATE TABLE nick (id int PRIMARY KEY, of text REFERENCES parent (name) ON UPDATE CASCADE); INSERT INTO nick SELECT id, name FROM parent;`,
		migration: `UPDATE parent SET name = name || 'x'`, refused: `foreign key "nick_of_fkey" of table "nick" changes rows there`},
	{name: "a block", migration: "-- +goose StatementBegin\nDO $$ BEGIN EXECUTE 'UPDATE child SET name = ''x'''; END $$;\n-- +goose StatementEnd\n", refused: "a DO block puts SQL together"},
	{name: "seeds", migration: `CREATE TABLE role (name text PRIMARY KEY, v int); INSERT INTO role VALUES ('admin', 1); INSERT INTO child VALUES (1000, NULL, 'seed', '{}', 'cat'), (31, NULL, 'seed', '{}', 'cat') ON CONFLICT DO NOTHING`,
		deeds: lineageDeeds + `; UPDATE child SET name = 'more' WHERE id = 3; INSERT INTO child VALUES (1000, 2, 'a client''s')`},
}

// play gives what went wrong.
func (c lineageCase) play(t *testing.T) (wrong []string) {
	w := newMigrated(t, &plan.Profile{Tables: tables("parent", "child"), Follow: c.follow, Settled: c.settled}, lineageFamily+c.schema, c.migration)
	r := w.replayer(t)
	err := r.Prepare(t.Context())
	if c.refused != "" {
		var refused *LineageError
		if !errors.As(err, &refused) || !strings.Contains(err.Error()+refused.Hint(), c.refused) {
			return []string{fmt.Sprintf("got %v, want a refusal that says %q", err, c.refused)}
		}
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, deed := range strings.Split(cmp.Or(c.deeds, lineageDeeds), ";") { // each by itself: what it needs must not come along by chance
		w.as(t, deed)
		if a := drain(t, r); len(a.Parked) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: parked: %q", strings.TrimSpace(deed), a.Parked))
		}
	}
	return append(wrong, w.off(t)...)
}

// What a row becomes by way of others is right, or refused with the statement.
func TestLineage(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, c := range slice.Pick(t, 6, lineageCases) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, w := range c.play(t) {
				t.Error(w)
			}
		})
	}
}

// A rule's condition may hang on other rows as a migration may. Only the refusals are tried here: what a rule does is the histories'.
func TestLineageOfRules(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const loose = `ALTER TABLE child DROP CONSTRAINT child_up_fkey;`
	orphans := plan.Rule{Name: "orphans", Phase: "before", Table: "child", Where: "t.up IS NOT NULL AND NOT EXISTS (SELECT 1 FROM parent p WHERE p.id = t.up)", Quarantine: true}
	tests := []struct {
		name, schema string
		rule         plan.Rule
		follow       []plan.Follow
		settled      []plan.Settled
		refused      string
	}{
		{name: "orphans", schema: loose, rule: orphans, refused: `rule orphans:1: a row of table "child" becomes what rows of table "parent" say`},
		{name: "orphans, followed", schema: loose, rule: orphans, follow: []plan.Follow{up}},
		{name: "orphans, settled", schema: loose, rule: orphans, settled: []plan.Settled{{File: "rule orphans"}}},
		{name: "its own row", rule: plan.Rule{Name: "own", Phase: "before", Table: "child", Where: "t.kind = 'cat'", Fix: []string{"UPDATE child SET kind = 'dog' WHERE kind = 'cat'"}}},
		{name: "duplicates", rule: plan.Rule{Name: "twice", Phase: "before", Table: "child", Where: "EXISTS (SELECT FROM child o WHERE o.name = t.name AND o.id < t.id)", Quarantine: true}, refused: "becomes what other rows of that table say"},
		{name: "not SQL", rule: plan.Rule{Name: "typo", Phase: "before", Table: "child", Where: "t.kind =", Quarantine: true}, refused: "rules[0]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newMigrated(t, &plan.Profile{Tables: tables("parent", "child"), Follow: tt.follow, Settled: tt.settled, Rules: []plan.Rule{tt.rule}}, lineageFamily+tt.schema, `SELECT 1`)
			err := w.replayer(t).Prepare(t.Context())
			if tt.refused == "" && err != nil || tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)) {
				t.Errorf("got %v, want %q", err, tt.refused)
			}
		})
	}
}

// The log has of a row that is gone what the profile keeps.
func TestLineageOfWhatIsKept(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, keep := range [][]string{nil, {"up"}} {
		p := &plan.Profile{Tables: tables("parent", "child"), Follow: []plan.Follow{down}}
		p.Tables[1].Keep = keep
		w := newMigrated(t, p, lineageFamily, `UPDATE parent SET n = (SELECT count(*) FROM child WHERE child.up = parent.id)`)
		w.config.KeptOnly = true
		var refused *LineageError
		if err := w.replayer(t).Prepare(t.Context()); errors.As(err, &refused) != (keep == nil) || keep == nil && !strings.Contains(refused.Hint(), "name up under keep of table child") {
			t.Errorf("with keep %v: %v", keep, err)
		}
	}
}

// seedDeeds take the place of rows that the migrations make, and give it back.
var seedDeeds = []string{
	`INSERT INTO token VALUES (1)`, `INSERT INTO role VALUES (5, 'guest', 'own')`, `INSERT INTO token VALUES (2)`, `UPDATE role SET v = 'more' WHERE id = 5`,
	`DELETE FROM role WHERE id = 1`, `INSERT INTO token VALUES (3)`, `DELETE FROM role WHERE id = 5`, `INSERT INTO role VALUES (101, 'third', 'own')`, `UPDATE role SET name = 'admin' WHERE id = 2`,
	`INSERT INTO role VALUES (100, 'fourth', 'own')`, `UPDATE role SET name = 'user' WHERE id = 2`, `UPDATE role SET name = 'admin', v = 'seed' WHERE id = 100`,
}

// playSeeds gives what went wrong.
func playSeeds(t *testing.T) (wrong []string) {
	w := newMigrated(t, &plan.Profile{Tables: tables("role", "token")}, `CREATE TABLE role (id int PRIMARY KEY, name text UNIQUE, v text); CREATE TABLE token (id int PRIMARY KEY);
INSERT INTO role VALUES (1, 'admin', 'own'), (2, 'user', 'own')`,
		`INSERT INTO role VALUES (100, 'admin', 'seed'), (101, 'guest', 'seed') ON CONFLICT DO NOTHING`)
	r := w.replayer(t)
	for _, deed := range seedDeeds {
		w.as(t, deed)
		if a := drain(t, r); len(a.Parked) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: parked: %q", deed, a.Parked))
		}
		for _, d := range w.off(t) {
			wrong = append(wrong, "after "+deed+": "+d)
		}
	}
	return wrong
}

// A seed of the migrations gives way to a client's row, and comes back when that goes.
func TestSeedsGiveWay(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, w := range playSeeds(t) {
		t.Error(w)
	}
}

// playRivals gives what went wrong.
func playRivals(t *testing.T) (wrong []string) {
	w := newMigrated(t, &plan.Profile{Tables: tables("account")}, `CREATE TABLE account (id int PRIMARY KEY, email text UNIQUE); INSERT INTO account SELECT n, 'u' || n FROM generate_series(1, 9) n`,
		`UPDATE account SET email = lower(email)`)
	r := w.replayer(t)
	w.as(t, `INSERT INTO account VALUES (20, 'U3'); INSERT INTO account VALUES (21, 'X')`)
	if a := drain(t, r); len(a.Parked) != 1 || !strings.Contains(a.Parked[0], "account_email_key") {
		return []string{fmt.Sprintf("parked: %q, want the one that is like another", a.Parked)}
	}
	if n := w.text(t, w.green, `SELECT string_agg(id::text, ' ' ORDER BY id) FROM account`); n != "1 2 3 4 5 6 7 8 9 21" {
		wrong = append(wrong, "green has "+n)
	}
	w.as(t, `UPDATE account SET email = 'away' WHERE id = 3`)
	if parked, err := r.Retry(t.Context()); err != nil || len(parked) > 0 {
		wrong = append(wrong, fmt.Sprintf("parked: %q, %v", parked, err))
	}
	w.as(t, `DELETE FROM account WHERE id = 4; INSERT INTO account VALUES (22, 'U4'); UPDATE account SET email = 'swap' WHERE id = 5; UPDATE account SET email = 'U5' WHERE id = 6; UPDATE account SET email = 'u6' WHERE id = 5`)
	if a := drain(t, r); len(a.Parked) > 0 {
		wrong = append(wrong, fmt.Sprintf("parked: %q", a.Parked))
	}
	return append(wrong, w.off(t)...)
}

// Rows that only the migrations make alike fail together, as they would offline; one that has given its value away makes room.
func TestRivalsComeAlong(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, w := range playRivals(t) {
		t.Error(w)
	}
}

// caseNamed plays a case.
func caseNamed(name string) func(*testing.T) []string {
	return func(t *testing.T) []string {
		return lineageCases[slices.IndexFunc(lineageCases, func(c lineageCase) bool { return c.name == name })].play(t)
	}
}

// lineageMutants are mistakes in what is done for rows that hang on others, and what shows each.
var lineageMutants = []struct {
	mutant.Mutant
	play func(*testing.T) []string
}{
	{lineageMutant("derived rows stay", "remove.go", "n, err := r.removeDerived(ctx, tx, h, keys, stages)", "n, err := int64(0), error(nil)"), caseNamed("an array to rows")},
	{lineageMutant("seeds are news", "merge.go", "if err := r.setAside(ctx, tx, s, d);", "if err := error(nil);"), playSeeds},
	{lineageMutant("seeds stay away", "merge.go", "if err := r.sow(ctx, tx, stages, d);", "if err := error(nil);"), playSeeds},
	{lineageMutant("rivals make room", "rival.go", "return &rivalsError{found}", "return nil"), playRivals},
	{lineageMutant("old places are forgotten", "capture.go", "linking(all, c.profile, s.table)", "linking(nil, c.profile, s.table)[:0]"), caseNamed("a count of children, without a foreign key, followed")},
	{lineageMutant("kin stay at home", "kin.go", "if len(r.retyped[table]) == 0 {\n		return nil, nil", "if true {\n		return nil, nil"), kinCases["a text becomes a number"].play},
	{lineageMutant("a key is not read as blue's", "kin.go", "now.via = old.declared", "now.via = \"\""), kinCases["a number is rounded, alone"].play},
	{lineageMutant("kin are the same by blue's collation", "kin.go", "t.collate = \" COLLATE \" + now.collation", "t.collate = \"\""), kinCases["a collation for which case counts no more"].play},
	{lineageMutant("no key is blurred", "kin.go", "r.blurred[table] = true", "return nil, nil"), kinCases["a text becomes a number"].play},
}

func lineageMutant(name, file, old, new string) mutant.Mutant {
	return mutant.Mutant{Name: name, Edits: []mutant.Edit{{File: file, Old: old, New: new}}}
}

func TestLineageMutantsAreCaught(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	played := lineageMutants
	if !mutant.Inside() {
		played = slice.Pick(t, 1, lineageMutants)
	}
	for _, m := range played {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			if variants.In(t, m.Mutant) && len(m.play(t)) == 0 {
				t.Error("nothing has shown it")
			}
		})
	}
}
