// Package compat keeps an old server alive on a schema that is being migrated under it. A server that reads with SELECT * fails
// on the first column that it doesn't know. Views that name the columns of today stand in a schema of their own, which the
// server's role finds before the tables (search_path): behind them the tables may get new columns.
//
// A role's search_path reaches only new sessions, so that one waits until none is older than the change, before the first
// column is added. The views are simple ones, which Postgres updates through (manual, CREATE VIEW, "Updatable Views").
package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// Schema is where the views are. Its comment says since when, and what the role's search_path was.
const Schema = "tideover_compat"

// Views are the views of one role in front of the tables of one schema.
type Views struct {
	DB     *postgres.DB
	Tables string // the tables' schema
	Role   string // the server's
	Budget postgres.Budget
	// Left out are tables that the server has nothing to do with.
	LeftOut []string
}

// made is the schema's comment.
type made struct {
	Ours bool `json:"tideover"`
	// Since is when the role's search_path was surely in force: sessions that are older may not have it. nil: it has just been
	// committed, or is about to be.
	Since *time.Time `json:"since"`
	Path  *string    `json:"path"` // the role's own search_path in this database before; nil: none
	Gone  bool       `json:"gone"` // the search_path is back already
}

// Error is something about the database that keeps views from standing in for its tables.
type Error struct{ Text, Way string }

func (e *Error) Error() string { return "compat views: " + e.Text }

// Hint says what to do.
func (e *Error) Hint() string { return e.Way }

// Make makes the views and sets the role's search_path, in one transaction. Where they are already, it does nothing. The
// sessions that are open then go on without them: see [Views.Old].
func (v *Views) Make(ctx context.Context) error {
	err := v.DB.InTx(ctx, v.Budget, func(ctx context.Context, tx pgx.Tx) error {
		if m, err := read(ctx, tx); err != nil || m != nil && !m.Gone {
			return err
		} else if m != nil {
			return &Error{Text: "the views are being taken away", Way: "let that end: roll the run back, or retire"}
		}
		tables, err := v.tables(ctx, tx)
		if err != nil {
			return err
		}
		if err := v.create(ctx, tx, tables); err != nil {
			return err
		}
		return v.point(ctx, tx)
	})
	if err != nil {
		return err
	}
	return v.stamp(ctx)
}

