package world

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

func itoa(n int) string         { return strconv.Itoa(n) }
func ident(name string) string  { return pgx.Identifier{name}.Sanitize() }
func idents(ns []string) string { return strings.Join(quoted(ns), ", ") }
func quoted(ns []string) []string {
	q := make([]string, len(ns))
	for i, n := range ns {
		q[i] = ident(n)
	}
	return q
}

// randomTable is a table of blue, and what the migrations make of it. Every row has a tag, by which writers find it.
type randomTable struct {
	dice
	schema, name string
	columns      []randomColumn
	key          []string
	keyed        string // which kind of key
	parent       *randomTable
	rows         int
	referenced   bool

	green struct {
		name    string
		columns []string // those of blue that are left, as green calls them, by blue's name
		renamed map[string]string
	}
}

type randomColumn struct {
	name string
	columnType
	typ      string             // with its schema
	fixed    func(n int) string // a key's value, by tag; nil: one of the type's
	extra    string             // such as GENERATED ALWAYS AS IDENTITY
	writable bool
	null     bool
}

func (t *randomTable) ref() string      { return ident(t.schema) + "." + ident(t.name) }
func (t *randomTable) greenRef() string { return ident(t.schema) + "." + ident(t.green.name) }

// elsewhere is a schema of the server's beside the profile's own.
const elsewhere = "Else where"

// called is the table's name in the profile.
func (t *randomTable) called() string {
	if t.schema == "public" {
		return t.name
	}
	return t.schema + "." + t.name
}

// oddNames are names that statements glued together by hand trip over.
var oddNames = []string{"order", "User Tokens", `quo"ted`, "it's", "ünïcode", "per%cent", "a.b", "UPPER", "back\\slash", "$1", "select",
	"a_name_that_is_as_long_as_a_name_in_postgres_can_be_63_bytes_xx"}

var keyKinds = []string{"bigint", "typed", "typed", "composite", "composite", "serial", "identity key", "identity by default", "generated key", "unique only", "deferrable key"}

// table makes the i-th random table, if the dice want it.
func (b *builder) table(i int) *randomTable {
	t := &randomTable{dice: b.at("t" + itoa(i)), schema: "public", name: "t" + itoa(i)}
	if t.has("elsewhere", 0.15) {
		t.schema = elsewhere
		if !b.elsewhere {
			b.elsewhere = true
			b.prelude = append(b.prelude, "CREATE SCHEMA "+ident(elsewhere)+";")
		}
	}
	if t.has("odd name", 0.15) {
		t.name = pick(t.dice, "odd", oddNames)
		if len(t.name)+len(itoa(i)) <= 63 {
			t.name += itoa(i)
		}
	}
	t.keyColumns(b)
	for c := range 1 + t.n("columns", 6) {
		name := "c" + itoa(c)
		if !t.has(name, 0.95) {
			continue
		}
		d := t.at(name)
		n, ok := d.one("type", columnLabels)
		if !ok {
			continue
		}
		col := b.column(d, columnTypes[n])
		col.name = name
		if d.has("odd name", 0.1) {
			col.name = pick(d, "odd", oddNames)
			if t.column(col.name) != nil {
				col.name = name
			}
		}
		t.columns = append(t.columns, col)
	}
	t.columns = append(t.columns, randomColumn{name: "tag", columnType: columnType{}, typ: "integer", fixed: itoa, writable: true})
	if t.has("generated", 0.15) {
		t.columns = append(t.columns, randomColumn{name: "made", typ: "text", extra: "GENERATED ALWAYS AS ('#' || tag) STORED"})
	}
	if t.has("identity beside", 0.1) && !strings.Contains(t.keyed, "identity") {
		t.columns = append(t.columns, randomColumn{name: "seq", typ: "bigint", extra: "GENERATED ALWAYS AS IDENTITY"})
	}
	if len(b.tables) > 0 && t.has("reference", 0.4) {
		t.reference(b.tables[t.n("parent", len(b.tables))])
	}
	t.green.name, t.green.renamed = t.name, map[string]string{}
	b.create(t)
	return t
}

