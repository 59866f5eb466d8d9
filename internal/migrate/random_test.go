package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// A random migration is statements on a table around which other things stand: triggers, keys, rules, children. It is run live on
// one database, and as written, in one transaction, on another. They must end equal, or the live one must have been refused.
type world struct {
	things []int    // of things
	does   [][2]int // of statements and conditions
}

// thing is what makes rows depend on each other, or only looks like it.
type thing struct{ name, sql string }

var things = []thing{
	{"a trigger that counts in the row", `CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.c := coalesce(OLD.c, 0) + 1; RETURN NEW; END';
		CREATE TRIGGER bump BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION bump()`},
	{"one that fires always", `CREATE FUNCTION bump2() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.c := coalesce(OLD.c, 0) + 1; RETURN NEW; END';
		CREATE TRIGGER bump2 BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION bump2(); ALTER TABLE t ENABLE ALWAYS TRIGGER bump2`},
	{"a trigger that reads the table", `CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.c := (SELECT count(*) FROM t WHERE flag); RETURN NEW; END';
		CREATE TRIGGER look BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION look()`},
	{"a trigger of each statement", `CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log (k) SELECT count(*) FROM t; RETURN NULL; END';
		CREATE TRIGGER tell AFTER UPDATE OR DELETE OR INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION tell()`},
	{"a trigger of one column", `CREATE FUNCTION tell2() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log (k) SELECT count(*) FROM t; RETURN NULL; END';
		CREATE TRIGGER tell2 AFTER UPDATE OF b ON t FOR EACH STATEMENT EXECUTE FUNCTION tell2()`},
	{"a trigger of the other table", `CREATE FUNCTION tell3() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log (k) SELECT count(*) FROM u; RETURN NULL; END';
		CREATE TRIGGER tell3 AFTER UPDATE OR DELETE OR INSERT ON u FOR EACH STATEMENT EXECUTE FUNCTION tell3()`},
	{"a foreign key to itself", `ALTER TABLE t ADD FOREIGN KEY (ref) REFERENCES t`},
	{"one that sets NULL", `ALTER TABLE t ADD FOREIGN KEY (ref) REFERENCES t ON DELETE SET NULL`},
	{"one that cascades", `ALTER TABLE t ADD FOREIGN KEY (ref) REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE`},
	{"a deferrable key", `ALTER TABLE t ADD UNIQUE (a) DEFERRABLE INITIALLY DEFERRED`},
	{"a key that is checked at once", `ALTER TABLE t ADD UNIQUE (a)`},
	{"a key with a condition", `CREATE UNIQUE INDEX t_c_idx ON t (c) WHERE NOT flag`},
	{"a key of an expression", `CREATE UNIQUE INDEX t_e_idx ON t ((a * 3))`},
	{"a key of a generated column", `ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (a * 2) STORED; ALTER TABLE t ADD UNIQUE (g) DEFERRABLE INITIALLY DEFERRED`},
	{"a rule of updates", `CREATE RULE told AS ON UPDATE TO t DO ALSO INSERT INTO log (k) VALUES (NEW.a + (SELECT count(*) FROM t WHERE c IS NULL))`},
	{"a rule of deletes", `CREATE RULE kept AS ON DELETE TO t WHERE OLD.flag DO INSTEAD NOTHING`},
	{"a child", `CREATE TABLE more () INHERITS (t); ALTER TABLE more ALTER COLUMN id DROP NOT NULL; INSERT INTO more (id, a) SELECT nullif(i, 5005), i FROM generate_series(5001, 6300) i`},
	{"a check that calls a function", `CREATE FUNCTION fine(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT $1 IS NULL OR (SELECT count(*) FROM u) >= 0'; ALTER TABLE t ADD CHECK (fine(a))`},
	{"a check that isn't validated", `ALTER TABLE t ADD CONSTRAINT late CHECK (a > 5) NOT VALID`},
	{"rows that go along", `ALTER TABLE u ADD FOREIGN KEY (t_id) REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE`},
	{"rows that lose their reference", `ALTER TABLE u ADD FOREIGN KEY (t_id) REFERENCES t ON DELETE SET NULL`},
	{"rows that keep theirs", `ALTER TABLE u ADD FOREIGN KEY (t_id) REFERENCES t`},
	{"a function named like a built-in", `CREATE FUNCTION left(int, int) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM t WHERE c IS NULL'`},
	{"an operator named like a built-in", `CREATE FUNCTION plus(bigint, boolean) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM t WHERE c IS NULL';
		CREATE OPERATOR + (LEFTARG = bigint, RIGHTARG = boolean, FUNCTION = plus)`},
	{"a default that asks for the time", `ALTER TABLE log ADD COLUMN at timestamptz DEFAULT now()`},
	{"no key", `ALTER TABLE t DROP CONSTRAINT t_pkey`},
	{"a text key", `ALTER TABLE t ADD COLUMN k text; UPDATE t SET k = 'k' || id; ALTER TABLE t ALTER COLUMN k SET NOT NULL, DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (k)`},
	{"a key of two columns", `ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (flag, id)`},
}

