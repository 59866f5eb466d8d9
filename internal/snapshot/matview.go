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
	as, err := settingsOf(ctx, blue)
	if err != nil {
		return err
	}
	for len(todo) > 0 {
		var later []pgx.Identifier
		var failed error
		for _, view := range todo {
			if err := refreshOne(ctx, green, view, as); err != nil {
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

// settingsQuery reads what a session of blue's own has, where that changes what a query of a view gives: a time as text, a search in
// a text.
const settingsQuery = `
SELECT coalesce(pg_catalog.jsonb_object_agg(name, reset_val), '{}')::text FROM pg_catalog.pg_settings
WHERE name IN ('DateStyle', 'IntervalStyle', 'TimeZone', 'extra_float_digits', 'bytea_output', 'default_text_search_config', 'xmlbinary',
	'xmloption', 'array_nulls', 'transform_null_equals')`

func settingsOf(ctx context.Context, blue *pgx.Conn) (settings string, err error) {
	if err := blue.QueryRow(ctx, settingsQuery).Scan(&settings); err != nil {
		return "", fmt.Errorf("look at blue's settings: %w", err)
	}
	return settings, nil
}

// refreshOne fills a view as a session of blue's would.
func refreshOne(ctx context.Context, green *pgx.Conn, view pgx.Identifier, settings string) error {
	const set = `SELECT pg_catalog.set_config(key, value, true) FROM pg_catalog.jsonb_each_text($1::text::jsonb)`
	return pgx.BeginFunc(ctx, green, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, set, settings); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "REFRESH MATERIALIZED VIEW "+view.Sanitize())
		return err
	})
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
