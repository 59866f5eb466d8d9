package world

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// migrations gives a random table what the upgrade makes of it.
func (b *builder) migrationsOf(t *randomTable) {
	for i := range t.n("migrations", 4) {
		name := "m" + itoa(i)
		if !t.has(name, 0.9) {
			continue
		}
		d := t.at(name)
		labels := slices.Sorted(maps.Keys(changes))
		if n, ok := d.one("kind", labels); ok {
			changes[labels[n]](b, t, d, i)
		}
	}
}

type change func(b *builder, t *randomTable, d dice, i int)

var changes = map[string]change{
	"add constant": addConstant, "add computed": addComputed, "add not null": addNotNull, "drop column": dropColumn, "rename column": renameColumn,
	"rename table": renameTable, "widen": widen, "to text": toText, "unique tag": uniqueTag, "check": check, "split": split, "sparse split": sparseSplit,
	"reuse name": reuseName, "not null": notNull, "generate": generate, "new table": newTable, "view": view, "comment": comment, "index": index,
	"set default": setDefault, "green trigger": greenTrigger,
}

// now is what green calls a column by then; "" when it is gone.
func (t *randomTable) now(c string) string {
	if n, ok := t.green.renamed[c]; ok {
		return n
	}
	return c
}

// spare is a column that a migration may do away with.
func (t *randomTable) spare(d dice) (randomColumn, bool) {
	left := slices.DeleteFunc(slices.Clone(t.free()), func(c randomColumn) bool { return t.now(c.name) == "" || slices.Contains(t.key, c.name) })
	if len(left) == 0 {
		return randomColumn{}, false
	}
	return left[d.n("spare", len(left))], true
}

func addConstant(b *builder, t *randomTable, d dice, i int) {
	b.migrate("ALTER TABLE %s ADD COLUMN new%d text NOT NULL DEFAULT 'fresh';", t.greenRef(), i)
}

func addComputed(b *builder, t *randomTable, d dice, i int) {
	b.migrate("ALTER TABLE %s ADD COLUMN new%d integer;\nUPDATE %[1]s SET new%[2]d = tag * 2;", t.greenRef(), i)
}

func addNotNull(b *builder, t *randomTable, d dice, i int) {
	b.migrate("ALTER TABLE %s ADD COLUMN new%d text;\nUPDATE %[1]s SET new%[2]d = 'of ' || tag;\nALTER TABLE %[1]s ALTER COLUMN new%[2]d SET NOT NULL;", t.greenRef(), i)
}

func dropColumn(b *builder, t *randomTable, d dice, i int) {
	if c, ok := t.spare(d); ok {
		b.migrate("ALTER TABLE %s DROP COLUMN %s;", t.greenRef(), ident(t.now(c.name)))
		t.green.renamed[c.name] = ""
	}
}

func renameColumn(b *builder, t *randomTable, d dice, i int) {
	if c, ok := t.spare(d); ok {
		b.migrate("ALTER TABLE %s RENAME COLUMN %s TO renamed%d;", t.greenRef(), ident(t.now(c.name)), i)
		t.green.renamed[c.name] = "renamed" + itoa(i)
	}
}

func renameTable(b *builder, t *randomTable, d dice, i int) {
	if !t.plainKey() {
		return
	}
	name := fmt.Sprintf("moved%d_%s", i, strings.ReplaceAll(t.path, "/", "_"))
	b.migrate("ALTER TABLE %s RENAME TO %s;", t.greenRef(), ident(name))
	t.green.name = name
}

// plainKey: the key's columns can be parameters of the profile's statements.
func (t *randomTable) plainKey() bool { return t.keyed != "unique only" && t.keyed != "deferrable key" }

// widen gives a number or a text more room.
func widen(b *builder, t *randomTable, d dice, i int) {
	wider := map[string]string{"integer": "bigint", "smallint": "integer", "real": "double precision", "varchar(40)": "text", "char(8)": "varchar(20)",
		"numeric(12,4)": "numeric", "date": "timestamp", "json": "jsonb", "cidr": "inet", "timestamp": "timestamptz USING %s AT TIME ZONE 'UTC'",
		"text": "bytea USING convert_to(%s, 'UTF8')", "integer[]": "bigint[]", "bit varying(9)": "bit varying(20)"}
	for _, c := range t.free() {
		now := t.now(c.name)
		if to, ok := wider[c.typ]; ok && now != "" && !slices.Contains(t.key, c.name) {
			if strings.Contains(to, "%s") {
				to = fmt.Sprintf(to, ident(now))
			}
			b.migrate("ALTER TABLE %s ALTER COLUMN %s TYPE %s;", t.greenRef(), ident(now), to)
			t.green.renamed[c.name] = "" // its values are of another type from here on
			return
		}
	}
}