const worldBase = `DROP SCHEMA IF EXISTS w CASCADE; CREATE SCHEMA w; SET search_path = w;
	CREATE TABLE t (id bigint PRIMARY KEY, a int NOT NULL, b text, c int, flag boolean NOT NULL DEFAULT false, ref bigint, at timestamptz);
	CREATE TABLE u (id bigint PRIMARY KEY, t_id bigint, v int);
	CREATE TABLE log (k bigint, what text);
	CREATE VIEW v AS SELECT * FROM t WHERE c IS NULL;
	INSERT INTO t SELECT i, i, 'B' || i % 50, CASE WHEN i % 4 > 0 THEN i END, i % 3 = 0, CASE WHEN i > 700 THEN i - 700 END, '2026-01-01' FROM generate_series(1, 1300) i;
	INSERT INTO u SELECT i, 1 + (i * 7) % 1300, i FROM generate_series(1, 400) i;
	CREATE FUNCTION f(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM t WHERE c IS NULL AND a < $1';
	CREATE FUNCTION z(t) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM t WHERE c IS NULL';`

// plain statements are the first ones: each row's own affair, unless something stands around the table.
const plain = 7

// statements are what a migration does; @ is where a condition goes.
var statements = []string{
	"UPDATE t SET c = a * 2@", "UPDATE t SET b = lower(b)@", "UPDATE t SET c = a % 7, b = upper(b)@", "UPDATE t SET c = coalesce(c, a)@", "UPDATE t SET flag = NOT flag@",
	"UPDATE t SET at = now(), c = 1@", "UPDATE t SET c = (SELECT max(u.v) FROM u WHERE u.t_id = t.id)@", "UPDATE t SET a = a + 1@", "UPDATE t SET a = -a@",
	"UPDATE t SET c = f(a)@", "UPDATE t SET c = (SELECT count(*) FROM v)@", "UPDATE t SET c = left(a, 1)@", "UPDATE t SET c = id + flag@", "UPDATE t SET c = t.z@",
	"UPDATE t SET ref = NULL@", "UPDATE t SET id = id + 10000@", "UPDATE t SET c = u.v FROM u WHERE u.t_id = t.id@",
	"DELETE FROM t@", "DELETE FROM t USING u WHERE u.t_id = t.id@",
	"INSERT INTO u (id, t_id, v) SELECT id + 100000, id, a FROM t@", "INSERT INTO log (k, what) SELECT a, b FROM t@", "INSERT INTO t (id, a, ref) SELECT id + 20000, v + 100000, t_id FROM u",
	"ALTER TABLE t ADD COLUMN rnd_a uuid DEFAULT gen_random_uuid()", "ALTER TABLE t ADD COLUMN num bigserial", "ALTER TABLE t ADD COLUMN cnt int DEFAULT f(2)",
	"ALTER TABLE t ADD COLUMN rnd_b text NOT NULL DEFAULT 'x' || random()", "ALTER TABLE t ADD CHECK (a > 0)", "CREATE INDEX ON t (b)", "ALTER TABLE t ALTER COLUMN c SET DEFAULT 3",
}

