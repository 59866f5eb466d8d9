package sqlrewrite

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

var testColumns = map[string][]string{"parent": {"id", "name"}, "child": {"id", "parent_id", "name"}, "item": {"id", "tags"}, "pair": {"a", "b"}}

// lineageText is a Lineage in a line for each thing that it says.
func lineageText(t *testing.T, sql ...string) string {
	t.Helper()
	var scripts []*Script
	for i, s := range sql {
		script, err := Parse(fmt.Sprintf("%d.sql", i+1), s)
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, script)
	}
	return sayLineage(LineageOf(scripts, "public", testColumns))
}

func sayLineage(l Lineage) string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, d := range l.Dependences {
		text := d.Table + " on " + d.On
		if d.Same {
			text += " itself by " + strings.Join(d.Asked, ",")
		} else if d.Asked != nil {
			text += " by " + strings.Join(d.Asked, ",")
		}
		if !d.Joined {
			text += " any"
		}
		say("%s", text)
	}
	for _, d := range l.Derived {
		var copies []string
		for c, o := range d.Copies {
			copies = append(copies, c+"="+o.Table+"."+o.Column)
		}
		slices.Sort(copies)
		text := d.Table + " of " + strings.Join(d.From, "+") + " (" + strings.Join(copies, " ") + ")"
		if d.Merged {
			text += fmt.Sprintf(" merged by %v", d.By)
		}
		if d.Mixed {
			text += " mixed"
		}
		say("%s", text)
	}
	for _, c := range l.Calls {
		say("calls %s", strings.TrimPrefix(c.Schema+"."+c.Function, "."))
	}
	for _, o := range l.Operators {
		if strings.Contains(o.Function, "#") { // all others are in each case's SQL
			say("operator %s", strings.TrimPrefix(o.Schema+"."+o.Function, "."))
		}
	}
	for _, u := range l.Unread {
		say("unread: %s", u.Why)
	}
	return strings.Join(out, "\n")
}