// toText turns a column into text whose form hangs on no setting.
func toText(b *builder, t *randomTable, d dice, i int) {
	for _, c := range t.free() {
		now := t.now(c.name)
		if slices.Contains([]string{"integer", "bigint", "numeric", "boolean", "uuid", "jsonb", "inet"}, c.typ) && now != "" {
			b.migrate("ALTER TABLE %s ALTER COLUMN %s TYPE text USING %[2]s::text;", t.greenRef(), ident(now))
			t.green.renamed[c.name] = ""
			return
		}
	}
}

func uniqueTag(b *builder, t *randomTable, d dice, i int) {
	if !t.partitioned() {
		b.migrate("CREATE UNIQUE INDEX ON %s (tag) WHERE tag > 2;", t.greenRef())
	}
}

func check(b *builder, t *randomTable, d dice, i int) {
	b.migrate("ALTER TABLE %s ADD CONSTRAINT %s CHECK (tag > 0);", t.greenRef(), ident("positive"+itoa(i)+t.path))
}

// split moves a column to a table of its own, which goes with its row.
func split(b *builder, t *randomTable, d dice, i int) { splitInto(b, t, d, i, "") }

// sparseSplit makes rows for values alone: a value that goes takes its row away.
func sparseSplit(b *builder, t *randomTable, d dice, i int) {
	splitInto(b, t, d, i, " WHERE %s IS NOT NULL")
}

func splitInto(b *builder, t *randomTable, d dice, i int, where string) {
	c, ok := t.spare(d)
	if !ok || !t.plainKey() || t.keyed == "generated key" || len(t.key) > 1 {
		return
	}
	now, detail := ident(t.now(c.name)), ident(t.schema)+"."+ident("detail"+itoa(i)+"_"+t.path)
	if where != "" {
		where = fmt.Sprintf(where, now)
	}
	key := ident(t.key[0])
	typ := t.column(t.key[0]).typ
	if typ == "bigserial" {
		typ = "bigint"
	}
	b.migrate("CREATE TABLE %s (%s %s PRIMARY KEY REFERENCES %s ON DELETE CASCADE, value %s);\nINSERT INTO %[1]s SELECT %[2]s, %[6]s FROM %[4]s%[7]s;\nALTER TABLE %[4]s DROP COLUMN %[6]s;",
		detail, key, typ, t.greenRef(), c.typ, now, where)
	t.green.renamed[c.name] = ""
}

// reuseName drops a column and gives its name to another.
func reuseName(b *builder, t *randomTable, d dice, i int) {
	gone, ok := t.spare(d)
	kept, ok2 := t.spare(d.at("kept"))
	if !ok || !ok2 || gone.name == kept.name {
		return
	}
	name := t.now(gone.name)
	b.migrate("ALTER TABLE %s DROP COLUMN %s;\nALTER TABLE %[1]s RENAME COLUMN %[3]s TO %[2]s;", t.greenRef(), ident(name), ident(t.now(kept.name)))
	t.green.renamed[gone.name], t.green.renamed[kept.name] = "", name
}

// notNull mends what is NULL and forbids it from then on.
func notNull(b *builder, t *randomTable, d dice, i int) {
	if c, ok := t.spare(d); ok {
		now := ident(t.now(c.name))
		b.migrate("UPDATE %s SET %s = %s WHERE %[2]s IS NULL;\nALTER TABLE %[1]s ALTER COLUMN %[2]s SET NOT NULL;", t.greenRef(), now, c.values[0])
	}
}

func generate(b *builder, t *randomTable, d dice, i int) {
	b.migrate("ALTER TABLE %s ADD COLUMN gen%d integer GENERATED ALWAYS AS (tag + 1) STORED;", t.greenRef(), i)
}

func newTable(b *builder, t *randomTable, d dice, i int) {
	b.migrate("CREATE TABLE %s (id bigint PRIMARY KEY, v text);\nINSERT INTO %[1]s VALUES (1, 'seeded');", ident(t.schema)+"."+ident("new"+itoa(i)+"_"+t.path))
}

func view(b *builder, t *randomTable, d dice, i int) {
	b.migrate("CREATE VIEW %s AS SELECT tag FROM %s WHERE tag > 3;", ident(t.schema)+"."+ident("view"+itoa(i)+"_"+t.path), t.greenRef())
}

func comment(b *builder, t *randomTable, d dice, i int) {
	b.migrate("COMMENT ON TABLE %s IS 'it''s new';", t.greenRef())
}

func index(b *builder, t *randomTable, d dice, i int) {
	b.migrate("CREATE INDEX ON %s ((tag %% 10));", t.greenRef())
}

func setDefault(b *builder, t *randomTable, d dice, i int) {
	b.migrate("ALTER TABLE %s ALTER COLUMN tag SET DEFAULT 7;", t.greenRef())
}

// greenTrigger is code that green's new server has and blue's has not: it is not for rows that we bring.
func greenTrigger(b *builder, t *randomTable, d dice, i int) {
	f := ident(t.schema) + "." + ident("green"+itoa(i)+"_"+t.path)
	b.migrate("CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.tag := NEW.tag + 100000; RETURN NEW; END$$;\n"+
		"CREATE TRIGGER green%d BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %[1]s();", f, i, t.greenRef())
}
