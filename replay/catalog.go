package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// queryer is a connection, pool or transaction.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// relation is one table as the catalog describes it.
type relation struct {
	schema  string
	name    string
	columns []column
	primary []string // columns of the primary key; empty without one
	unique  []unique // every unique index, the primary key's too
	parents []edge   // its foreign keys to tables of the same schema
}

type column struct {
	name      string
	typ       string // as format_type gives it without length: usable in a cast
	plain     bool   // has no equality of its own (json, xml, point): compared as text
	generated bool   // GENERATED ALWAYS AS (...): can't be written
	identity  bool   // GENERATED ALWAYS AS IDENTITY: can be inserted, not updated
	notNull   bool
}

// unique is a unique index. Its keys are SQL expressions over the table's column names.
type unique struct {
	keys    []string
	columns []string // the plain columns; fewer than keys where an expression is indexed
	where   string   // predicate of a partial index
	nulls   bool     // NULLS NOT DISTINCT
	exact   bool     // usable for ON CONFLICT: plain columns, no predicate, not deferrable
}

// edge leads from the rows of a table to rows of another whose columns have equal values.
type edge struct {
	from, to               string
	fromColumns, toColumns []string
}

func (r *relation) ident() string { return pgx.Identifier{r.schema, r.name}.Sanitize() }

func (r *relation) column(name string) (column, bool) {
	i := slices.IndexFunc(r.columns, func(c column) bool { return c.name == name })
	if i < 0 {
		return column{}, false
	}
	return r.columns[i], true
}

// writable are the names of the columns that an INSERT can set.
func (r *relation) writable() []string {
	var names []string
	for _, c := range r.columns {
		if !c.generated {
			names = append(names, c.name)
		}
	}
	return names
}

const columnsSQL = `
SELECT c.relname, a.attname, pg_catalog.format_type(a.atttypid, -1),
	NOT EXISTS (SELECT 1 FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
		WHERE m.amname = 'btree' AND o.opcdefault AND (o.opcintype = t.oid OR o.opcintype = t.typbasetype))
		AND t.typtype NOT IN ('e', 'r', 'm') AND t.typelem = 0 AND t.typname NOT IN ('varchar', 'cidr'),
	a.attgenerated <> '', a.attidentity = 'a', a.attnotnull
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname, a.attnum`

// An index's expressions can't be told apart from plain columns by pg_get_indexdef alone, hence indkey.
const uniquesSQL = `
SELECT c.relname, i.indisprimary,
	ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(1, i.indnkeyatts) k ORDER BY k),
	ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY u(n, k)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.n
		WHERE u.k <= i.indnkeyatts ORDER BY u.k),
	coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''),
	coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
	i.indimmediate
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND i.indisunique AND i.indisvalid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname, i.indisprimary DESC, i.indexrelid`

const foreignSQL = `
SELECT c.relname, p.relname,
	ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY u(n, k)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.n ORDER BY u.k),
	ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY u(n, k)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = u.n ORDER BY u.k)
FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
JOIN pg_catalog.pg_class p ON p.oid = f.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND f.contype = 'f' AND p.relnamespace = c.relnamespace AND f.conparentid = 0
ORDER BY c.relname, f.conname`

// catalog describes the tables of a schema by name.
func catalog(ctx context.Context, q queryer, schema string) (map[string]*relation, error) {
	found := make(map[string]*relation)
	fail := func(err error) (map[string]*relation, error) {
		return nil, fmt.Errorf("read the catalog of schema %q: %w", schema, err)
	}
	rows, err := q.Query(ctx, columnsSQL, schema)
	if err != nil {
		return fail(err)
	}
	var name string
	var c column
	if _, err := pgx.ForEachRow(rows, []any{&name, &c.name, &c.typ, &c.plain, &c.generated, &c.identity, &c.notNull}, func() error {
		if found[name] == nil {
			found[name] = &relation{schema: schema, name: name}
		}
		found[name].columns = append(found[name].columns, c)
		return nil
	}); err != nil {
		return fail(err)
	}
	if rows, err = q.Query(ctx, uniquesSQL, schema); err != nil {
		return fail(err)
	}
	var primary, immediate bool
	var u unique
	if _, err := pgx.ForEachRow(rows, []any{&name, &primary, &u.keys, &u.columns, &u.where, &u.nulls, &immediate}, func() error {
		u.exact = immediate && u.where == "" && len(u.columns) == len(u.keys)
		found[name].unique = append(found[name].unique, u)
		if primary {
			found[name].primary = u.columns
		}
		u = unique{}
		return nil
	}); err != nil {
		return fail(err)
	}
	if rows, err = q.Query(ctx, foreignSQL, schema); err != nil {
		return fail(err)
	}
	var e edge
	if _, err := pgx.ForEachRow(rows, []any{&e.from, &e.to, &e.fromColumns, &e.toColumns}, func() error {
		if from := found[e.from]; from != nil && found[e.to] != nil {
			from.parents = append(from.parents, e)
		}
		e = edge{}
		return nil
	}); err != nil {
		return fail(err)
	}
	return found, nil
}

// parentsFirst orders tables so that what a foreign key refers to comes before what refers to it. Tables that refer to
// each other stay in the order of their names.
func parentsFirst(all map[string]*relation) []*relation {
	var ordered []*relation
	visited := make(map[string]bool)
	var visit func(name string)
	visit = func(name string) {
		if visited[name] || all[name] == nil { // what is left out has no place in the order
			return
		}
		visited[name] = true
		for _, p := range all[name].parents {
			visit(p.to)
		}
		ordered = append(ordered, all[name])
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		visit(name)
	}
	return ordered
}
