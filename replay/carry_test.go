package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/mutant"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

const (
	carryOld = `
CREATE TYPE color AS ENUM ('red', 'blue');
CREATE TYPE way AS ENUM ('up', 'down');
CREATE TABLE went (id int PRIMARY KEY, w way);
CREATE TABLE ways (id int PRIMARY KEY, w way[]);
CREATE DOMAIN one_way AS way;
CREATE TABLE one (id int PRIMARY KEY, w one_way);
CREATE TYPE spot AS (x text, y text);
CREATE TABLE spotted (id int PRIMARY KEY, s spot);
CREATE TABLE summed (id int PRIMARY KEY, n int, double int GENERATED ALWAYS AS (n * 2) STORED);
CREATE TABLE loose (id int PRIMARY KEY);
CREATE DOMAIN few AS int;
CREATE TABLE paid (id int PRIMARY KEY, f few, j json, price int, left_alone int);
CREATE TABLE tag (code text PRIMARY KEY);
CREATE TABLE device (code uuid PRIMARY KEY);
CREATE TABLE team (id serial PRIMARY KEY, name text NOT NULL UNIQUE, lead int REFERENCES team (id));
CREATE TABLE app (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, team int NOT NULL REFERENCES team (id) ON DELETE CASCADE, name varchar(8) NOT NULL,
	price numeric(10,2) NOT NULL, n int, c color, j jsonb, at timestamptz, made date, code char(4), note text DEFAULT 'none', place int, initial text GENERATED ALWAYS AS (left(name, 1)) STORED);
CREATE TABLE stamp (what text);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.stamp VALUES (NEW.name); NEW.note := 'touched'; RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON app FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE app ENABLE ALWAYS TRIGGER stamp;
CREATE TABLE other (id int PRIMARY KEY, v text, n int UNIQUE);
CREATE TABLE tagged (n int CONSTRAINT tagged_other REFERENCES other (n) ON UPDATE CASCADE);`
	carryRows = `
INSERT INTO team (name) VALUES ('a'), ('b'), ('c');
ALTER TABLE app DISABLE TRIGGER stamp;
INSERT INTO app (team, name, price, n, c, j, at, made, code, note) VALUES (1, 'one', 1.50, 7, 'red', '{"k":1}', '2020-01-01 00:00:00.5+02', '2020-02-29', 'x', 'kept'),
	(1, 'two', 2, NULL, NULL, NULL, 'infinity', NULL, NULL, 'kept too'), (2, 'three', 3, 1, 'blue', '[]', NULL, NULL, 'abcd', NULL);
ALTER TABLE app ENABLE ALWAYS TRIGGER stamp;
INSERT INTO other VALUES (1, 'x'), (2, 'y');
INSERT INTO paid VALUES (1, 1, '{"b": 1,  "a": 2}', 5, 5), (2, NULL, NULL, 0, 0), (3, 3, '[]', NULL, NULL);`
	carryNew = `
ALTER TYPE way RENAME VALUE 'up' TO 'spare';
ALTER TYPE way RENAME VALUE 'down' TO 'up';
ALTER TYPE way RENAME VALUE 'spare' TO 'down';
ALTER TYPE spot DROP ATTRIBUTE x, ADD ATTRIBUTE x text;
ALTER TABLE summed ALTER COLUMN double DROP EXPRESSION;
ALTER TABLE loose DROP CONSTRAINT loose_pkey, ADD UNIQUE (id), ALTER COLUMN id DROP NOT NULL;
ALTER TABLE paid ALTER COLUMN f TYPE int, ALTER COLUMN j TYPE jsonb;
UPDATE paid SET price = price * 100;
ALTER TABLE tag ALTER COLUMN code TYPE char(8);
ALTER TABLE device ALTER COLUMN code TYPE text;
DROP TRIGGER stamp ON app;
ALTER TABLE app DROP COLUMN initial;
ALTER TABLE app RENAME TO application;
ALTER TABLE application RENAME COLUMN name TO title;
ALTER TABLE application ALTER COLUMN title TYPE text;
ALTER TABLE application ALTER COLUMN n TYPE bigint;
ALTER TABLE application ADD COLUMN cents bigint;
UPDATE application SET cents = price * 100;
ALTER TABLE application DROP COLUMN price, DROP COLUMN note;
ALTER TABLE application ADD COLUMN fresh text;
ALTER SEQUENCE team_id_seq RENAME TO team_numbers;
ALTER TABLE other ADD COLUMN new text;
ALTER TABLE other DROP COLUMN v;
ALTER TABLE other RENAME COLUMN new TO v;
ALTER TABLE tagged DROP CONSTRAINT tagged_other;`
)

