package snapshot

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// relation is a unit of copying: a table, a partition, or a whole partitioned table whose rows blue and green may
// spread differently over its partitions.
type relation struct {
	schema, name string
	columns      []string // those that hold data of their own: not the generated ones
	bytes        int64    // on blue's disk
	root         bool     // a partitioned table, copied through its root
	binary       bool     // COPY's binary format means the same on both sides
}

func (r relation) identifier() pgx.Identifier { return pgx.Identifier{r.schema, r.name} }

// String is the name that checkpoints and notes use.
func (r relation) String() string { return r.schema + "." + r.name }

// relationsQuery lists what has rows to copy, largest first. Members of extensions come with their extension.
// Below a hash-partitioned table the rows go through the root: a hash can depend on oids (those of enum values), which
// differ between two databases.
const relationsQuery = `
WITH RECURSIVE tree AS (
	SELECT c.oid, c.oid AS root, p.partstrat = 'h' AS hash
	FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
	WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
	UNION ALL
	SELECT c.oid, t.root, p.partstrat = 'h'
	FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
	JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
	LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
), roots AS (
	SELECT root, coalesce(bool_or(hash), false) AS hashed, sum(pg_catalog.pg_table_size(oid)) AS bytes FROM tree GROUP BY root
)
SELECT n.nspname, c.relname, c.relkind = 'p' AS root,
	CASE WHEN c.relkind = 'p' THEN r.bytes::bigint ELSE pg_catalog.pg_table_size(c.oid) END AS bytes,
	coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
		WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '{}') AS columns,
	coalesce((SELECT array_agg(a.atttypid ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
		WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '{}') AS types
FROM tree t JOIN roots r ON r.root = t.root
JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname <> $1 AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
AND CASE WHEN r.hashed THEN c.oid = r.root ELSE c.relkind = 'r' END
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
	AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY bytes DESC, n.nspname, c.relname`

// relations lists the units of copying of the database that conn is connected to, largest first.
func relations(ctx context.Context, conn *pgx.Conn) ([]relation, error) {
	types, err := loadTypes(ctx, conn)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, relationsQuery, own)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (relation, error) {
		var (
			r    relation
			oids []uint32
		)
		err := row.Scan(&r.schema, &r.name, &r.root, &r.bytes, &r.columns, &oids)
		r.binary = true
		for _, oid := range oids {
			r.binary = r.binary && types.portable(oid)
		}
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	return list, nil
}

// pgType is what portable needs of pg_type.
type pgType struct {
	kind       string // typtype
	base, elem uint32
	io         bool // has functions for the binary format
	namesOID   bool // reg* types: their binary form is an oid
}

type typeSet map[uint32]pgType

const typesQuery = `
SELECT oid, typtype::text, typbasetype, CASE WHEN typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc THEN typelem ELSE 0 END,
	typsend <> 0 AND typreceive <> 0, typtype = 'b' AND typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND typname LIKE 'reg%'
FROM pg_catalog.pg_type`

// typesQuery13 is for servers before 14, which have no typsubscript: there an array has a typlen of -1 and an element.
const typesQuery13 = `
SELECT oid, typtype::text, typbasetype, CASE WHEN typlen = -1 THEN typelem ELSE 0 END,
	typsend <> 0 AND typreceive <> 0, typtype = 'b' AND typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND typname LIKE 'reg%'
FROM pg_catalog.pg_type`

func loadTypes(ctx context.Context, conn *pgx.Conn) (typeSet, error) {
	query := typesQuery
	if v := conn.PgConn().ParameterStatus("server_version"); len(v) > 2 && v[:2] < "14" {
		query = typesQuery13
	}
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list the types: %w", err)
	}
	types := typeSet{}
	var (
		oid uint32
		t   pgType
	)
	_, err = pgx.ForEachRow(rows, []any{&oid, &t.kind, &t.base, &t.elem, &t.io, &t.namesOID}, func() error { types[oid] = t; return nil })
	if err != nil {
		return nil, fmt.Errorf("list the types: %w", err)
	}
	return types, nil
}

// firstNormal is the first oid of an object that is not built in (FirstNormalObjectId); built-in ones are equal in
// every database.
const firstNormal = 16384

// portable says whether a type's binary form means the same in another database. The binary forms of arrays and
// composites carry the oids of their elements' types, which differ for all that is not built in, and the reg* types are
// oids of objects: such tables go as text.
func (s typeSet) portable(oid uint32) bool {
	t, ok := s[oid]
	switch {
	case !ok || !t.io || t.namesOID:
		return false
	case t.kind == "d":
		return s.portable(t.base)
	case t.kind == "e":
		return true // its label
	case t.elem != 0:
		return t.elem < firstNormal && s.portable(t.elem)
	case t.kind == "b":
		return oid < firstNormal
	}
	return (t.kind == "r" || t.kind == "m") && oid < firstNormal
}

// list joins names as an SQL list of columns.
func list(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = pgx.Identifier{n}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}
