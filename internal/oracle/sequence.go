package oracle

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// sequencesQuery lists ascending sequences with the column that each numbers, if any.
const sequencesQuery = `
SELECT c.relname, coalesce(t.relname, ''), coalesce(a.attname, '')
FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
	AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.atttypid IN (
	'pg_catalog.int2'::pg_catalog.regtype, 'pg_catalog.int4'::pg_catalog.regtype, 'pg_catalog.int8'::pg_catalog.regtype)
WHERE n.nspname = $1 AND s.seqincrement > 0 AND NOT s.seqcycle ORDER BY c.relname`

type numbering struct{ sequence, table, column string }

// sequences finds those that would give a number twice: one behind its own column's highest value, or behind where the
// expected side's stands. One that is ahead is right: numbers are drawn and not used.
func (c *Comparison) sequences(ctx context.Context, expected, actual *pgx.Conn, s scope) error {
	schema, left := s.schema, s.left()
	rows, err := actual.Query(ctx, sequencesQuery, schema)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (n numbering, err error) {
		return n, row.Scan(&n.sequence, &n.table, &n.column)
	})
	if err != nil {
		return err
	}
	listed := 0
	for _, n := range list {
		if slices.Contains(left, n.table) {
			continue
		}
		stands, err := stand(ctx, actual, schema, n.sequence)
		if err != nil {
			return err
		}
		var need int64
		if n.column != "" {
			sql := fmt.Sprintf("SELECT coalesce(max(%s), 0)::bigint FROM %s", pgx.Identifier{n.column}.Sanitize(), pgx.Identifier{schema, n.table}.Sanitize())
			if err := actual.QueryRow(ctx, sql).Scan(&need); err != nil {
				return err
			}
		} else if need, err = stand(ctx, expected, schema, n.sequence); err != nil {
			return err
		}
		if stands < need {
			c.add(&listed, Difference{Table: n.sequence, Key: "next number", Kind: Schema, Columns: []string{Behind}})
		}
	}
	return nil
}

// stand is the last number that a sequence has given; 0 where it has given none, or is not there.
func stand(ctx context.Context, conn *pgx.Conn, schema, sequence string) (int64, error) {
	var last int64
	var there bool
	const exists = `SELECT EXISTS (SELECT FROM pg_catalog.pg_sequences WHERE schemaname = $1 AND sequencename = $2)`
	if err := conn.QueryRow(ctx, exists, schema, sequence).Scan(&there); err != nil || !there {
		return 0, err
	}
	sql := "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM " + pgx.Identifier{schema, sequence}.Sanitize()
	return last, conn.QueryRow(ctx, sql).Scan(&last)
}