// sqlMigrator migrates by SQL.
type sqlMigrator string

func (m sqlMigrator) Migrate(ctx context.Context, dsn string) error {
	conn, err := postgres.Connect(ctx, "scratch", dsn)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	_, err = conn.Exec(ctx, lookInPublic+string(m), pgx.QueryExecModeSimpleProtocol)
	return err
}

func carryPair(t *testing.T, back ...plan.CarryBack) *pair {
	t.Helper()
	p := &pair{blue: open(t, "blue", newDatabase(t)), green: open(t, "green", newDatabase(t))}
	p.profile = &plan.Profile{Tables: []plan.Table{{Name: "team"}, {Name: "app"}, {Name: "other"}, {Name: "went"}, {Name: "ways"}, {Name: "one"},
		{Name: "spotted"}, {Name: "summed"}, {Name: "loose"}, {Name: "paid"}, {Name: "tag"}, {Name: "device"}}, CarryBack: back}
	p.config = Config{Blue: p.blue, Green: p.green, Profile: p.profile, Migrator: sqlMigrator(carryNew), Rules: cleanup.New(nil, cleanup.Options{})}
	for _, db := range []*postgres.DB{p.blue, p.green} {
		exec(t, db, carryOld)
		exec(t, db, carryRows)
	}
	exec(t, p.green, carryNew)
	if err := NewCapture(p.blue, p.profile, plan.Blue).Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	return p
}

