package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/plan"
)

// queryer is a connection, pool or transaction.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// relation is one table as the catalog describes it.
type relation struct {
	schema      string
	table       string // its name in the schema
	name        string // as the profile calls it: with its schema, where that is not the profile's own
	partitioned bool
	ruled       bool     // has rules of its own, sleeping ones too
	doubtful    bool     // has a check that old rows need not pass (NOT VALID)
	partitions  []string // of a partitioned table, as identifiers: those of partitions too
	columns     []column
	primary     []string // columns of the primary key; empty without one
	unique      []unique // every index that refuses rows for the sake of others, the primary key's first
	parents     []edge   // its foreign keys to tables of the profile's schemas
}

type column struct {
	name      string
	typ       string // as format_type gives it without length: usable in a cast
	declared  string // as format_type gives it with its length; a domain's is what it is based on
	folds     bool   // its collation takes different texts for equal, or its type does
	collation string // that which takes different texts for equal; "": none does
	via       string // the type of blue's key that becomes the column, where it is another: what is cast to the column is read so first
	enum      bool
	equals    string // the operator by which keys of its type are equal, such as OPERATOR(pg_catalog.=)
	stable    bool   // its values read the same whatever a session's settings are
	generated bool   // GENERATED ALWAYS AS (...): can't be written
	identity  bool   // GENERATED ALWAYS AS IDENTITY: can be inserted, not updated
	notNull   bool
	varies    bool   // its default is another value each time: a number, something random, the time
	next      string // SQL that takes the next number of the sequence that feeds it; empty without one
}

// unique is an index that refuses a row where another one is like it: a unique one, or that of an exclusion constraint.
type unique struct {
	keys      []string // SQL expressions over the table's column names, each with the index's collation
	operators []string // for each key, by which two values clash
	columns   []string // the plain columns; fewer than keys where an expression is indexed
	where     string   // predicate of a partial index
	nulls     bool     // NULLS NOT DISTINCT
	exact     bool     // a key of the table: unique, plain columns, no predicate
	immediate bool     // looked at with each row: not deferrable
}

// edge leads from the rows of a table to rows of another whose columns have equal values.
type edge struct {
	from, to               string
	fromColumns, toColumns []string
	foreignKey             string // its name; empty where the profile alone knows the edge
	immediate              bool   // a foreign key that can't be deferred
	firm                   bool   // a foreign key that refuses another value of a parent that has children
	acts                   bool   // a foreign key that changes children when a parent is deleted
	updates                bool   // a foreign key that changes children when a parent gets another value
	enforced               bool   // a foreign key that Postgres looks at
	child                  *relation
}

func (r *relation) ident() string { return pgx.Identifier{r.schema, r.table}.Sanitize() }

// rows is what the table's own rows are read from and written to: without ONLY, those of tables that inherit from it
// would be taken for its own.
func (r *relation) rows() string {
	if r.partitioned {
		return r.ident()
	}
	return "ONLY " + r.ident()
}

// equal is the condition that a row has the key of another, column by column, by the operators of the key's types: one
// that is found by its name alone may be somebody else's, or none.
func (r *relation) equal(a string, columns []string, b string, others []string) string {
	parts := make([]string, len(columns))
	for i, name := range columns {
		c, _ := r.column(name)
		parts[i] = a + "." + pgx.Identifier{name}.Sanitize() + " " + c.equals + " " + b + "." + pgx.Identifier{others[i]}.Sanitize()
	}
	return strings.Join(parts, " AND ")
}

func (r *relation) column(name string) (column, bool) {
	i := slices.IndexFunc(r.columns, func(c column) bool { return c.name == name })
	if i < 0 {
		return column{}, false
	}
	return r.columns[i], true
}

// names are those of all columns.
func (r *relation) names() names {
	var all names
	for _, c := range r.columns {
		all = append(all, c.name)
	}
	return all
}

// writable are the names of the columns that an INSERT can set.
func (r *relation) writable() []string {
	var all []string
	for _, c := range r.columns {
		if !c.generated {
			all = append(all, c.name)
		}
	}
	return all
}

