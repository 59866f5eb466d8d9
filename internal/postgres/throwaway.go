package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
)

// Throwaway is a database beside another one, on its server and in its locale, that lasts no longer than the process:
// Drop removes it, and what a killed process leaves is removed when the next one with the same prefix is made. A session
// of the process holds an advisory lock on its name; the server frees it whatever becomes of the process.
type Throwaway struct {
	DSN string

	name  string
	owner *pgx.Conn
}

// NewThrowaway makes one. prefix says what it is for: "tideover_preflight". The name also holds the number (pg_database.oid)
// of the database that it is made beside, because advisory locks are known within one database only.
func NewThrowaway(ctx context.Context, beside *DB, prefix string) (_ *Throwaway, err error) {
	owner, err := beside.ConnectAs(ctx, "throwaway")
	if err != nil {
		return nil, err
	}
	t := &Throwaway{owner: owner}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Drop(ctx)) // a cancelled CREATE DATABASE may have been carried out
		}
	}()
	var oid uint32
	if err := owner.QueryRow(ctx, oidSQL).Scan(&oid); err != nil {
		return nil, fmt.Errorf("%s: %w", beside.Name(), err)
	}
	if err := sweepThrowaways(ctx, owner, oid); err != nil {
		return nil, fmt.Errorf("remove databases that a killed process has left on the server of %s: %w", beside.Name(), err)
	}
	name := fmt.Sprintf("%s_%d_%s", prefix, oid, strings.ToLower(rand.Text()[:12]))
	if t.DSN, err = WithDatabase(beside.DSN(), name); err != nil {
		return nil, fmt.Errorf("%s: %w", beside.Name(), err)
	}
	if _, err := owner.Exec(ctx, `SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended($1, 0))`, name); err != nil {
		return nil, fmt.Errorf("%s: %w", beside.Name(), err)
	}
	like, err := LikenessOf(ctx, owner)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", beside.Name(), err)
	}
	t.name = name
	if err := like.Create(ctx, owner, name, ""); err != nil {
		return nil, fmt.Errorf("create database %q on the server of %s: %w", name, beside.Name(), err)
	}
	return t, nil
}

// SweepThrowaways drops what killed processes have left beside a database, whatever it was for. Those of living
// processes stay.
func SweepThrowaways(ctx context.Context, beside *DB) error {
	conn, err := beside.ConnectAs(ctx, "throwaway")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var oid uint32
	if err = conn.QueryRow(ctx, oidSQL).Scan(&oid); err == nil {
		err = sweepThrowaways(ctx, conn, oid)
	}
	if err != nil {
		return fmt.Errorf("remove databases that a killed process has left on the server of %s: %w", beside.Name(), err)
	}
	return nil
}

// oidSQL is the number in the names of what is made beside the session's database.
const oidSQL = `SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()`

// throwawaysSQL lists them by the names that NewThrowaway gives, and by nothing less: what others have is not ours to drop.
const throwawaysSQL = `SELECT datname FROM pg_catalog.pg_database WHERE datname ~ pg_catalog.format('^tideover_[a-z]+_%s_[a-z0-9]{12}$', $1::oid)`

// sweepThrowaways drops the databases whose owners are gone.
func sweepThrowaways(ctx context.Context, conn *pgx.Conn, oid uint32) error {
	rows, err := conn.Query(ctx, throwawaysSQL, oid)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		var dead bool
		if err := conn.QueryRow(ctx, `SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 0))`, name).Scan(&dead); err != nil {
			return err
		}
		if !dead {
			continue
		}
		if err := dropDatabase(ctx, conn, name); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, `SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended($1, 0))`, name); err != nil {
			return err
		}
	}
	return nil
}

func dropDatabase(ctx context.Context, conn *pgx.Conn, name string) error {
	return DropDatabase(ctx, conn, name)
}

// DropDatabase drops a database of ours, if it is there, with the sessions that are in it. As an ordinary role it may not end what is
// not its own, such as an autovacuum worker that has just come by, which is what WITH (FORCE) would do; but a plain DROP DATABASE asks
// such workers to leave and waits for them (Postgres manual, DROP DATABASE). So our own sessions are ended first, then it is tried again.
func DropDatabase(ctx context.Context, q Execer, name string) (err error) {
	drop := "DROP DATABASE IF EXISTS " + pgx.Identifier{name}.Sanitize()
	if _, err = q.Exec(ctx, drop+" WITH (FORCE)"); Code(err) != pgerrcode.InsufficientPrivilege {
		return err
	}
	const end = `SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
		WHERE a.datname = $1 AND a.pid <> pg_catalog.pg_backend_pid() AND a.usesysid IS NOT NULL
			AND pg_catalog.pg_has_role(a.usesysid, 'MEMBER') AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = a.usesysid)`
	for range dropTries {
		if _, err = q.Exec(ctx, end, name); err != nil {
			return err
		}
		if _, err = q.Exec(ctx, drop); Code(err) != pgerrcode.ObjectInUse {
			return err
		}
	}
	return err
}

// dropTries is how often a database is tried to be dropped that somebody is in; Postgres itself waits up to five seconds each time.
const dropTries = 6

// Drop removes the database, whatever becomes of ctx. It may be called again.
func (t *Throwaway) Drop(ctx context.Context) error {
	if t.owner == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	owner := t.owner
	t.owner = nil
	var err error
	if t.name != "" {
		conn := owner
		if owner.IsClosed() { // a query of it was cancelled
			if conn, err = pgx.ConnectConfig(ctx, owner.Config()); err != nil {
				return fmt.Errorf("drop database %q: %w", t.name, err)
			}
			defer conn.Close(ctx)
		}
		if err = dropDatabase(ctx, conn, t.name); err != nil {
			err = fmt.Errorf("drop database %q: %w", t.name, err)
		}
	}
	if !owner.IsClosed() {
		err = errors.Join(err, owner.Close(ctx))
	}
	return err
}