// switched has green serve: what it writes from now on is noted.
func (p *pair) switched(t *testing.T) {
	t.Helper()
	r := p.replayer(t)
	drain(t, r)
	for range 2 {
		if err := NewCapture(p.green, p.profile, plan.Green).Install(t.Context(), postgres.DefaultBudget()); err != nil {
			t.Fatal(err)
		}
		if err := r.LayTrail(t.Context(), postgres.DefaultBudget()); err != nil {
			t.Fatal(err)
		}
	}
	if err := Wake(t.Context(), p.green, postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
}

var both = []plan.CarryBack{{Table: "team"}, {Table: "app", Columns: []plan.BackColumn{{Column: "price", SQL: "g.cents / 100.0"}}}}

// carryCase is what green's clients do, and what blue has after the way back.
type carryCase struct {
	sql       string
	team, app string // what blue has then, but for what it had
	lost      string // a part of what is named, if anything is
	next      int64  // the number that blue's next team gets; 0: any
	leaves    string // rows of app that are as they were, beside app
}

var carryCases = map[string]carryCase{
	"nothing":                           {team: "(1,a,) (2,b,) (3,c,)", leaves: "1 2 3", next: 4},
	"a text that blue writes otherwise": {sql: `ALTER TABLE application ALTER COLUMN n TYPE text; UPDATE application SET n = '007' WHERE id = 1`, leaves: "1 2 3", lost: "another row"},
	"an update keeps what green has not got": {sql: `UPDATE application SET title = 'uno', cents = 175, n = 8, c = 'blue', j = '{"k": 2}', at = '2021-01-01 00:00:00+00', code = 'y' WHERE id = 1`,
		app: `(1,1,uno,1.75,8,blue,"{""k"": 2}","2021-01-01 00:00:00+00",2020-02-29,"y   ",kept,u)`, leaves: "2 3"},
	"an insert has blue's defaults": {sql: `INSERT INTO application (team, title, cents, fresh) VALUES (2, 'new', 5, 'lost')`,
		app: `(4,2,new,0.05,,,,,,,none,n)`, leaves: "1 2 3"},
	"a delete": {sql: `DELETE FROM application WHERE id = 2`, leaves: "1 3"},
	"a parent with its child, children first by name": {sql: `INSERT INTO team (name, lead) VALUES ('d', 1); INSERT INTO application (team, title, cents) VALUES (4, 'of d', 0); UPDATE team SET lead = 4 WHERE id = 1`,
		team: "(1,a,4) (2,b,) (3,c,) (4,d,1)", app: `(4,4,"of d",0.00,,,,,,,none,o)`, leaves: "1 2 3", next: 5},
	"a parent goes with its children": {sql: `DELETE FROM team WHERE id = 1`, team: "(2,b,) (3,c,)", leaves: "3"},
	"a name changes hands": {sql: `DELETE FROM team WHERE id = 3; INSERT INTO team (name) VALUES ('c'); UPDATE team SET name = 'z' WHERE id = 2; INSERT INTO team (name) VALUES ('b')`,
		team: "(1,a,) (2,z,) (4,c,) (5,b,)", leaves: "1 2 3", next: 6},
	"a key changes": {sql: `UPDATE team SET id = 30 WHERE id = 3`, team: "(1,a,) (2,b,) (30,c,)", leaves: "1 2 3"},
	"written and taken back": {sql: `INSERT INTO team (name) VALUES ('gone'); DELETE FROM team WHERE name = 'gone'; UPDATE application SET cents = 1 WHERE id = 1; UPDATE application SET cents = 150 WHERE id = 1`,
		team: "(1,a,) (2,b,) (3,c,)", leaves: "1 2 3", next: 5},
	"a key that another row gets": {sql: `DELETE FROM application WHERE id = 1; INSERT INTO application (id, team, title, cents) OVERRIDING SYSTEM VALUE VALUES (1, 2, 'other', 100);
		UPDATE application SET n = 4 WHERE id = 1`, app: `(1,2,other,1.00,4,,,,,,none,o)`, leaves: "2 3"},
	"a truncate": {sql: `TRUNCATE application`},
	"too long for blue": {sql: `UPDATE application SET title = 'far too long' WHERE id = 1; UPDATE application SET title = 'zwei' WHERE id = 2`,
		app: `(2,1,zwei,2.00,,,,infinity,,,"kept too",z)`, leaves: "1 3", lost: "app"},
	"too large for blue": {sql: `UPDATE application SET n = 5000000000 WHERE id = 1; DELETE FROM application WHERE id = 3`, leaves: "1 2", lost: "out of range"},
	"of a parent that blue has not got": {sql: `ALTER TABLE application DROP CONSTRAINT app_team_fkey; INSERT INTO application (team, title, cents) VALUES (99, 'orphan', 1), (1, 'child', 1)`,
		app: `(5,1,child,0.01,,,,,,,none,c)`, leaves: "1 2 3", lost: "app_team_fkey"},
	"a value of an enum that blue has not got": {sql: `ALTER TYPE color ADD VALUE 'green'; COMMIT; UPDATE application SET c = 'green' WHERE id = 1; UPDATE application SET c = 'red' WHERE id = 3`,
		app: `(3,2,three,3.00,1,red,[],,,abcd,,t)`, leaves: "1 2", lost: "green"},
	"children that outlive their parent": {sql: `ALTER TABLE application DROP CONSTRAINT app_team_fkey; DELETE FROM team WHERE id = 1`, team: "(1,a,) (2,b,) (3,c,)", leaves: "1 2 3", lost: "app (id=1) refers to it"},
	"children that move before their parent goes": {sql: `UPDATE application SET team = 2 WHERE team = 1; DELETE FROM team WHERE id = 1`, team: "(2,b,) (3,c,)", leaves: "3",
		app: "(1,2,one,1.50,7,red,\"{\"\"k\"\": 1}\",\"2019-12-31 22:00:00.5+00\",2020-02-29,\"x   \",kept,o)\n(2,2,two,2.00,,,,infinity,,,\"kept too\",t)"},
}

func (c carryCase) play(t *testing.T) (wrong []string) {
	const appSQL = `SELECT string_agg((id, team, name, price, n, c, j, at, made, code, note, initial)::text, E'\n' ORDER BY id) FROM app`
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	p := carryPair(t, both...)
	p.switched(t)
	was := strings.Split(p.text(t, p.blue, appSQL), "\n")
	server := stranger(t, p.green)
	for _, sql := range strings.Split(c.sql, "COMMIT;") {
		if _, err := server.Exec(t.Context(), "SET search_path = public;"+sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	v := NewReverse(p.blue, p.green, p.profile)
	a, err := v.Drain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if (c.lost != "") != (len(a.Parked) > 0) || !strings.Contains(strings.Join(a.Parked, "; "), c.lost) {
		say("named are %q, want %q among them", a.Parked, c.lost)
	}
	want := make([]string, 0)
	for _, row := range was {
		if slices.Contains(strings.Fields(c.leaves), row[1:strings.Index(row, ",")]) {
			want = append(want, row)
		}
	}
	if c.app != "" {
		want = append(want, strings.Split(c.app, "\n")...)
	}
	slices.Sort(want)
	if got := strings.Split(p.text(t, p.blue, appSQL), "\n"); !slices.Equal(slices.DeleteFunc(got, func(s string) bool { return s == "" }), want) {
		say("app:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if c.team != "" {
		if got := p.text(t, p.blue, `SELECT string_agg(t::text, ' ' ORDER BY id) FROM team t`); got != c.team {
			say("team: %s, want %s", got, c.team)
		}
	}
	if stamps := p.text(t, p.blue, `SELECT string_agg(what, ' ') FROM stamp`); stamps != "" {
		say("blue's own trigger has run for %s", stamps)
	}
	if awake := p.text(t, p.blue, `SELECT string_agg(tgenabled::text, '') FROM pg_trigger WHERE tgname = 'stamp'`); awake != "A" {
		say("blue's trigger is %q now", awake)
	}
	// Blue serves. A way back that is begun once more brings nothing over what its clients write.
	p.as(t, `SET search_path = public; UPDATE team SET name = name || '!'`)
	after := p.text(t, p.blue, `SELECT string_agg(t::text, ' ' ORDER BY id) FROM team t`)
	if again, err := v.Drain(t.Context()); err != nil || again.Upserted+again.Deleted > 0 || p.text(t, p.blue, `SELECT string_agg(t::text, ' ' ORDER BY id) FROM team t`) != after {
		say("again: %+v, %v", again, err)
	}
	if again, err := v.Drain(t.Context()); err != nil || !slices.Equal(again.Parked, a.Parked) {
		say("what is named again is %q, %v, want %q", again.Parked, err, a.Parked)
	}
	if c.next > 0 {
		if got := p.text(t, p.blue, `SELECT nextval('public.team_id_seq')::text`); got != fmt.Sprint(c.next) {
			say("blue's next team is %s, want %d", got, c.next)
		}
	}
	if err := NewCapture(p.green, p.profile, plan.Green).Remove(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	if left := p.text(t, p.green, `SELECT string_agg(tgname, ' ') FROM pg_trigger WHERE tgname LIKE 'tideover%'`); left != "" {
		say("left on green: %s", left)
	}
	return wrong
}

func TestCarryBack(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for name, c := range carryCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, w := range c.play(t) {
				t.Error(w)
			}
		})
	}
}

// carryMutants are mistakes in what is carried back, and the case that shows each.
var carryMutants = []struct {
	mutant.Mutant
	shownBy string
}{
	{lineageMutant("what stays is named once", "carryback.go", "INSERT INTO tideover.not_carried (epoch, what) SELECT $1, unnest($2::text[])", "SELECT $1::uuid, $2::text[] LIMIT 0"), "too long for blue"},
	{lineageMutant("carried again and again", "carrynote.go", "if before[n.ID] {", "if false && before[n.ID] {"), "a key changes"},
	{lineageMutant("blue's triggers fire", "carryback.go", "wake, err := lullTables(ctx, tx, ordered)", "wake, err := lullTables(ctx, tx, nil)"), "an insert has blue's defaults"},
	{lineageMutant("blue's triggers sleep on", "carryback.go", "for _, h := range wake {", "for _, h := range wake[:0] {"), "a delete"},
	{lineageMutant("deletes stay on green", "carrydeed.go", "if err := remove(t); errors.As", "if err := error(nil); errors.As"), "a name changes hands"},
	{lineageMutant("what is cut is not looked for", "carryrow.go", "if bad > 0 {", "if bad < 0 {"), "a text that blue writes otherwise"},
	{lineageMutant("a moved key leaves one row", "carry.go", `another("NEW") + others + " END IF; RETURN NEW;"`, `"NULL; END IF; RETURN NEW;"`), "a key changes"},
	{lineageMutant("numbers are given twice", "carryback.go", "snapshot.AdvanceSequences(ctx, v.green, v.blue, t.renamed(), nil)", "snapshot.AdvanceSequences(ctx, v.green, v.blue, nil, nil)"), "written and taken back"},
	{lineageMutant("who goes along is not asked", "carryheirs.go", "if there[i] {", "if false && there[i] {"), "children that outlive their parent"},
	{lineageMutant("parents go first", "carrydeed.go", "for _, t := range last {", "for _, t := range last[:0] {"), "children that move before their parent goes"},
	{lineageMutant("another row keeps what was not its own", "carrynote.go", "d.another = t.others.has(d.key)", "d.another = false"), "a key that another row gets"},
	{lineageMutant("what goes back is not held against blue", "auditlook.go", "found = append(found, others...)", "_ = others"), "converted"},
	{lineageMutant("what blue does not take yet is done with", "carryback.go", "notesBut(noted, failed)", "notesBut(noted, nil)"), "approach"},
	{lineageMutant("a ring is never closed", "carryorder.go", `set = append(set, pgx.Identifier{name}.Sanitize()+" = n."+pgx.Identifier{name}.Sanitize())`, `set = append(set, pgx.Identifier{name}.Sanitize()+" = t."+pgx.Identifier{name}.Sanitize())`), "a ring comes"},
	{lineageMutant("a ring is not let go", "carryorder.go", `set = append(set, pgx.Identifier{name}.Sanitize()+" = NULL")`, `set = append(set, pgx.Identifier{name}.Sanitize()+" = t."+pgx.Identifier{name}.Sanitize())`), "a ring goes"},
	{lineageMutant("no row is written anew", "carrydeed.go", "if d.writtenAnew() {", "if false {"), "a value changes hands"},
	{lineageMutant("what goes with a row written anew is not asked", "carryorder.go", "if err := h.none(ctx, tx, t.rel, t.Key, going.keys, map[string]*keySet{t.Table: going.copied()}); err != nil {", "if err := error(nil); err != nil {"), "a child would go"},
	{lineageMutant("all or nothing", "carrydeed.go", "half := len(deeds) / 2", "if true {\n		for _, d := range deeds {\n			d.err = err\n		}\n		return deeds, nil\n	}\n	half := len(deeds) / 2"), "too long for blue"},
}

// carryProofs are what shows a mutant beside the cases.
var carryProofs = map[string]func(*testing.T) []string{
	"approach":  approach,
	"converted": func(t *testing.T) []string { return converted(t, convertedBack, "table") },
}

func TestCarryMutantsAreCaught(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	played := carryMutants
	if !mutant.Inside() {
		played = slice.Pick(t, 1, carryMutants)
	}
	for _, m := range played {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			if !variants.In(t, m.Mutant) {
				return
			}
			shows, ok := carryProofs[m.shownBy]
			if !ok {
				shows = carryCases[m.shownBy].play
			}
			if c, ok := orderCases[m.shownBy]; ok {
				shows = c.play
			}
			if len(shows(t)) == 0 {
				t.Error("nothing has shown it")
			}
		})
	}
}

