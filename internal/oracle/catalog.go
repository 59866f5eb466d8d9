package oracle

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/plan"
)

// catalog is what a database's schema has, as far as it is compared.
type catalog struct {
	tables  []table
	byName  map[string]table
	objects map[[2]string]string // table and object → definition
}

// table is a table's columns that are compared, and a key among them.
type table struct {
	name    string
	whole   bool              // a partitioned table: its rows are its partitions'
	columns []string          // in alphabetical order: a migrated table may have them in another one
	formed  []string          // columns of which only the form is compared, since their values differ rightly
	times   map[string]string // columns of times, with their types, that are compared as [Clock] says
	key     []string          // of a primary key or unique index without excluded or null columns; none: whole rows are compared
}

// quoted is what of a row is compared by its hash.
func (t table) quoted() string {
	parts := []string{}
	for _, c := range t.columns {
		if _, apart := t.times[c]; !apart {
			parts = append(parts, quote([]string{c}, ""))
		}
	}
	for _, c := range t.formed {
		parts = append(parts, form(c))
	}
	return strings.Join(parts, ", ")
}

// form is whether a column has a value, and whether that is an empty text.
func form(column string) string {
	c := quote([]string{column}, "")
	return "CASE WHEN " + c + " IS NULL THEN 'null' WHEN " + c + "::text = '' THEN 'empty' ELSE 'set' END"
}

// keys is the key's values as text. Numbers and times read the same on both sides, because the server is the same.
func (t table) keys() string { return quote(t.key, "::text") }

// from names the table in a query: without those that inherit from it, which have rows of their own and are compared by themselves.
func (t table) from(schema string) string {
	name := pgx.Identifier{schema, t.name}.Sanitize() + " t"
	if t.whole {
		return name
	}
	return "ONLY " + name
}

func quote(names []string, suffix string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = "t." + pgx.Identifier{n}.Sanitize() + suffix
	}
	return strings.Join(quoted, ", ")
}

// shared leaves the columns that both sides have: a column that one lacks is a difference of the schemas already.
func (t table) shared(other table) table {
	s := table{name: t.name, whole: t.whole}
	for _, c := range t.columns {
		if slices.Contains(other.columns, c) {
			s.columns = append(s.columns, c)
		}
	}
	for _, c := range t.formed {
		if slices.Contains(other.formed, c) {
			s.formed = append(s.formed, c)
		}
	}
	if slices.Equal(t.key, other.key) {
		s.key = t.key
		s.times = maps.Clone(t.times)
		maps.DeleteFunc(s.times, func(c, typ string) bool { return other.times[c] != typ })
	}
	return s
}

// tablesQuery lists tables, not their partitions: rows are compared through the root.
const tablesQuery = `
SELECT c.relname, c.relkind = 'p', coalesce((SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_catalog.pg_attribute a
	WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname`

// keysQuery lists unique keys, primary ones first, that identify every row: whole, of columns that are not null.
const keysQuery = `
SELECT c.relname, (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
	JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
WHERE n.nspname = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) k(attnum) JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
	WHERE NOT a.attnotnull)
ORDER BY c.relname, i.indisprimary DESC, x.relname`

// objectsQuery lists what a schema is made of, each with a definition to compare. Positions of columns are no part of it.
// Triggers of ours come and go.
const objectsQuery = `
WITH rel AS (SELECT c.* FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1)
SELECT relname, 'relation', relkind::text || relpersistence::text || relreplident::text
	|| CASE WHEN relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(oid) ELSE '' END FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT r.relname, 'column ' || a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
	|| ' ' || a.attidentity::text || a.attgenerated::text || ' ' || coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') || ' ' || coalesce(l.collname, '')
FROM rel r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
WHERE r.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT r.relname, 'constraint ' || c.conname, pg_catalog.pg_get_constraintdef(c.oid) FROM rel r JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid
UNION ALL
SELECT r.relname, 'index ' || x.relname, pg_catalog.pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END
FROM rel r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
UNION ALL
SELECT relname, 'options', pg_catalog.array_to_string(reloptions, ', ') FROM rel WHERE reloptions IS NOT NULL
UNION ALL
SELECT relname, 'row security', CASE WHEN relforcerowsecurity THEN 'for its owner, too' ELSE 'on' END FROM rel WHERE relrowsecurity
UNION ALL
SELECT r.relname, 'policy ' || p.polname, pg_catalog.concat_ws(' ', p.polpermissive, p.polcmd, pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
FROM rel r JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT r.relname, 'rule ' || w.rulename, pg_catalog.pg_get_ruledef(w.oid) FROM rel r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid WHERE r.relkind IN ('r', 'p')
UNION ALL
SELECT r.relname, pg_catalog.concat_ws(' ', 'comment', a.attname), d.description FROM rel r
JOIN pg_catalog.pg_description d ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = d.objsubid AND d.objsubid > 0
UNION ALL
SELECT r.relname, 'trigger ' || t.tgname, pg_catalog.pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
FROM rel r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
WHERE NOT t.tgisinternal AND n.nspname <> 'tideover'
UNION ALL
SELECT p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', 'function', pg_catalog.md5(pg_catalog.pg_get_functiondef(p.oid))
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.prokind IN ('f', 'p') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
	WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT t.typname, 'type', t.typtype::text || coalesce(pg_catalog.format_type(nullif(t.typbasetype, 0), t.typtypmod), '') || t.typnotnull::text
	|| coalesce((SELECT pg_catalog.string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid), '')
	|| coalesce((SELECT pg_catalog.string_agg(pg_catalog.pg_get_constraintdef(c.oid), ',' ORDER BY c.conname) FROM pg_catalog.pg_constraint c WHERE c.contypid = t.oid), '')
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = $1 AND t.typtype IN ('e', 'd') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
	WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e')`

