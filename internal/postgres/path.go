package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// InSchema runs SQL of a profile: f has a transaction in which unqualified names mean what is in a schema of the server's
// ("": public). Its clock is in the server's time zone, for SQL that puts now() into a timestamp without one.
func (d *DB) InSchema(ctx context.Context, schema string, f func(tx pgx.Tx) error) error {
	if schema == "" {
		schema = "public"
	}
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_catalog.set_config('search_path', $1, true)`, pgx.Identifier{schema}.Sanitize()); err != nil {
			return fmt.Errorf("%s: set the search path: %w", d.name, err)
		}
		if _, err := tx.Exec(ctx, `SET LOCAL TimeZone TO DEFAULT`); err != nil {
			return fmt.Errorf("%s: set the time zone: %w", d.name, err)
		}
		return f(tx)
	})
}