// What has no way back is refused when replay is prepared, by the field of the profile.
func TestCarryBackRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		back []plan.CarryBack
		want string
	}{
		{"a column that green has not got", []plan.CarryBack{{Table: "app"}}, `column "price" of table "app" of blue is NOT NULL, has no default, and is not on green`},
		{"no such column", []plan.CarryBack{{Table: "app", Columns: []plan.BackColumn{{Column: "prize", SQL: "1"}}}}, `has no column "prize"`},
		{"a generated one", []plan.CarryBack{{Table: "app", Columns: []plan.BackColumn{{Column: "initial", SQL: "1"}}}}, `is generated`},
		{"a column made anew under its name", []plan.CarryBack{{Table: "other"}}, `column "v" of table "other" is on green one that the migrations have made anew`},
		{"what acts on blue alone", []plan.CarryBack{{Table: "other", Columns: []plan.BackColumn{{Column: "v", SQL: "g.v"}}}}, `foreign key "tagged_other" of table "tagged" changes rows there`},
		{"values that change names", []plan.CarryBack{{Table: "went"}}, `column "w" of table "went": the values of type public.way are called otherwise on green`},
		{"an array of such", []plan.CarryBack{{Table: "ways"}}, `column "w" of table "ways": the values of type public.way are called otherwise`},
		{"a domain of such", []plan.CarryBack{{Table: "one"}}, `column "w" of table "one": the values of type public.way are called otherwise`},
		{"rows whose columns change places", []plan.CarryBack{{Table: "spotted"}}, `column "s" of table "spotted": the rows of type public.spot have other columns on green`},
		{"a column that green computes no more", []plan.CarryBack{{Table: "summed"}}, `column "double" of table "summed" is generated on blue and not on green`},
		{"a key that becomes coarser", []plan.CarryBack{{Table: "tag"}}, `column "code" of the key of table "tag" is text on blue and character(8) on green`},
		{"a key that becomes finer", []plan.CarryBack{{Table: "device"}}, `column "code" of the key of table "device" is uuid on blue and text on green`},
		{"the key", []plan.CarryBack{{Table: "app", Columns: []plan.BackColumn{{Column: "id", SQL: "1"}}}}, `is of the key`},
		{"no expression", []plan.CarryBack{{Table: "app", Columns: []plan.BackColumn{{Column: "price", SQL: "g.nothing"}}}}, `green refuses what makes a row`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := carryPair(t, c.back...)
			err := p.replayer(t).Prepare(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "carry_back[0]") {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// Values that the migrations convert under the same name would go back as others, with each row that is written on green. The audit
// sees it in rows that nobody has written.
func TestConvertedValuesHaveNoWayBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		back plan.CarryBack
		want string // of the first difference; "": there is none
	}{
		{"converted", convertedBack, `table "paid", row (id=1) would go back to blue with another value than blue has in price`},
		{"converted back", plan.CarryBack{Table: "paid", Columns: []plan.BackColumn{{Column: "price", SQL: "g.price / 100"}}}, ""},
		{"all alike", both[0], ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, w := range converted(t, c.back, c.want) {
				t.Error(w)
			}
		})
	}
}

