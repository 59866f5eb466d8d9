package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/sqlrewrite"
)

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Unproved asks the database's catalog which of the statements can't be done in batches: by their jobs, why not.
func Unproved(ctx context.Context, db querier, asks []sqlrewrite.Ask) (map[string]string, error) {
	var all map[string]string
	for _, a := range asks {
		why, err := unproved(ctx, db, a)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: look whether it can be done in batches: %w", a.File, a.Line, err)
		}
		if why != "" {
			if all == nil {
				all = map[string]string{}
			}
			all[a.Job] = why
		}
	}
	return all, nil
}

func unproved(ctx context.Context, db querier, a sqlrewrite.Ask) (string, error) {
	const there = `SELECT coalesce(pg_catalog.to_regclass($1)::text, '')`
	var why *string
	if err := db.QueryRow(ctx, a.SQL()).Scan(&why); err != nil {
		return "", err
	}
	if why != nil {
		return *why, nil
	}
	var table string
	if err := db.QueryRow(ctx, there, a.Table).Scan(&table); err != nil || table == "" {
		return "", err // a migration before it makes the table
	}
	var names, types []string
	switch err := db.QueryRow(ctx, a.KeySQL()).Scan(&names, &types); {
	case err == nil:
		return "", nil
	case !errors.Is(err, pgx.ErrNoRows):
		return "", err
	}
	var rows int64
	if err := db.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM (SELECT FROM %s LIMIT %d) few", a.Table, sqlrewrite.MostWithoutKey+1)).Scan(&rows); err != nil {
		return "", err
	}
	if rows > sqlrewrite.MostWithoutKey {
		return fmt.Sprintf("%s has more than %d rows, and no key that is never NULL, isn't written, and is of a plain type", table, sqlrewrite.MostWithoutKey), nil
	}
	return "", nil
}

// noDefaults says of which columns the database has no default, though rows may lack a value in them.
func noDefaults(ctx context.Context, db querier, columns []sqlrewrite.Column) (map[sqlrewrite.Column]string, error) {
	const look = `SELECT a.attnotnull, a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL
		FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped`
	var bare map[sqlrewrite.Column]string
	for _, c := range columns {
		why := ""
		var notNull, has bool
		switch err := db.QueryRow(ctx, look, c.Table, c.Column).Scan(&notNull, &has); {
		case errors.Is(err, pgx.ErrNoRows):
			why = "it isn't there yet, and no script shows one"
		case err != nil:
			return nil, fmt.Errorf("look whether %s.%s has a default: %w", c.Table, c.Column, err)
		case !notNull && !has:
			why = "as the catalog shows"
		}
		if why != "" {
			if bare == nil {
				bare = map[sqlrewrite.Column]string{}
			}
			bare[c] = why
		}
	}
	return bare, nil
}

// LiveOn rewrites a script for the database at hand: what its catalog doesn't let be done in batches stays whole, and is a hazard.
func LiveOn(ctx context.Context, db querier, s *sqlrewrite.Script, allowed []string) (sqlrewrite.Rewritten, error) {
	r, err := sqlrewrite.LiveWith(s, sqlrewrite.Given{Allowed: allowed})
	if err != nil {
		return r, err
	}
	// What stays whole may bring other statements into one file, but asks nothing new.
	found, err := Unproved(ctx, db, r.Asks())
	if err != nil {
		return r, err
	}
	bare, err := noDefaults(ctx, db, r.NotNulls())
	if err != nil || len(found)+len(bare) == 0 {
		return r, err
	}
	return sqlrewrite.LiveWith(s, sqlrewrite.Given{Allowed: allowed, Unproved: found, NoDefault: bare})
}