func TestLineage(t *testing.T) {
	for _, c := range []struct{ name, sql, want string }{
		{"own row", "UPDATE t SET a = b + 1 WHERE c IS NULL; DELETE FROM t WHERE d;", ""},
		{"where it runs", "UPDATE t SET d = current_database() || CURRENT_CATALOG; UPDATE t SET z = pg_catalog.txid_current(); UPDATE t SET z = other.lastval(); SELECT pg_table_size('t'); CREATE TABLE n (d text DEFAULT current_database());",
			"calls current_database\ncalls other.lastval\ncalls pg_table_size\nunread: current_catalog says where the migrations run, and a delta is migrated elsewhere\nunread: current_database() says where the migrations run, and a delta is migrated elsewhere\nunread: txid_current() says where the migrations run, and a delta is migrated elsewhere"},
		{"a catalog", "UPDATE t SET n = (SELECT reltuples FROM pg_class WHERE oid = 't'::regclass); UPDATE t SET n = null_frac FROM pg_catalog.pg_stats; UPDATE t SET a = b WHERE EXISTS (SELECT FROM information_schema.columns); SELECT relname FROM pg_class;",
			"unread: pg_class says how things are where the migrations run, and a delta is migrated elsewhere\nunread: pg_stats says how things are where the migrations run, and a delta is migrated elsewhere"},
		{"SQL in a text", "UPDATE t SET x = query_to_xml('SELECT count(*) FROM t', true, true, ''); UPDATE t SET n = (SELECT count(*) FROM ts_stat('SELECT v FROM t')); UPDATE t SET q = ts_rewrite(q, 'SELECT a, b FROM s'), r = ts_rewrite(q, q, q);",
			"calls count\ncalls query_to_xml\ncalls ts_rewrite\ncalls ts_stat\nunread: query_to_xml() reads rows that can't be told from the statement\nunread: ts_rewrite() reads rows that can't be told from the statement\nunread: ts_stat() reads rows that can't be told from the statement"},
		{"an operator", "UPDATE t SET n = v OPERATOR(other.##) 1 WHERE a ### b AND n OPERATOR(pg_catalog.#) 1 > 0;", "operator ###\noperator other.##"},
		{"another row's failure", "DO $$ BEGIN UPDATE t SET n = v::int; EXCEPTION WHEN others THEN UPDATE t SET n = 0; END $$;",
			"unread: a DO block does something else for all rows where UPDATE t fails for one (EXCEPTION)"},
		{"another row's failure, in DDL", "DO $$ BEGIN BEGIN ALTER TABLE t ADD UNIQUE (v); EXCEPTION WHEN duplicate_table OR unique_violation THEN NULL; END; END $$;",
			"unread: a DO block does something else for all rows where ALTER TABLE fails for one (EXCEPTION)"},
		{"another row's failure, of a text", "DO $$ BEGIN EXECUTE 'ALTER TABLE t ALTER v TYPE int USING v::int'; EXCEPTION WHEN SQLSTATE '22P02' THEN NULL; END $$;",
			"unread: a DO block does something else for all rows where EXECUTE fails for one (EXCEPTION)"},
		{"what is there already", "DO $$ BEGIN CREATE TYPE e AS ENUM ('a'); ALTER TABLE t ADD CHECK (a > 0); EXCEPTION WHEN duplicate_object OR SQLSTATE '42P07' THEN NULL; END $$; DO $$ BEGIN CREATE TABLE n (id int); EXCEPTION WHEN others THEN RAISE NOTICE 'x'; END $$;", ""},
		{"seed", "CREATE TABLE s (id int, v text); INSERT INTO s VALUES (1, 'x'); UPDATE t SET s = (SELECT id FROM s LIMIT 1);", ""},
		{"parent's column", "UPDATE child c SET name = p.name FROM parent p WHERE p.id = c.parent_id;", "child on parent by id,name"},
		{"parent's column, in a subquery", "UPDATE child SET name = (SELECT name FROM parent WHERE parent.id = child.parent_id);", "child on parent by id,name"},
		{"without prefixes", "UPDATE child SET name = (SELECT name FROM parent WHERE id = parent_id);", "child on parent by id,name,parent_id"},
		{"renamed before", "ALTER TABLE parent RENAME TO p; ALTER TABLE child RENAME COLUMN parent_id TO pid; UPDATE child c SET name = p.name FROM p WHERE p.id = c.pid;", "child on parent by id,name"},
		{"of another schema", "UPDATE public.t SET a = s.a FROM other.s WHERE s.id = t.id;", "t on other.s by a,id"},
		{"orphans", "DELETE FROM token t WHERE NOT EXISTS (SELECT 1 FROM client c WHERE c.id = t.client_id);", "token on client by id"},
		{"orphans by IN", "DELETE FROM token WHERE client_id NOT IN (SELECT id FROM client);", "token on client by id"},
		{"orphans by a renamed column", "ALTER TABLE client RENAME id TO pk; DELETE FROM token WHERE client_id NOT IN (SELECT pk FROM client);", "token on client by id"},
		{"not joined", "UPDATE t SET n = (SELECT count(*) FROM s);", "t on s by  any"},
		{"joined under OR", "UPDATE t SET n = 1 FROM s WHERE s.id = t.id OR s.all_of_them;", "t on s by all_of_them,id any"},
		{"an alias of two", "DELETE FROM t WHERE EXISTS (SELECT 1 FROM a x WHERE x.id = t.id) OR EXISTS (SELECT 1 FROM b x WHERE x.n > 1);",
			"t on a by id\nt on b by n any"},
		{"siblings", "UPDATE t SET last = NOT EXISTS (SELECT 1 FROM t o WHERE o.grp = t.grp AND o.id > t.id);", "t on t itself by grp"},
		{"rank", "UPDATE t SET rank = r.n FROM (SELECT id, row_number() OVER (ORDER BY at) n FROM t) r WHERE r.id = t.id;", "t on t by at,id any"},
		{"rank in groups", "UPDATE t SET rank = r.n FROM (SELECT id, row_number() OVER (PARTITION BY grp ORDER BY at) n FROM t) r WHERE r.id = t.id;", "t on t by at,grp,id"},
		{"by WITH", "WITH n AS (SELECT t_id, count(*) c FROM s GROUP BY t_id) UPDATE t SET c = n.c FROM n WHERE n.t_id = t.id;", "t on s by t_id"},
		{"a row number over all", "UPDATE t SET n = r.n FROM (SELECT t_id, row_number() OVER (ORDER BY id) n FROM s) r WHERE r.t_id = t.id;", "t on s by id,t_id any"},
		{"a new key by an old one", "ALTER TABLE app ADD COLUMN pk uuid DEFAULT gen_random_uuid(); UPDATE item SET app_pk = a.pk FROM app a WHERE a.id = item.app;", "item on app by id"},
		{"a query within that is not joined", "UPDATE t SET c = q.c FROM (SELECT o.id, (SELECT count(*) FROM s) c FROM o) q WHERE q.id = t.id;", "t on o by id\nt on s by  any"},
		{"split", "CREATE TABLE detail (id int PRIMARY KEY, value text); INSERT INTO detail SELECT id, note FROM t WHERE note IS NOT NULL;", "detail of t (id=t.id value=t.note)"},
		{"split, renamed and dropped later", "CREATE TABLE d (id int, v text, w text); INSERT INTO d (v, id, w) SELECT a, id, b FROM t; ALTER TABLE d RENAME id TO t_id; ALTER TABLE d DROP w; ALTER TABLE d RENAME TO detail;",
			"detail of t (t_id=t.id v=t.a)"},
		{"array to rows", "CREATE TABLE tag (item int, tag text); INSERT INTO tag SELECT i.id, x FROM item i, unnest(i.tags) x;", "tag of item (item=item.id)"},
		{"array to rows, without prefixes", "CREATE TABLE tag (item int, n int, tag text); INSERT INTO tag SELECT id, o, x FROM item, unnest(tags) WITH ORDINALITY u(x, o);", "tag of item (item=item.id)"},
		{"a copy by position", "CREATE TABLE n (id int, v text); INSERT INTO n SELECT * FROM t;", "n of t (id=t.#1 v=t.#2)"},
		{"values of a column", "CREATE TABLE name (name text PRIMARY KEY); INSERT INTO name SELECT DISTINCT name FROM t;", "name of t (name=t.name) merged by [{t name}]"},
		{"values of a column, on conflict", "CREATE TABLE name (name text PRIMARY KEY); INSERT INTO name SELECT name FROM t ON CONFLICT DO NOTHING;", "name of t (name=t.name) merged by []"},
		{"sums", "CREATE TABLE s (id int, n int); INSERT INTO s SELECT o.id, sum(l.n) FROM o JOIN l ON l.o = o.id GROUP BY o.id;", "o on l by n,o\nl on o by id\ns of l+o (id=o.id) merged by [{o id}]"},
		{"a copy of all", "CREATE TABLE n AS SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t;", "t of t (*=t.*)"},
		{"a copy like it", "CREATE TABLE n (LIKE t INCLUDING ALL); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t;", "t of t (*=t.*)"},
		{"a copy like it, renamed", "CREATE TABLE n (LIKE t); INSERT INTO n SELECT * FROM t; ALTER TABLE n RENAME id TO pk;", "n of t ()"},
		{"by kind", "CREATE TABLE cat (id int, n text); CREATE TABLE dog (id int, n text); INSERT INTO cat SELECT id, n FROM pet WHERE kind = 'cat'; INSERT INTO dog SELECT id, n FROM pet WHERE kind = 'dog'; DROP TABLE pet;",
			"cat of pet (id=pet.id n=pet.n)\ndog of pet (id=pet.id n=pet.n)"},
		{"into one of blue's", "INSERT INTO archive (id, v) SELECT id, v FROM t WHERE old; DELETE FROM t WHERE old;", "archive of t (id=t.id v=t.v) mixed"},
		{"a union", "CREATE TABLE u (id int, k text); INSERT INTO u SELECT id, 'a' FROM a UNION ALL SELECT id, 'b' FROM b;", "u of a (id=a.id)\nu of b (id=b.id)"},
		{"a key that is changed before", "UPDATE t SET id = id + 1000; CREATE TABLE d (id int); INSERT INTO d SELECT id FROM t;", "d of t ()"},
		{"a key that is changed after", "CREATE TABLE d (id int); INSERT INTO d SELECT id FROM t; UPDATE d SET id = -id;", "d of t ()"},
		{"what was split takes its own row along", "CREATE TABLE d (id int, v text); INSERT INTO d SELECT id, v FROM t; UPDATE t SET has = true FROM d WHERE d.id = t.id;", "t on t itself by id\nd of t (id=t.id v=t.v)"},
		{"moved in one statement", "CREATE TABLE d (id int); WITH gone AS (DELETE FROM t WHERE old RETURNING *) INSERT INTO d SELECT id FROM gone;", "d of t ()"},
		{"through a view", "CREATE VIEW v AS SELECT * FROM s; UPDATE t SET a = v.a FROM v WHERE v.id = t.id;", "t on s any"},
		{"seeds that count", "CREATE TABLE n (c int); INSERT INTO n SELECT count(*) FROM t;", "n of t () merged by []"},
		{"ranks by way of a table", "CREATE TEMP TABLE rk AS SELECT id, row_number() OVER (ORDER BY at) n FROM t; UPDATE t SET rank = rk.n FROM rk WHERE rk.id = t.id; DROP TABLE rk;", "t on t itself by  any"},
		{"ranks under one alias", "UPDATE t SET rank = t2.n FROM (SELECT t.id, row_number() OVER (ORDER BY t.at) n FROM t) t2 WHERE t2.id = t.id;", "t on t by at,id any"},
		{"a generated column", "ALTER TABLE own ADD lname text GENERATED ALWAYS AS (lower(name)) STORED; UPDATE t SET n = c.lname FROM own c WHERE c.id = t.own;", "t on own"},
		{"a name of WITH that is the table's", "WITH s AS (SELECT t_id, count(*) c FROM s GROUP BY t_id) UPDATE t SET c = s.c FROM s WHERE s.t_id = t.id;", "t on s by t_id"},
		{"a percentage", "UPDATE t SET n = (SELECT count(*) FROM s WHERE s.t_id = t.id) / (SELECT count(*) FROM s);", "t on s by  any\nt on s by t_id"},
		{"the target's alias within", "UPDATE t SET n = (SELECT count(*) FROM t WHERE v > 1);", "t on t by v any"},
		{"both columns of one table", "UPDATE child SET name = 'x' WHERE EXISTS (SELECT 1 FROM pair WHERE a = b);", "child on pair by a,b any"},
		{"the first of a list", "UPDATE t SET n = 1 WHERE id IN (SELECT t_id FROM s ORDER BY at LIMIT 3);", "t on s by at,t_id any"},
		{"the condition of an outer join", "UPDATE t SET n = (SELECT count(*) FROM s LEFT JOIN r ON r.k = s.id AND r.p = t.id);", "t on r by k,p any\nt on s by id any"},
		{"USING", "UPDATE t SET ok = true FROM s JOIN c USING (id, tier) WHERE s.id = t.id;", "t on c by id,tier\nt on s by id,tier"},
		{"through a part of a table", "CREATE TABLE p (id int, n int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p DEFAULT; INSERT INTO p SELECT id, n FROM s; UPDATE t SET n = (SELECT count(*) FROM p1);", "p of s (id=s.id n=s.n)\nt on s any"},
		{"a materialized view", "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM t;", "unread: the materialized view m is filled once, with rows that change"},
		{"a block that assigns", "DO $$ DECLARE k int; BEGIN k := (SELECT count(*) FROM s); UPDATE t SET n = k; END $$;", "unread: a DO block writes rows by what it finds in others"},
		{"a block that asks whether it wrote", "DO $$ BEGIN UPDATE t SET a = 1 WHERE b; IF FOUND THEN UPDATE t SET c = 1; END IF; END $$;", "unread: a DO block writes rows by what it finds in others"},
		{"a block that counts what it wrote", "DO $$ DECLARE k int; BEGIN DELETE FROM t WHERE b; GET DIAGNOSTICS k = ROW_COUNT; INSERT INTO n VALUES (k); END $$;", "unread: a DO block writes rows by what it finds in others"},
		{"a block that takes what it wrote", "DO $$ DECLARE k int; BEGIN UPDATE t SET a = 1 WHERE id = 1 RETURNING b INTO k; UPDATE t SET c = k; END $$;", "unread: a DO block writes rows by what it finds in others"},
		{"a block with SQL in a variable", "DO $$ DECLARE s text := 'UPDATE t SET a = 1'; BEGIN EXECUTE s; END $$;", "unread: a DO block puts SQL together that may write rows"},
		{"a prepared statement", "PREPARE p AS UPDATE t SET a = 1; EXECUTE p;", "unread: a statement is prepared under a name\nunread: a statement is prepared under a name"},
		{"a rule", "CREATE RULE r AS ON UPDATE TO t DO ALSO UPDATE s SET n = 1; UPDATE t SET a = 1; DROP RULE r ON t;", "unread: a rule says what else a statement does"},
		{"a trigger of the migrations", "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE s SET n = 1; RETURN NULL; END'; CREATE TRIGGER x AFTER UPDATE ON t EXECUTE FUNCTION f(); UPDATE t SET a = 1;", "unread: a trigger of the migrations may write other rows"},
		{"a trigger that keeps to its row", "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := 1; RETURN NEW; END'; CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f(); UPDATE t SET a = 1;", ""},
		{"a setting that carries", "SELECT set_config('my.x', (SELECT count(*)::text FROM t), false);", "unread: a setting takes what rows say along"},
		{"groups by number", "CREATE TABLE n (id int, c int); INSERT INTO n SELECT t.id, count(*) FROM t GROUP BY 1;", "n of t (id=t.id) merged by [{t id}]"},
		{"both halves of a WITH", "CREATE TABLE n (id int); INSERT INTO n WITH c AS (SELECT id FROM t) SELECT id FROM c UNION ALL SELECT id FROM c;", "n of t ()\nn of t ()"},
		{"a function of its own", "UPDATE t SET a = f(a), b = lower(b), c = x.g(c);", "calls f\ncalls lower\ncalls x.g"},
		{"a block", "DO $$ BEGIN UPDATE t SET a = 1 WHERE a IS NULL; ALTER TABLE t RENAME TO u; END $$; UPDATE u SET x = 1 FROM s WHERE s.id = u.id;", "t on s by id"},
		{"a block that decides by rows", "DO $$ DECLARE n int; BEGIN SELECT count(*) INTO n FROM s; UPDATE t SET a = n; END $$;", "unread: a DO block writes rows by what it finds in others\ncalls count"},
		{"a block that asks the catalog", "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'x') THEN UPDATE t SET a = 1; END IF; END $$;", ""},
		{"a block that puts SQL together", "DO $$ BEGIN EXECUTE format('UPDATE %I SET a = 1', 't'); END $$;", "unread: a DO block puts SQL together that may write rows"},
		{"a block of DDL that is put together", "DO $$ BEGIN EXECUTE format('ALTER TABLE %I ADD COLUMN x int', 't'); END $$;", ""},
		{"merge", "MERGE INTO t USING s ON s.id = t.id WHEN MATCHED THEN UPDATE SET a = s.a;", "t on s by a,id"},
	} {
		got := strings.Split(lineageText(t, c.sql), "\n")
		want := strings.Split(c.want, "\n")
		if !strings.Contains(c.want, "calls") {
			got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "calls ") })
		}
		slices.Sort(got)
		slices.Sort(want)
		if strings.Join(got, "\n") != strings.Join(want, "\n") && (len(got) > 0 || c.want != "") {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), c.want)
		}
	}
}