var convertedBack = plan.CarryBack{Table: "paid"}

func converted(t *testing.T, back plan.CarryBack, want string) (wrong []string) {
	amiss := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	p := carryPair(t, back)
	r := p.replayer(t)
	drain(t, r)
	found, err := r.TryWayBack(t.Context(), 10)
	if err != nil || (want != "") != (len(found) == 1) || want != "" && len(found) == 1 && !strings.HasPrefix(found[0].String(), want) {
		amiss("%v, %v, want %q", found, err, want)
	}
	a := NewAudit(r, 1)
	for a.Coverage().Passes == 0 && err == nil {
		_, err = a.Page(t.Context())
	}
	var differs *AuditError
	if (want != "") != errors.As(err, &differs) || want == "" && err != nil {
		amiss("the audit: %v", err)
	}
	if differs != nil && !strings.Contains(differs.Hint(), "carry_back") {
		amiss("the hint is %q", differs.Hint())
	}
	return wrong
}

// What is left on green by a way back is named before it is begun.
func TestLost(t *testing.T) {
	t.Parallel()
	p := carryPair(t, both[0])
	p.switched(t)
	var mark uint64
	if err := p.green.Pool().QueryRow(t.Context(), `SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint`).Scan(&mark); err != nil {
		t.Fatal(err)
	}
	v := NewReverse(p.blue, p.green, p.profile)
	if lost, err := v.Lost(t.Context(), mark); err != nil || len(lost) > 0 {
		t.Errorf("lost before anything was written: %v, %v", lost, err)
	}
	server := stranger(t, p.green)
	for _, sql := range []string{
		`SET search_path = public`,
		`INSERT INTO team (name) VALUES ('carried')`,
		`INSERT INTO application (team, title, cents) VALUES (1, 'new', 1)`,
		`UPDATE application SET cents = 4 WHERE id = 1`,
		`DELETE FROM application WHERE id = 2`,
		`DELETE FROM application WHERE id = 3; INSERT INTO application (id, team, title) OVERRIDING SYSTEM VALUE VALUES (3, 1, 'anew')`,
		`INSERT INTO application (team, title) VALUES (1, 'for a moment'); DELETE FROM application WHERE title = 'for a moment'`,
		`TRUNCATE other`,
		`INSERT INTO loose VALUES (NULL), (5)`,
		`CREATE SCHEMA extra; CREATE TABLE extra.log (what text); INSERT INTO extra.log VALUES ('x'), ('y')`,
	} {
		if _, err := server.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	lost, err := v.Lost(t.Context(), mark)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lost {
		got = append(got, l.String())
	}
	slices.Sort(got)
	if want := []string{
		"application: 1 new, 2 changed, 1 deleted [application (id=4) application (id=1) application (id=3) application (id=2)]",
		"extra.log: 2 new, 0 changed, 0 deleted",
		"loose: 2 new, 0 changed, 0 deleted [loose (id is NULL) loose (id=5)]",
		"other: 0 new, 0 changed, 2 deleted [other (id=1) other (id=2)]",
	}; !slices.Equal(got, want) {
		t.Errorf("lost:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Most of what goes back is brought while green serves on. What blue does not take then may be taken at the end, and what is written after
// it comes too.
func TestApproach(t *testing.T) {
	t.Parallel()
	for _, w := range approach(t) {
		t.Error(w)
	}
}

func approach(t *testing.T) (wrong []string) {
	amiss := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	p := carryPair(t, both...)
	p.switched(t)
	server := stranger(t, p.green)
	say := func(sql string) {
		t.Helper()
		if _, err := server.Exec(t.Context(), "SET search_path = public;"+sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	say(`ALTER TABLE application DROP CONSTRAINT app_team_fkey; INSERT INTO application (team, title, cents) VALUES (99, 'early', 1), (1, 'child', 1);
		UPDATE application SET n = 70 WHERE id = 1; DELETE FROM application WHERE id = 2`)
	v := NewReverse(p.blue, p.green, p.profile)
	database := p.text(t, p.blue, `SELECT quote_ident(current_database())`)
	exec(t, p.blue, `ALTER DATABASE `+database+` SET session_replication_role = replica`)
	if _, err := NewReverse(open(t, "blue", p.blue.DSN()), p.green, p.profile).Approach(t.Context()); err == nil || !strings.Contains(err.Error(), "session_replication_role = replica") {
		amiss("sessions in which no foreign key holds: %v", err)
	}
	exec(t, p.blue, `ALTER DATABASE `+database+` RESET session_replication_role`)
	for range 2 { // a way back that is called off, and begun again
		if _, err := v.Approach(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	const rows = `SELECT string_agg(concat_ws(' ', id, team, name, n), ', ' ORDER BY id) FROM app`
	if got, want := p.text(t, p.blue, rows), "1 1 one 70, 3 2 three 1, 5 1 child"; got != want {
		amiss("blue has %q while green serves, want %q", got, want)
	}
	say(`INSERT INTO team (id, name) VALUES (99, 'late'); UPDATE application SET n = 71 WHERE id = 1; INSERT INTO application (team, title, cents) VALUES (98, 'never', 1)`)
	a, err := v.Drain(t.Context())
	if err != nil || len(a.Parked) != 1 || !strings.Contains(a.Parked[0], "app (id=6)") {
		amiss("parked are %q, %v", a.Parked, err)
	}
	if got, want := p.text(t, p.blue, rows), "1 1 one 71, 3 2 three 1, 4 99 early, 5 1 child"; got != want {
		amiss("blue has %q at the end, want %q", got, want)
	}
	if a.Upserted != 3 {
		amiss("%d rows were left to the end, want 3", a.Upserted)
	}
	return wrong
}