// The operator of a key is the equality of its type's default B-tree class, or hash class where there is no such. The
// classes of arrays, enums, ranges and rows are those of pseudo-types, and that of varchar is text's: all of the
// system's. Where it is found by what the type is based on, a domain's is its base type's.
//
// A value reads the same in every session where its type is one of those named here, an enum, or a domain or array of
// such.
const columnsSQL = `
WITH RECURSIVE base AS (
	SELECT t.oid, t.oid AS base FROM pg_catalog.pg_type t WHERE t.typtype <> 'd'
	UNION ALL
	SELECT d.oid, b.base FROM pg_catalog.pg_type d JOIN base b ON b.oid = d.typbasetype WHERE d.typtype = 'd'
), equality AS (
	SELECT DISTINCT ON (o.opcintype) o.opcintype AS type, pg_catalog.format('OPERATOR(%I.%s)', n.nspname, p.oprname) AS operator
	FROM pg_catalog.pg_opclass o
	JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
	JOIN pg_catalog.pg_amop a ON a.amopfamily = o.opcfamily AND a.amoplefttype = o.opcintype AND a.amoprighttype = o.opcintype
		AND a.amopstrategy = CASE m.amname WHEN 'btree' THEN 3 ELSE 1 END
	JOIN pg_catalog.pg_operator p ON p.oid = a.amopopr
	JOIN pg_catalog.pg_namespace n ON n.oid = p.oprnamespace
	WHERE m.amname IN ('btree', 'hash') AND o.opcdefault
	ORDER BY o.opcintype, m.amname
)
SELECT ` + calledSQL + `, n.nspname, c.relname, c.relkind = 'p', c.relhasrules, a.attname, pg_catalog.format_type(a.atttypid, -1),
	CASE WHEN b.base = a.atttypid THEN pg_catalog.format_type(a.atttypid, a.atttypmod) ELSE pg_catalog.format_type(b.base, -1) END,
	t.typname = 'citext' OR EXISTS (SELECT FROM pg_catalog.pg_collation co WHERE co.oid = a.attcollation AND NOT co.collisdeterministic),
	coalesce((SELECT pg_catalog.format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
		WHERE co.oid = a.attcollation AND NOT co.collisdeterministic), ''), t.typtype = 'e',
	coalesce(e.operator, 'OPERATOR(pg_catalog.=)'),
	s.typtype = 'e' OR s.typname = 'citext' OR s.typnamespace = 'pg_catalog'::regnamespace AND s.typname = ANY (
		'{text,varchar,bpchar,name,char,int2,int4,int8,oid,bool,uuid,numeric,inet,cidr,macaddr,macaddr8,bit,varbit,json,jsonb,time,timetz,tid,xid,xid8,pg_lsn}'),
	a.attgenerated <> '', a.attidentity = 'a', a.attnotnull,
	CASE
		WHEN a.attidentity <> '' THEN pg_catalog.format('pg_catalog.nextval(%L::pg_catalog.regclass)',
			pg_catalog.pg_get_serial_sequence(pg_catalog.format('%I.%I', n.nspname, c.relname), a.attname))
		WHEN a.attgenerated = '' AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ '^(pg_catalog\.)?nextval\(' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid)
		ELSE ''
	END,
	a.attgenerated = '' AND EXISTS (SELECT FROM pg_catalog.regexp_matches(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '([a-z_0-9]+)\(', 'g') call (name)
		JOIN pg_catalog.pg_proc p ON p.proname = call.name[1] AND p.provolatile <> 'i')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN base b ON b.oid = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = b.base
JOIN pg_catalog.pg_type s ON s.oid = CASE t.typcategory WHEN 'A' THEN t.typelem ELSE t.oid END
LEFT JOIN equality e ON e.type = b.base
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY n.nspname, c.relname, a.attnum`

// partitionsSQL lists what is below partitioned tables, wherever it is.
const partitionsSQL = `
SELECT ` + calledSQL + `, pn.nspname, p.relname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN pg_catalog.pg_partition_tree(c.oid) tree
JOIN pg_catalog.pg_class p ON p.oid = tree.relid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE n.nspname = ANY ($1) AND c.relkind = 'p' AND NOT c.relispartition AND p.oid <> c.oid
ORDER BY 1, 2, 3`

// An index's expressions can't be told apart from plain columns by pg_get_indexdef alone, hence indkey. It says nothing
// of collations either.
const uniquesSQL = `
SELECT ` + calledSQL + `, i.indisprimary,
	ARRAY(SELECT pg_catalog.format('(%s)', pg_catalog.pg_get_indexdef(i.indexrelid, k, true)) || CASE
			WHEN i.indcollation[k - 1] NOT IN (0, 'pg_catalog."default"'::regcollation) THEN
				(SELECT pg_catalog.format(' COLLATE %I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co
				JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = i.indcollation[k - 1])
			ELSE '' END
		FROM generate_series(1, i.indnkeyatts) k ORDER BY k),
	ARRAY(SELECT pg_catalog.format('OPERATOR(%I.%s)', onsp.nspname, o.oprname)
		FROM generate_series(1, i.indnkeyatts) k
		JOIN pg_catalog.pg_opclass oc ON oc.oid = i.indclass[k - 1]
		JOIN pg_catalog.pg_operator o ON o.oid = CASE WHEN x.conexclop IS NOT NULL THEN x.conexclop[k] ELSE (SELECT a.amopopr FROM pg_catalog.pg_amop a
			WHERE a.amopfamily = oc.opcfamily AND a.amoplefttype = oc.opcintype AND a.amoprighttype = oc.opcintype AND a.amopstrategy = 3) END
		JOIN pg_catalog.pg_namespace onsp ON onsp.oid = o.oprnamespace ORDER BY k),
	ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY u(n, k)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.n
		WHERE u.k <= i.indnkeyatts ORDER BY u.k),
	coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''),
	coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
	i.indisunique AND x.conexclop IS NULL, i.indimmediate
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_constraint x ON x.conindid = i.indexrelid AND x.conexclop IS NOT NULL
WHERE n.nspname = ANY ($1) AND (i.indisunique OR x.oid IS NOT NULL) AND i.indisvalid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY n.nspname, c.relname, i.indisprimary DESC, i.indexrelid`

