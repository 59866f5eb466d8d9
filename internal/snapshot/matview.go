package snapshot

import (
	"context"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

const matviewsQuery = `
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname <> $1
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
	AND d.objid = c.oid AND d.deptype = 'e') ORDER BY c.oid`

// refresh fills the materialized views that are filled on blue. One that reads another waits for it.
func refresh(ctx context.Context, blue, green *pgx.Conn) error {
	rows, err := blue.Query(ctx, matviewsQuery, own)
	if err != nil {
		return fmt.Errorf("list the materialized views: %w", err)
	}
	todo, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pgx.Identifier, error) {
		var schema, name string
		err := row.Scan(&schema, &name)
		return pgx.Identifier{schema, name}, err
	})
	if err != nil {
		return fmt.Errorf("list the materialized views: %w", err)
	}
	for len(todo) > 0 {
		var later []pgx.Identifier
		var failed error
		for _, view := range todo {
			if _, err := green.Exec(ctx, "REFRESH MATERIALIZED VIEW "+view.Sanitize()); err != nil {
				if postgres.Code(err) != pgerrcode.ObjectNotInPrerequisiteState { // it has not been filled yet
					return fmt.Errorf("refresh %s: %w", view.Sanitize(), err)
				}
				later, failed = append(later, view), err
			}
		}
		if len(later) == len(todo) {
			return fmt.Errorf("refresh %s: %w", later[0].Sanitize(), failed)
		}
		todo = later
	}
	return analyzeRest(ctx, green)
}

const unanalyzed = `
SELECT pg_catalog.string_agg(pg_catalog.format('ANALYZE %I.%I', n.nspname, c.relname), '; ')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname <> $1 AND n.nspname NOT LIKE 'pg\_%' AND (c.relkind = 'm' AND c.relispopulated OR c.relkind = 'p' AND NOT c.relispartition)`

// analyzeRest analyzes what the builder has not: partitioned tables as a whole, and materialized views.
func analyzeRest(ctx context.Context, green *pgx.Conn) error {
	var sql *string
	err := green.QueryRow(ctx, unanalyzed, own).Scan(&sql)
	if err == nil && sql != nil {
		err = script(ctx, green, *sql)
	}
	if err != nil {
		return fmt.Errorf("analyze green: %w", err)
	}
	return nil
}