var conditions = []string{"", "a % 3 = 0", "flag", "c IS NULL", "EXISTS (SELECT FROM v WHERE v.a = t.a + 1)", "NOT EXISTS (SELECT FROM u WHERE u.t_id = t.id)", "t.ref IS NULL", "t.a > 650"}

func randomWorld(seed uint64) world {
	r := rand.New(rand.NewPCG(seed, 5))
	var w world
	for range []int{0, 0, 0, 1, 1, 1, 2, 3}[r.IntN(8)] {
		w.things = append(w.things, r.IntN(len(things)))
	}
	slices.Sort(w.things)
	w.things = slices.Compact(w.things)
	for range 1 + r.IntN(4)/3 {
		does := [2]int{r.IntN(len(statements)), max(0, r.IntN(2*len(conditions))-len(conditions))}
		if r.IntN(2) == 0 {
			does[0] = r.IntN(plain)
		}
		w.does = append(w.does, does)
	}
	return w
}

// String is a world that readWorld reads.
func (w world) String() string {
	var words []string
	for _, n := range w.things {
		words = append(words, fmt.Sprintf("t%d", n))
	}
	for _, d := range w.does {
		words = append(words, fmt.Sprintf("s%d.%d", d[0], d[1]))
	}
	return strings.Join(words, ",")
}

func readWorld(t *testing.T, text string) (w world) {
	t.Helper()
	for _, word := range strings.Split(text, ",") {
		var a, b int
		if n, err := strconv.Atoi(strings.TrimPrefix(word, "t")); err == nil && strings.HasPrefix(word, "t") && n < len(things) {
			w.things = append(w.things, n)
		} else if _, err := fmt.Sscanf(word, "s%d.%d", &a, &b); err == nil && a < len(statements) && b < len(conditions) {
			w.does = append(w.does, [2]int{a, b})
		} else {
			t.Fatalf("TIDEOVER_MIGRATION: %q is no part of a migration", word)
		}
	}
	return w
}

func (w world) base() string {
	var b strings.Builder
	b.WriteString(worldBase)
	for _, n := range w.things {
		b.WriteString("\n" + things[n].sql + ";")
	}
	return b.String()
}

func (w world) migration() string {
	var b strings.Builder
	for _, d := range w.does {
		s, c := statements[d[0]], conditions[d[1]]
		if c != "" && strings.Contains(s, " WHERE u.t_id = t.id@") {
			c = " AND " + c
		} else if c != "" {
			c = " WHERE " + c
		}
		s = strings.Replace(s, "@", c, 1)
		b.WriteString(s + ";\n")
	}
	return b.String()
}

// arena is the two databases.
type arena struct {
	written, live *pgx.Conn
	dsn           string // of live
}

func newArena(t *testing.T) *arena {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	return &arena{written: connect(t, pgtest.NewDatabase(t)), live: connect(t, dsn), dsn: dsn}
}

// outcome is how a migration went.
type outcome string

const (
	noWorld  outcome = "can't be there" // things that exclude each other
	fails    outcome = "fails as written"
	refused  outcome = "refused"
	equal    outcome = "equal"
	differs  outcome = "differs"
	stumbles outcome = "fails though not as written"
	passes   outcome = "passes though not as written"
)

func (o outcome) wrong() bool { return o == differs || o == stumbles || o == passes }