func (t *randomTable) column(name string) *randomColumn {
	i := slices.IndexFunc(t.columns, func(c randomColumn) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return &t.columns[i]
}

// column is a column of a type, whose schema-bound parts are made where they are missing.
func (b *builder) column(d dice, typ columnType) randomColumn {
	c := randomColumn{columnType: typ, typ: typ.sql, writable: true, null: true}
	if typ.twins[0] != "" && !d.has("equal values", 1) {
		c.values, c.twins = typ.values[:1], [2]string{} // all its values differ by the type's own =
	}
	if typ.needs != "" {
		b.need(typ.needs)
		c.typ = strings.ReplaceAll(typ.sql, "%s", b.lib)
	}
	return c
}

func (t *randomTable) keyColumns(b *builder) {
	t.keyed = "bigint"
	if n, ok := t.one("key kind", keyKinds); ok {
		t.keyed = keyKinds[n]
	}
	if t.keyed == "unique only" {
		t.columns, t.key = append(t.columns, randomColumn{name: "id", typ: "bigint", extra: "NOT NULL", fixed: func(n int) string { return itoa(n * 7) }, writable: true}), []string{"id"}
		return
	}
	number := randomColumn{name: "id", typ: "bigint", fixed: func(n int) string { return itoa(n * 7) }, writable: true}
	switch t.keyed {
	case "typed", "composite":
		var can []columnType
		for _, c := range columnTypes {
			if c.key != nil {
				can = append(can, c)
			}
		}
		c := b.column(t.dice, pick(t.dice, "key type", can))
		c.name, c.fixed, c.null = "id", c.key, false
		t.columns, t.key = append(t.columns, c), []string{"id"}
		if t.keyed == "composite" {
			number.name = "part"
			t.columns, t.key = append(t.columns, number), []string{"part", "id"}
		}
		return
	case "serial":
		number.typ, number.writable = "bigserial", false
	case "identity key":
		number.extra, number.writable = "GENERATED ALWAYS AS IDENTITY", false
	case "identity by default":
		number.extra, number.writable = "GENERATED BY DEFAULT AS IDENTITY", false
	case "generated key":
		number.typ, number.extra, number.writable = "text", "GENERATED ALWAYS AS (md5(tag::text)) STORED", false
	}
	t.columns, t.key = append(t.columns, number), []string{"id"}
}

// reference adds a foreign key, which Postgres itself holds in the writes.
func (t *randomTable) reference(p *randomTable) {
	if len(p.key) != 1 || p.keyed == "deferrable key" {
		return
	}
	typ := p.column(p.key[0]).typ
	if typ == "bigserial" {
		typ = "bigint"
	}
	action := pick(t.dice, "on delete", []string{"CASCADE", "SET NULL", "NO ACTION", "NO ACTION DEFERRABLE INITIALLY DEFERRED"})
	t.columns = append(t.columns, randomColumn{name: "up", typ: typ, null: true, writable: true,
		extra: fmt.Sprintf("REFERENCES %s (%s) ON DELETE %s", p.ref(), ident(p.key[0]), action)})
	t.parent, p.referenced = p, true
}

// create writes the table and its first rows into blue's script.
func (b *builder) create(t *randomTable) {
	var parts []string
	for _, c := range t.columns {
		parts = append(parts, strings.TrimSpace(ident(c.name)+" "+c.typ+" "+c.extra))
	}
	switch key := idents(t.key); t.keyed {
	case "unique only":
		parts = append(parts, "UNIQUE ("+key+")")
	case "deferrable key":
		parts = append(parts, "PRIMARY KEY ("+key+") DEFERRABLE INITIALLY IMMEDIATE")
	default:
		parts = append(parts, "PRIMARY KEY ("+key+")")
	}
	if !t.partitioned() && t.has("unique tag", 0.2) {
		parts = append(parts, "UNIQUE (tag)"+pick(t.dice, "unique kind", []string{"", " DEFERRABLE INITIALLY DEFERRED", " DEFERRABLE INITIALLY IMMEDIATE"}))
	}
	tail := ""
	if t.partitioned() {
		tail = " PARTITION BY HASH (" + ident(t.key[0]) + ")"
	}
	b.blue("CREATE TABLE %s (\n\t%s\n)%s;", t.ref(), strings.Join(parts, ",\n\t"), tail)
	if tail != "" {
		for m := range 2 {
			b.blue("CREATE TABLE %s PARTITION OF %s FOR VALUES WITH (MODULUS 2, REMAINDER %d);", ident(t.schema)+"."+ident(t.part(m)), t.ref(), m)
		}
	}
	t.rows = 3 + t.n("rows", 10)
	for tag := 1; tag <= t.rows; tag++ {
		b.blue("%s", t.insert(t.at("row"+itoa(tag)), tag))
	}
}

func (t *randomTable) partitioned() bool {
	return !strings.Contains(t.keyed, "identity") && t.keyed != "generated key" && t.keyed != "deferrable key" && t.has("partitioned", 0.12)
}

func (t *randomTable) part(n int) string { return "part" + itoa(n) + " of " + t.path }

// insert is a row with a tag. The first row has the first of each pair of twins.
func (t *randomTable) insert(d dice, tag int) string {
	var names, values []string
	for _, c := range t.columns {
		if c.writable {
			names, values = append(names, c.name), append(values, t.value(d, c, tag))
		}
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s);", t.ref(), idents(names), strings.Join(values, ", "))
}

func (t *randomTable) value(d dice, c randomColumn, tag int) string {
	switch {
	case c.fixed != nil:
		return c.fixed(tag)
	case c.name == "up" && t.parent != nil:
		return fmt.Sprintf("(SELECT %s FROM %s WHERE tag = %d)", ident(t.parent.key[0]), t.parent.ref(), 1+d.n("up", t.parent.rows))
	case tag == 1 && c.twins[0] != "":
		return c.twins[0]
	case d.n(c.name+" null", 6) == 0:
		return "NULL"
	}
	return pick(d, c.name, c.values)
}