// TestLineageWritten: which rows of before are written, under the names of before, and which triggers sleep meanwhile.
func TestLineageWritten(t *testing.T) {
	t.Parallel()
	tests := []struct{ sql, want string }{
		{`UPDATE parent SET name = 'x', id = id`, "UPDATE parent name,id"},
		{`INSERT INTO parent VALUES (1)`, "INSERT parent"},
		{`INSERT INTO parent VALUES (1) ON CONFLICT (id) DO UPDATE SET name = 'x'`, "INSERT parent; UPDATE parent name"},
		{`INSERT INTO parent VALUES (1) ON CONFLICT DO NOTHING`, "INSERT parent"},
		{`DELETE FROM ONLY public.parent`, "DELETE parent"},
		{`WITH d AS (DELETE FROM child RETURNING *) INSERT INTO parent SELECT id FROM d`, "DELETE child; INSERT parent"},
		{`MERGE INTO parent USING child ON parent.id = child.id WHEN MATCHED THEN UPDATE SET name = 'x' WHEN NOT MATCHED THEN INSERT VALUES (1)`, "UPDATE parent name; INSERT parent"},
		{`ALTER TABLE parent RENAME TO elder; ALTER TABLE elder RENAME COLUMN name TO title; UPDATE elder SET title = 'x'`, "UPDATE parent name"},
		{`CREATE TABLE other (id int); INSERT INTO other VALUES (1)`, ""},
		{`ALTER TABLE parent DISABLE TRIGGER one; UPDATE parent SET id = 1; ALTER TABLE parent ENABLE TRIGGER one; DELETE FROM parent`, "UPDATE parent id asleep one; DELETE parent"},
		{`ALTER TABLE parent DISABLE TRIGGER ALL; DELETE FROM parent`, "DELETE parent asleep *"},
		{`DROP TRIGGER one ON public.parent; DELETE FROM parent; DELETE FROM child`, "DELETE parent asleep one; DELETE child"},
		{`DO $$ BEGIN UPDATE parent SET name = 'x'; END $$`, "UPDATE parent name"},
	}
	for _, tt := range tests {
		script, err := Parse("1.sql", tt.sql)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, w := range LineageOf([]*Script{script}, "public", testColumns).Written {
			text := w.Event + " " + w.Table
			if len(w.Columns) > 0 {
				text += " " + strings.Join(w.Columns, ",")
			}
			if len(w.Asleep) > 0 {
				text += " asleep " + strings.Join(w.Asleep, ",")
			}
			all = append(all, text)
		}
		if got := strings.Join(all, "; "); got != tt.want {
			t.Errorf("%s\n\tgives %q, want %q", tt.sql, got, tt.want)
		}
	}
}