// play runs a migration both ways.
func (a *arena) play(ctx context.Context, w world) (_ outcome, detail string, _ error) {
	exec := func(c *pgx.Conn, sql string) error {
		_, err := c.PgConn().Exec(ctx, sql).ReadAll()
		if err != nil && postgres.Code(err) == "" {
			return errors.Join(errLost, err)
		}
		return err
	}
	for _, c := range []*pgx.Conn{a.written, a.live} {
		if err := exec(c, w.base()); err != nil {
			return noWorld, err.Error(), lost(err)
		}
	}
	original := exec(a.written, "BEGIN; "+w.migration()+" COMMIT")
	if original != nil {
		if err := exec(a.written, "ROLLBACK"); err != nil {
			return "", "", err
		}
	}
	if err := lost(original); err != nil {
		return "", "", err
	}
	goose := func(without ...string) *migrate.Goose {
		allowed := slices.DeleteFunc(sqlrewrite.HazardNames(), func(n string) bool { return slices.Contains(without, n) })
		return migrate.NewGoose(fstest.MapFS{"1_a.sql": {Data: []byte(w.migration())}}, 0, migrate.InFormat("plain"), migrate.InSchema("w"), migrate.Allow(allowed...),
			migrate.Live(postgres.Budget{Timeout: 500 * time.Millisecond, Retry: time.Minute}))
	}
	o := equal
	g := goose(sqlrewrite.ColumnOrder, sqlrewrite.WritesTable, sqlrewrite.RewritesTable)
	var hazards *migrate.HazardError
	if err := g.LiveHazardsAt(ctx, a.dsn); errors.As(err, &hazards) {
		o, detail = refused, err.Error()
		g = goose(sqlrewrite.ColumnOrder) // what a person allows is run whole, and must end equal too
	} else if err != nil {
		return "", "", err
	}
	err := g.Migrate(ctx, a.dsn)
	switch {
	case original != nil && err != nil:
		return fails, original.Error(), nil
	case original != nil && o == refused:
		return passes, "though run whole; as written: " + original.Error(), nil
	case original != nil:
		return passes, "as written: " + original.Error(), nil
	case err != nil:
		return stumbles, err.Error(), nil
	}
	want, err := holds(ctx, a.written)
	if err != nil {
		return "", "", err
	}
	got, err := holds(ctx, a.live)
	if err != nil {
		return "", "", err
	}
	if want != got {
		return differs, fmt.Sprintf("%s\nas written:\n%s\nlive:\n%s", detail, want, got), nil
	}
	return o, detail, nil
}

var errLost = errors.New("the database can't be reached")

func lost(err error) error {
	if errors.Is(err, errLost) {
		return err
	}
	return nil
}

