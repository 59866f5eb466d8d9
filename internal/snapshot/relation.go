package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// relation is a table, a partition, or a whole partitioned table whose rows blue and green may spread differently over
// its partitions.
type relation struct {
	oid          uint32
	schema, name string
	columns      []string // those that hold data of their own: not the generated ones
	bytes        int64    // on blue's disk
	pages        int64    // of its heap alone
	rows         int64    // as blue's planner believes
	file         uint32   // blue's file of it: another one after all that moves its rows at once
	root         bool     // a partitioned table, copied through its root
	binary       bool     // COPY's binary format means the same on both sides
	leaves       []uint32 // with root: its partitions' oids
	primary      []string // columns of the primary key
	capture      uint32   // oid of the newest trigger that records its changes; 0: nobody does
	captured     string   // what the records call it: a partition has the name of its root
}

func (r relation) identifier() pgx.Identifier { return pgx.Identifier{r.schema, r.name} }

// String is the name that checkpoints and notes use.
func (r relation) String() string { return r.schema + "." + r.name }

// relationsQuery lists what has rows to copy, largest first. Members of extensions come with their extension.
// Below a hash-partitioned table the rows go through the root: a hash can depend on oids (those of enum values), which
// differ between two databases. A table is captured where triggers of ours see INSERT, UPDATE and DELETE (the bits 4, 16 and 8
// of tgtype); the newest of them names the capture, since one that is installed anew has newer ones.
const relationsQuery = `
WITH RECURSIVE tree AS (
	SELECT c.oid, c.oid AS root, c.relname AS rootname, p.partstrat = 'h' AS hash
	FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
	WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
	UNION ALL
	SELECT c.oid, t.root, t.rootname, p.partstrat = 'h'
	FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
	JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
	LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
), roots AS (
	SELECT root, coalesce(bool_or(hash), false) AS hashed, sum(pg_catalog.pg_table_size(oid)) AS bytes, array_agg(oid) AS leaves FROM tree GROUP BY root
)
SELECT c.oid, n.nspname, c.relname, c.relkind = 'p' AS root,
	coalesce(CASE WHEN c.relkind = 'p' THEN r.bytes::bigint ELSE pg_catalog.pg_table_size(c.oid) END, 0) AS bytes,
	coalesce(pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint, 0) AS pages,
	greatest(c.reltuples, 0)::bigint AS rows, c.relfilenode AS file,
	CASE WHEN c.relkind = 'p' THEN r.leaves ELSE '{}' END AS leaves,
	coalesce((SELECT array_agg(a.attname::text ORDER BY k.n) FROM pg_catalog.pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
		WHERE i.indrelid = c.oid AND i.indisprimary AND k.n <= i.indnkeyatts), '{}') AS primary,
	coalesce((SELECT CASE WHEN bit_or(g.tgtype) & 28 = 28 THEN max(g.oid) END FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid
		WHERE g.tgrelid = c.oid AND f.pronamespace = pg_catalog.to_regnamespace($1) AND f.proname LIKE 'capture\_%' AND g.tgenabled IN ('A', 'O')), 0) AS capture,
	t.rootname,
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

// relations lists what has rows in the database that conn is connected to, largest first.
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
		err := row.Scan(&r.oid, &r.schema, &r.name, &r.root, &r.bytes, &r.pages, &r.rows, &r.file, &r.leaves, &r.primary,
			&r.capture, &r.captured, &r.columns, &oids)
		r.binary = !slices.ContainsFunc(oids, func(oid uint32) bool { return !types.portable(oid) })
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	return list, nil
}

func (r relation) format() string {
	if r.binary {
		return "binary"
	}
	return "text"
}

// only leaves out of a statement the tables that inherit from r: they have rows of their own. Of a partitioned table that is
// copied through its root, all rows are its partitions'.
func (r relation) only() string {
	if r.root {
		return ""
	}
	return "ONLY "
}

// emptying is the statement that takes all of r's own rows away.
func (r relation) emptying() string { return "TRUNCATE " + r.only() + r.identifier().Sanitize() }

// selection is the SQL of the rows of r that meet a condition ("": all), of which t is the row.
func (r relation) selection(condition string) string {
	where := ""
	if condition != "" {
		where = " WHERE " + condition
	}
	return fmt.Sprintf("SELECT %s FROM %s%s t%s", list("t", r.columns), r.only(), r.identifier().Sanitize(), where)
}

// transfer is the COPY of the rows that meet a condition; "": of all. With freeze green's table was created or emptied in
// the transaction under way, so that its rows need no later visit by vacuum (manual, COPY, FREEZE).
func (r relation) transfer(condition string, freeze bool) transfer {
	columns := "(" + list("", r.columns) + ")"
	if len(r.columns) == 0 {
		columns = "" // a table without columns has rows all the same
	}
	from := r.identifier().Sanitize() + " " + columns
	if r.root || condition != "" { // COPY reads no partitioned table by its name
		from = "(" + r.selection(condition) + ")"
	}
	return transfer{
		name: "table " + r.String(),
		out:  fmt.Sprintf("COPY %s TO STDOUT (FORMAT %s)", from, r.format()),
		in:   fmt.Sprintf("COPY %s %s FROM STDIN (FORMAT %s, FREEZE %t)", r.identifier().Sanitize(), columns, r.format(), freeze && !r.root),
	}
}

// list joins names as an SQL list of columns of a row; row "": none is named.
func list(row string, names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = pgx.Identifier{n}.Sanitize()
		if row != "" {
			quoted[i] = row + "." + quoted[i]
		}
	}
	return strings.Join(quoted, ", ")
}
