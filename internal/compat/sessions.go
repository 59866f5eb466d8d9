package compat

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Session is one of the server's that began before the change.
type Session struct {
	PID         int32
	Application string
	Began       time.Time
}

// Old lists the role's sessions that don't have its search_path of now.
func (v *Views) Old(ctx context.Context) ([]Session, error) {
	const sql = `SELECT pid, coalesce(application_name, '') AS application, backend_start AS began FROM pg_catalog.pg_stat_activity
		WHERE datname = pg_catalog.current_database() AND usename = $1 AND backend_type = 'client backend' AND backend_start < $2
			AND application_name NOT LIKE 'tideover%' ORDER BY backend_start`
	if err := v.stamp(ctx); err != nil { // a crash may have kept it from being noted
		return nil, err
	}
	m, err := read(ctx, v.DB.Pool())
	if err != nil || m == nil {
		return nil, err
	}
	rows, err := v.DB.Pool().Query(ctx, sql, v.Role, *m.Since)
	if err != nil {
		return nil, fmt.Errorf("list the sessions of %q: %w", v.Role, err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Session])
}

// Wait waits until no session of the role is older than the change; tell is called when their number changes. Past
// timeout the error is an [*Error].
func (v *Views) Wait(ctx context.Context, timeout time.Duration, tell func(old int)) error {
	deadline := time.Now().Add(timeout)
	last := -1
	for {
		old, err := v.Old(ctx)
		if err != nil || len(old) == 0 {
			return err
		}
		if len(old) != last {
			last = len(old)
			tell(last)
		}
		if time.Now().After(deadline) {
			return &Error{Text: fmt.Sprintf("after %s %d sessions of %q still don't have the search_path of now, the oldest (pid %d) since %s", timeout, len(old), v.Role,
				old[0].PID, old[0].Began.Format(time.TimeOnly)), Way: "restart the server's instances one by one, or give its pool a shorter connection lifetime; then resume"}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// Check says whether the views still stand in for the tables: each can be read and written, and the role finds them first.
func (v *Views) Check(ctx context.Context) error {
	const broken = `SELECT coalesce(min(c.relname::text), '') FROM pg_catalog.pg_class c WHERE c.relnamespace = $1::pg_catalog.regnamespace AND c.relkind = 'v'
		AND pg_catalog.pg_relation_is_updatable(c.oid, false) & 28 <> 28` // insert, update and delete: bits 8, 4 and 16
	const first = `SELECT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase JOIN pg_catalog.pg_roles r ON r.oid = s.setrole,
		unnest(s.setconfig) c WHERE d.datname = pg_catalog.current_database() AND r.rolname = $1 AND c LIKE 'search_path=' || $2 || '%')`
	m, err := read(ctx, v.DB.Pool())
	if err != nil {
		return err
	}
	if m == nil || m.Gone {
		return &Error{Text: "there are none", Way: "make them again, before columns are added"}
	}
	var name string
	if err := v.DB.Pool().QueryRow(ctx, broken, Schema).Scan(&name); err != nil {
		return fmt.Errorf("look at the views: %w", err)
	}
	if name != "" {
		return &Error{Text: fmt.Sprintf("the view of %q can't be written through", name), Way: "somebody has changed it: take the views away, and make them again"}
	}
	var is bool
	if err := v.DB.Pool().QueryRow(ctx, first, v.Role, Schema).Scan(&is); err != nil {
		return fmt.Errorf("look at the search_path of %q: %w", v.Role, err)
	}
	if !is {
		return &Error{Text: fmt.Sprintf("role %q does not find them first", v.Role), Way: "somebody has changed its search_path: take the views away, and make them again"}
	}
	return nil
}

// There says whether views were made and are not gone.
func (v *Views) There(ctx context.Context) (bool, error) {
	m, err := read(ctx, v.DB.Pool())
	return m != nil, err
}

// Remove gives the role its search_path back, waits until no session is older than that, and drops the views. Where there
// are none, it does nothing; it may be called again at any point.
func (v *Views) Remove(ctx context.Context, timeout time.Duration, tell func(old int)) error {
	if there, err := v.There(ctx); err != nil || !there {
		return err
	}
	if err := v.DB.InTx(ctx, v.Budget, func(ctx context.Context, tx pgx.Tx) error {
		m, err := read(ctx, tx)
		if err != nil || m == nil || m.Gone {
			return err
		}
		if m.Path != nil {
			err = v.setPath(ctx, tx, *m.Path)
		} else {
			var sql string
			if sql, err = v.alter(ctx, tx, "RESET search_path"); err == nil {
				_, err = tx.Exec(ctx, sql)
			}
		}
		if err != nil {
			return err
		}
		m.Gone, m.Since = true, nil
		return note(ctx, tx, *m)
	}); err != nil {
		return err
	}
	if err := v.Wait(ctx, timeout, tell); err != nil {
		return err
	}
	return v.DB.InTx(ctx, v.Budget, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DROP SCHEMA IF EXISTS "+Schema+" CASCADE")
		return err
	})
}