// holds is what the tables of a world hold, and which triggers are on. Columns that differ each time count by how many values there are.
func holds(ctx context.Context, c *pgx.Conn) (string, error) {
	const tables = `SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = 'w'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND c.relname NOT LIKE 'goose%' GROUP BY 1 ORDER BY 1`
	const triggers = `SELECT coalesce(string_agg(t.tgname || t.tgenabled::text, ' ' ORDER BY t.tgname), '') FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
		WHERE c.relnamespace = 'w'::regnamespace AND NOT t.tgisinternal`
	const constraints = `SELECT coalesce(string_agg(line, E'\n' ORDER BY line), '') FROM (
		SELECT pg_catalog.concat_ws(' ', x.conrelid::regclass, x.conname, x.convalidated, pg_catalog.pg_get_constraintdef(x.oid)) AS line FROM pg_catalog.pg_constraint x
			WHERE x.connamespace = 'w'::regnamespace AND x.conrelid <> 0 AND x.contype <> 'n' AND x.conrelid::regclass::text NOT LIKE '%goose%'
		UNION ALL SELECT pg_catalog.concat_ws(' ', pg_catalog.pg_get_indexdef(i.indexrelid), i.indisvalid) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
			WHERE c.relnamespace = 'w'::regnamespace AND c.relname NOT LIKE 'goose%') all_of_them`
	rows, err := c.Query(ctx, tables)
	if err != nil {
		return "", err
	}
	type table struct {
		Name    string
		Columns []string
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, t := range list {
		var plain, counted []string
		for _, column := range t.Columns {
			// Which row gets which number Postgres doesn't say.
			if column == "at" || column == "num" || strings.HasPrefix(column, "rnd_") {
				counted = append(counted, fmt.Sprintf("count(%[1]s) || '/' || count(DISTINCT %[1]s)", column))
			} else {
				plain = append(plain, column)
			}
		}
		var text string
		sql := fmt.Sprintf(`SELECT concat_ws(' ', count(*), md5(string_agg(ROW(%[1]s)::text, E'\n' ORDER BY ROW(%[1]s)::text)) %[2]s) FROM ONLY w.%[3]s`,
			strings.Join(plain, ", "), strings.Join(append([]string{""}, counted...), ", "), t.Name)
		if err := c.QueryRow(ctx, sql).Scan(&text); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s(%s): %s\n", t.Name, strings.Join(t.Columns, ","), text)
	}
	var states, shapes string
	if err := c.QueryRow(ctx, triggers).Scan(&states); err != nil {
		return "", err
	}
	err = c.QueryRow(ctx, constraints).Scan(&shapes)
	return b.String() + states + "\n" + shapes, err
}

// smaller takes away from a migration that went wrong what it goes wrong without.
func (a *arena) smaller(ctx context.Context, w world) world {
	wrong := func(w world) bool {
		o, _, err := a.play(ctx, w)
		return err == nil && o.wrong()
	}
	for again := true; again; {
		again = false
		for i := range w.things {
			try := world{slices.Delete(slices.Clone(w.things), i, i+1), w.does}
			if wrong(try) {
				w, again = try, true
				break
			}
		}
		for i := 0; i < len(w.does) && !again; i++ {
			if len(w.does) > 1 {
				try := world{w.things, slices.Delete(slices.Clone(w.does), i, i+1)}
				if wrong(try) {
					w, again = try, true
					break
				}
			}
			if w.does[i][1] != 0 {
				try := world{w.things, slices.Clone(w.does)}
				try.does[i][1] = 0
				if wrong(try) {
					w, again = try, true
				}
			}
		}
	}
	return w
}

// TestRandomMigrations: equal or refused.
func TestRandomMigrations(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	a := newArena(t)
	if text := os.Getenv("TIDEOVER_MIGRATION"); text != "" {
		w := readWorld(t, text)
		o, detail, err := a.play(t.Context(), w)
		t.Logf("%s\n%s\n%s: %s %v", w.base(), w.migration(), o, detail, err)
		if err != nil || o.wrong() {
			t.Fail()
		}
		return
	}
	total := 2000
	if text := os.Getenv("TIDEOVER_MIGRATIONS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("TIDEOVER_MIGRATIONS is %q; it is a number", text)
		}
		total = n
	}
	count := map[outcome]int{}
	for _, n := range slice.Of(t, 20, total) {
		w := randomWorld(uint64(n))
		o, _, err := a.play(t.Context(), w)
		if err != nil {
			t.Fatalf("migration %d (%s): %v", n, w, err)
		}
		count[o]++
		if o.wrong() {
			w = a.smaller(t.Context(), w)
			o, detail, _ := a.play(t.Context(), w)
			t.Errorf("migration %d %s:\n%s\n%s\n%s\nagain: TIDEOVER_MIGRATION=%s go test ./internal/migrate -run TestRandomMigrations -v", n, o, w.base(), w.migration(), detail, w)
		}
	}
	t.Logf("%v", count)
	judged := count[equal] + count[refused]
	if judged > 100 && count[refused]*2 > judged {
		t.Errorf("%d of %d are refused: that proves little of the rest", count[refused], judged)
	}
}