// stamp notes the time, once the change is committed: what began before the note may be from before the commit.
func (v *Views) stamp(ctx context.Context) error {
	return v.DB.InTx(ctx, v.Budget, func(ctx context.Context, tx pgx.Tx) error {
		m, err := read(ctx, tx)
		if err != nil || m == nil || m.Since != nil {
			return err
		}
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT pg_catalog.clock_timestamp()`).Scan(&now); err != nil {
			return err
		}
		m.Since = &now
		return note(ctx, tx, *m)
	})
}

// table is what a view stands for.
type table struct {
	Name    string
	Columns []string
	Grants  []string // what the role may do
	Hidden  bool     // by row security
}

func (v *Views) tables(ctx context.Context, tx pgx.Tx) ([]table, error) {
	const role = `SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)`
	const list = `SELECT c.relname::text AS name, c.relrowsecurity AS hidden,
			(SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
			(SELECT coalesce(array_agg(p), '{}') FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p WHERE pg_catalog.has_table_privilege($2, c.oid, p)) AS grants
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT c.relname = ANY ($3) ORDER BY 1`
	var there bool
	if err := tx.QueryRow(ctx, role, v.Role).Scan(&there); err != nil {
		return nil, err
	}
	if !there {
		return nil, &Error{Text: fmt.Sprintf("there is no role %q", v.Role), Way: "name the role that the OAuth server connects as"}
	}
	rows, err := tx.Query(ctx, list, v.Tables, v.Role, append([]string{}, v.LeftOut...))
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByName[table])
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	for _, t := range tables {
		if t.Hidden {
			return nil, &Error{Text: fmt.Sprintf("table %q has row security, which a view would ask for its own owner, not for the server", t.Name),
				Way: "an upgrade of a copy (target: offline) needs no views"}
		}
	}
	return tables, nil
}

func (v *Views) create(ctx context.Context, tx pgx.Tx, tables []table) error {
	run := func(sql string) error {
		_, err := tx.Exec(ctx, sql)
		return err
	}
	role := pgx.Identifier{v.Role}.Sanitize()
	if err := run("CREATE SCHEMA " + Schema); err != nil {
		return fmt.Errorf("make schema %s: %w", Schema, err)
	}
	if err := run("GRANT USAGE ON SCHEMA " + Schema + " TO " + role); err != nil {
		return fmt.Errorf("let %s into schema %s: %w", v.Role, Schema, err)
	}
	for _, t := range tables {
		view, columns := pgx.Identifier{Schema, t.Name}.Sanitize(), ""
		for i, c := range t.Columns {
			if i > 0 {
				columns += ", "
			}
			columns += pgx.Identifier{c}.Sanitize()
		}
		if err := run(fmt.Sprintf("CREATE VIEW %s AS SELECT %s FROM %s", view, columns, pgx.Identifier{v.Tables, t.Name}.Sanitize())); err != nil {
			return fmt.Errorf("make a view of %q: %w", t.Name, err)
		}
		for _, g := range t.Grants {
			if err := run(fmt.Sprintf("GRANT %s ON %s TO %s", g, view, role)); err != nil {
				return fmt.Errorf("grant %s on the view of %q: %w", g, t.Name, err)
			}
		}
	}
	return nil
}

// point lets the role find the views first, and notes since when.
func (v *Views) point(ctx context.Context, tx pgx.Tx) error {
	// A role's setting in a database goes before its own, that before the database's.
	const path = `SELECT (SELECT substr(s, 13) FROM pg_catalog.pg_db_role_setting, unnest(setconfig) s WHERE s LIKE 'search_path=%' AND setdatabase = d.oid AND setrole = r.oid),
			coalesce((SELECT substr(s, 13) FROM pg_catalog.pg_db_role_setting, unnest(setconfig) s WHERE s LIKE 'search_path=%' AND setdatabase IN (0, d.oid) AND setrole IN (0, r.oid)
				ORDER BY (setrole <> 0) DESC, (setdatabase <> 0) DESC LIMIT 1), pg_catalog.quote_ident($2))
		FROM pg_catalog.pg_database d, pg_catalog.pg_roles r WHERE d.datname = pg_catalog.current_database() AND r.rolname = $1`
	var m made
	var effective string
	if err := tx.QueryRow(ctx, path, v.Role, v.Tables).Scan(&m.Path, &effective); err != nil {
		return fmt.Errorf("read the search_path of %q: %w", v.Role, err)
	}
	if err := v.setPath(ctx, tx, Schema+", "+effective); err != nil {
		return err
	}
	return note(ctx, tx, m)
}

// setPath sets the role's search_path in this database: through the session's own, so that the list needs no quoting of ours.
func (v *Views) setPath(ctx context.Context, tx pgx.Tx, path string) error {
	const mine = `SELECT pg_catalog.set_config('search_path', $1, true)`
	if _, err := tx.Exec(ctx, mine, path); err != nil {
		return fmt.Errorf("search_path %s: %w", path, err)
	}
	sql, err := v.alter(ctx, tx, "SET search_path FROM CURRENT")
	if err == nil {
		_, err = tx.Exec(ctx, sql)
	}
	if err != nil {
		return fmt.Errorf("set the search_path of role %q: %w", v.Role, err)
	}
	return nil
}

func (v *Views) alter(ctx context.Context, tx pgx.Tx, what string) (string, error) {
	var database string
	if err := tx.QueryRow(ctx, `SELECT pg_catalog.current_database()`).Scan(&database); err != nil {
		return "", err
	}
	return fmt.Sprintf("ALTER ROLE %s IN DATABASE %s %s", pgx.Identifier{v.Role}.Sanitize(), pgx.Identifier{database}.Sanitize(), what), nil
}

// note stores m as the schema's comment.
func note(ctx context.Context, tx pgx.Tx, m made) error {
	m.Ours = true
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var literal string
	if err := tx.QueryRow(ctx, `SELECT pg_catalog.quote_literal($1)`, string(b)).Scan(&literal); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "COMMENT ON SCHEMA "+Schema+" IS "+literal)
	return err
}

// querier is a transaction or a pool.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// read gives what was made; nil: nothing.
func read(ctx context.Context, db querier) (*made, error) {
	const comment = `SELECT coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), '') FROM pg_catalog.pg_namespace n WHERE n.nspname = $1`
	var text string
	err := db.QueryRow(ctx, comment, Schema).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for schema %s: %w", Schema, err)
	}
	var m made
	if json.Unmarshal([]byte(text), &m) != nil || !m.Ours {
		return nil, &Error{Text: "there is a schema " + Schema + " that is not ours", Way: "rename or drop it"}
	}
	return &m, nil
}
