package migrate

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// Lineage reads what the migrations that the database at dsn has yet to take make of one row by way of others. It changes nothing.
func (g *Goose) Lineage(ctx context.Context, dsn string) (sqlrewrite.Lineage, error) {
	files, err := g.wanted()
	if err != nil {
		return sqlrewrite.Lineage{}, err
	}
	conn, err := g.connect(ctx, dsn)
	if err != nil {
		return sqlrewrite.Lineage{}, err
	}
	defer postgres.HangUp(ctx, conn)
	done, err := g.recorded(ctx, conn)
	if err != nil {
		return sqlrewrite.Lineage{}, err
	}
	if files, err = g.pending(files, done); err != nil {
		return sqlrewrite.Lineage{}, err
	}
	source := g.scripts
	if source == nil {
		if source, err = sqlrewrite.ReadFolder(sqlOnly{g.fsys}, sqlrewrite.GooseFormat); err != nil {
			return sqlrewrite.Lineage{}, fmt.Errorf("read the migrations: %w", err)
		}
	}
	scripts := map[int64]*sqlrewrite.Script{}
	for _, s := range source.Scripts {
		if v, err := sqlrewrite.Version(s.Target()); err == nil {
			scripts[v] = s
		}
	}
	var list []*sqlrewrite.Script
	var unread []sqlrewrite.Unread
	for _, f := range files {
		if s := scripts[f.version]; s != nil {
			list = append(list, s)
			continue
		}
		unread = append(unread, sqlrewrite.Unread{Place: sqlrewrite.Place{File: f.name, Line: 1}, Why: "the file is no SQL that can be read", Way: "write it as SQL"})
	}
	columns, err := columnsOf(ctx, conn, g.schema)
	if err != nil {
		return sqlrewrite.Lineage{}, err
	}
	l := sqlrewrite.LineageOf(list, g.schema, columns)
	l.Unread = append(l.Unread, unread...)
	return l, nil
}

// columnsOf are the columns of each table; those of another schema have its name before theirs.
func columnsOf(ctx context.Context, conn *pgx.Conn, schema string) (map[string][]string, error) {
	const sql = `
SELECT CASE WHEN n.nspname = $1 THEN c.relname::text ELSE n.nspname || '.' || c.relname END, pg_catalog.array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1`
	rows, err := conn.Query(ctx, sql, schema)
	if err != nil {
		return nil, fmt.Errorf("list the columns: %w", err)
	}
	found := map[string][]string{}
	var table string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&table, &columns}, func() error {
		found[table] = columns
		columns = nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the columns: %w", err)
	}
	return found, nil
}
