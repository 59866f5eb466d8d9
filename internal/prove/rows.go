package prove

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Table is how the rows of one table compare.
type Table struct {
	Name       string
	Rows       int64
	LeftOut    []string // columns that the original fills differently each time
	Difference string   // "" where they are the same
}

// table is a table of a database, with its columns.
type table struct {
	Schema, Name string
	Columns      []string
}

func (t table) String() string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }

func tables(ctx context.Context, conn *pgx.Conn) ([]table, error) {
	const sql = `SELECT n.nspname AS schema, c.relname AS name,
			coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL), '{}') AS columns
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
			AND NOT c.relname = ANY ($1)
		GROUP BY 1, 2 ORDER BY 1, 2`
	rows, err := conn.Query(ctx, sql, ours)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[table])
}

// digest is a number for what a table holds in some columns, whatever the order of its rows.
func digest(ctx context.Context, conn *pgx.Conn, t table, columns []string) (rows int64, sum string, err error) {
	row := "ROW()"
	if len(columns) > 0 {
		var list []string
		for _, c := range columns {
			list = append(list, pgx.Identifier{c}.Sanitize()+"::text")
		}
		row = "ROW(" + strings.Join(list, ", ") + ")"
	}
	sql := `SELECT count(*), coalesce(sum(('x' || substr(pg_catalog.md5(` + row + `::text), 1, 15))::bit(60)::bigint::numeric), 0)::text FROM ` + t.String()
	err = conn.QueryRow(ctx, sql).Scan(&rows, &sum)
	return rows, sum, err
}

// CompareRows compares what two databases of the same schema hold, but for the columns that are left out.
func CompareRows(ctx context.Context, a, b *pgx.Conn, leftOut map[string][]string) ([]Table, error) {
	list, err := tables(ctx, a)
	if err != nil {
		return nil, err
	}
	var result []Table
	for _, t := range list {
		out := Table{Name: t.Schema + "." + t.Name, LeftOut: leftOut[t.String()]}
		columns := slices.DeleteFunc(slices.Clone(t.Columns), func(c string) bool { return slices.Contains(out.LeftOut, c) })
		rows, sum, err := digest(ctx, a, t, columns)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", t, err)
		}
		out.Rows = rows
		otherRows, otherSum, err := digest(ctx, b, t, columns)
		switch {
		case err != nil:
			out.Difference = fmt.Sprintf("the rewritten side can't be read: %v", err)
		case rows != otherRows:
			out.Difference = fmt.Sprintf("%d rows, and %d after the rewritten migrations", rows, otherRows)
		case sum != otherSum:
			out.Difference = "values differ"
			if names, err := columnsThatDiffer(ctx, a, b, t, columns); err == nil && len(names) > 0 {
				out.Difference += " in " + strings.Join(names, ", ")
			}
		}
		result = append(result, out)
	}
	return result, nil
}

func columnsThatDiffer(ctx context.Context, a, b *pgx.Conn, t table, columns []string) ([]string, error) {
	var names []string
	for _, c := range columns {
		_, x, err := digest(ctx, a, t, []string{c})
		if err != nil {
			return nil, err
		}
		_, y, err := digest(ctx, b, t, []string{c})
		if err != nil {
			return nil, err
		}
		if x != y {
			names = append(names, c)
		}
	}
	return names, nil
}

// Differing finds the columns in which two databases that came about in the same way differ.
func Differing(ctx context.Context, a, b *pgx.Conn) (map[string][]string, error) {
	list, err := tables(ctx, a)
	if err != nil {
		return nil, err
	}
	m := map[string][]string{}
	for _, t := range list {
		if m[t.String()], err = columnsThatDiffer(ctx, a, b, t, t.Columns); err != nil {
			return nil, err
		}
	}
	return m, nil
}