// load reads a schema's catalog, without tables that are not compared.
func load(ctx context.Context, conn *pgx.Conn, s scope) (catalog, error) {
	c := catalog{byName: map[string]table{}, objects: map[[2]string]string{}}
	p, schema, left := s.profile, s.schema, s.left()
	var name string
	var columns []string
	excluded := func(column string) bool {
		same := func(r plan.ColumnRef) bool { return r.Table == name && r.Column == column }
		return slices.ContainsFunc(p.Green.Constants, same) || slices.ContainsFunc(p.Green.Volatile, same)
	}
	rows, err := conn.Query(ctx, tablesQuery, schema)
	if err != nil {
		return c, fmt.Errorf("list the tables: %w", err)
	}
	var whole bool
	_, err = pgx.ForEachRow(rows, []any{&name, &whole, &columns}, func() error {
		if !slices.Contains(left, name) {
			c.byName[name] = table{name: name, whole: whole, columns: slices.DeleteFunc(slices.Clone(columns), excluded),
				formed: slices.DeleteFunc(slices.Clone(columns), func(column string) bool { return !excluded(column) })}
		}
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("list the tables: %w", err)
	}
	if rows, err = conn.Query(ctx, keysQuery, schema); err != nil {
		return c, fmt.Errorf("list the keys: %w", err)
	}
	_, err = pgx.ForEachRow(rows, []any{&name, &columns}, func() error {
		t, ok := c.byName[name]
		if ok && len(t.key) == 0 && len(columns) > 0 && !slices.ContainsFunc(columns, excluded) {
			t.key = slices.Clone(columns)
			c.byName[name] = t
		}
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("list the keys: %w", err)
	}
	if err := c.timed(ctx, conn, schema); err != nil {
		return c, err
	}
	if rows, err = conn.Query(ctx, objectsQuery, schema); err != nil {
		return c, fmt.Errorf("list the schema's objects: %w", err)
	}
	var object, definition string
	_, err = pgx.ForEachRow(rows, []any{&name, &object, &definition}, func() error {
		// A bookkeeping table's sequence goes with it.
		ours := slices.ContainsFunc(left, func(l string) bool {
			return name == l || strings.HasPrefix(name, l+"_") && strings.HasSuffix(name, "_seq")
		})
		if !ours {
			c.objects[[2]string{name, object}] = definition
		}
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("list the schema's objects: %w", err)
	}
	if err := c.waken(ctx, conn, schema); err != nil {
		return c, err
	}
	for _, n := range slices.Sorted(maps.Keys(c.byName)) {
		c.tables = append(c.tables, c.byName[n])
	}
	return c, nil
}

// waken sees triggers and foreign keys that replay has put to sleep until green serves (tideover.asleep) as they will be
// then.
func (c *catalog) waken(ctx context.Context, conn *pgx.Conn, schema string) error {
	var there bool
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.asleep') IS NOT NULL`).Scan(&there); err != nil || !there {
		return err
	}
	rows, err := conn.Query(ctx, `SELECT kind, table_name::text, name::text, state FROM tideover.asleep WHERE schema_name = $1`, schema)
	if err != nil {
		return fmt.Errorf("list what sleeps: %w", err)
	}
	var kind, table, name, state string
	_, err = pgx.ForEachRow(rows, []any{&kind, &table, &name, &state}, func() error {
		trigger, constraint := [2]string{table, "trigger " + name}, [2]string{table, "constraint " + name}
		if definition, ok := c.objects[trigger]; ok && kind == "trigger" {
			c.objects[trigger] = strings.TrimSuffix(definition, " D") + " " + state
		}
		if definition, ok := c.objects[constraint]; ok && kind == "foreign key" {
			c.objects[constraint] = strings.Replace(definition, " DEFERRABLE", "", 1)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list what sleeps: %w", err)
	}
	return nil
}

// compareObjects compares two schemas. A relation that is missing or extra is one difference, with all of its parts.
func (c *Comparison) compareObjects(want, have catalog) {
	listed := 0
	keys := slices.SortedFunc(maps.Keys(want.objects), compareObject)
	for k := range have.objects {
		if _, ok := want.objects[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, compareObject)
	for _, k := range keys {
		w, wanted := want.objects[k]
		h, there := have.objects[k]
		if w == h && wanted == there {
			continue
		}
		whole := [2]string{k[0], "relation"}
		_, tableWanted := want.objects[whole]
		_, tableThere := have.objects[whole]
		if k != whole && tableWanted != tableThere {
			continue
		}
		how := "differs"
		if !there {
			how = "missing"
		} else if !wanted {
			how = "extra"
		}
		c.add(&listed, Difference{Table: k[0], Key: k[1], Kind: Schema, Columns: []string{how}})
	}
}

func compareObject(a, b [2]string) int { return slices.Compare(a[:], b[:]) }