const doubtfulSQL = `
SELECT DISTINCT ` + calledSQL + ` FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1) AND k.contype = 'c' AND NOT k.convalidated`

const foreignSQL = `
SELECT ` + calledSQL + `, CASE WHEN pn.nspname = ($1::pg_catalog.text[])[1] THEN p.relname::pg_catalog.text ELSE pn.nspname || '.' || p.relname END,
	ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY u(n, k)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.n ORDER BY u.k),
	ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY u(n, k)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = u.n ORDER BY u.k),
	f.conname, NOT f.condeferrable, f.confupdtype IN ('a', 'r') AND enforced, f.confdeltype IN ('c', 'n', 'd') AND enforced,
	f.confupdtype IN ('c', 'n', 'd') AND enforced, enforced
FROM pg_catalog.pg_constraint f
CROSS JOIN LATERAL coalesce((pg_catalog.to_jsonb(f) ->> 'conenforced')::boolean, true) enforced -- of Postgres 18
JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
JOIN pg_catalog.pg_class p ON p.oid = f.confrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1) AND f.contype = 'f' AND pn.nspname = ANY ($1) AND f.conparentid = 0
ORDER BY n.nspname, c.relname, f.conname`

// calledSQL is what the profile calls a table c of a namespace n; $1 are its schemas, its own first.
const calledSQL = `CASE WHEN n.nspname = ($1::pg_catalog.text[])[1] THEN c.relname::pg_catalog.text ELSE n.nspname || '.' || c.relname END`

// catalog describes the tables of some schemas by what the profile calls them.
func catalog(ctx context.Context, q queryer, schemas []string) (map[string]*relation, error) {
	found := make(map[string]*relation)
	fail := func(err error) (map[string]*relation, error) {
		return nil, fmt.Errorf("read the catalog of schemas %v: %w", schemas, err)
	}
	rows, err := q.Query(ctx, columnsSQL, schemas)
	if err != nil {
		return fail(err)
	}
	var name, schema, table string
	var partitioned, ruled bool
	var c column
	if _, err := pgx.ForEachRow(rows, []any{&name, &schema, &table, &partitioned, &ruled, &c.name, &c.typ, &c.declared, &c.folds, &c.collation, &c.enum, &c.equals, &c.stable, &c.generated, &c.identity, &c.notNull, &c.next, &c.varies}, func() error {
		if found[name] == nil {
			if of, as := plan.Schemas(schemas).Place(name); of != schema {
				return fmt.Errorf("table %q of schema %q has the name by which a profile calls table %q of schema %q: leave that out of other_schemas", table, schema, as, of)
			}
			found[name] = &relation{schema: schema, table: table, name: name, partitioned: partitioned, ruled: ruled}
		}
		found[name].columns = append(found[name].columns, c)
		return nil
	}); err != nil {
		return fail(err)
	}
	if rows, err = q.Query(ctx, partitionsSQL, schemas); err != nil {
		return fail(err)
	}
	part := make(pgx.Identifier, 2)
	if _, err := pgx.ForEachRow(rows, []any{&name, &part[0], &part[1]}, func() error {
		if found[name] != nil { // else it was made since
			found[name].partitions = append(found[name].partitions, part.Sanitize())
		}
		return nil
	}); err != nil {
		return fail(err)
	}
	if rows, err = q.Query(ctx, doubtfulSQL, schemas); err != nil {
		return fail(err)
	}
	if _, err := pgx.ForEachRow(rows, []any{&name}, func() error {
		if found[name] != nil {
			found[name].doubtful = true
		}
		return nil
	}); err != nil {
		return fail(err)
	}
	if rows, err = q.Query(ctx, uniquesSQL, schemas); err != nil {
		return fail(err)
	}
	var primary, key bool
	var u unique
	if _, err := pgx.ForEachRow(rows, []any{&name, &primary, &u.keys, &u.operators, &u.columns, &u.where, &u.nulls, &key, &u.immediate}, func() error {
		u.exact = key && u.where == "" && len(u.columns) == len(u.keys)
		if found[name] != nil {
			found[name].unique = append(found[name].unique, u)
			if primary {
				found[name].primary = u.columns
			}
		}
		u = unique{}
		return nil
	}); err != nil {
		return fail(err)
	}
	if rows, err = q.Query(ctx, foreignSQL, schemas); err != nil {
		return fail(err)
	}
	var e edge
	if _, err := pgx.ForEachRow(rows, []any{&e.from, &e.to, &e.fromColumns, &e.toColumns, &e.foreignKey, &e.immediate, &e.firm, &e.acts, &e.updates, &e.enforced}, func() error {
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
