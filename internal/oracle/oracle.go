// Package oracle says whether green is what blue's data, migrated offline, would be. It is what keeps copy, clean-up,
// replay and delta migration honest: it knows none of them.
//
// [Expected] copies blue's present state into a fresh database on green's server, by pg_dump and pg_restore and not by the
// copy that it judges, and brings it through the same rules and migrations at one go. [Compare] holds that against green, or against the state of green that a [Pin] kept: every
// table, every row, every column that the profile does not call volatile or constant, the quarantine, and the
// schema itself. What migrations take from the clock is looked at as [Clock] says.
//
// The server hashes rows; what comes out names tables, columns and keys, never values.
package oracle

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

// Migrator migrates the database at dsn, as the bulk was migrated.
type Migrator interface {
	Migrate(ctx context.Context, dsn string) error
}

// Rules applies the profile's rules of one phase.
type Rules interface {
	Apply(ctx context.Context, conn *pgx.Conn, phase string) ([]cleanup.Result, error)
}

// Expected makes the database that green should be like, on green's server, out of blue's present state. The caller
// drops it. On an error, a cancelled context included, it is dropped already. binDir is as in snapshot.Options.
func Expected(ctx context.Context, blue, green *postgres.DB, p *plan.Profile, m Migrator, rules Rules, binDir string) (*Reference, error) {
	made, err := postgres.NewThrowaway(ctx, green, "tideover_expected")
	if err != nil {
		return nil, err
	}
	r := &Reference{DSN: made.DSN, Drop: func() { _ = made.Drop(ctx) }} // what is left, the next one removes
	if err := r.fill(ctx, blue, p, m, rules, binDir); err != nil {
		r.Drop()
		return nil, fmt.Errorf("migrate blue's state offline: %w", err)
	}
	return r, nil
}

// Reference is a database that green should be like.
type Reference struct {
	DSN   string
	Drop  func()
	Clock Clock // of its migrations; Since is for the caller to say
}

func (r *Reference) fill(ctx context.Context, blue *postgres.DB, p *plan.Profile, m Migrator, rules Rules, binDir string) error {
	expected, err := postgres.Open(ctx, "expected", r.DSN)
	if err != nil {
		return err
	}
	defer expected.Close()
	if err := snapshot.Reference(ctx, snapshot.Options{Blue: blue, Green: expected, Profile: p, BinDir: binDir}); err != nil {
		return err
	}
	conn, err := expected.Connect(ctx)
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, conn)
	if r.Clock.Began, err = Now(ctx, conn); err != nil {
		return err
	}
	if _, err := rules.Apply(ctx, conn, "before"); err != nil {
		return err
	}
	if err := m.Migrate(ctx, r.DSN); err != nil {
		return err
	}
	if _, err := rules.Apply(ctx, conn, "after"); err != nil {
		return err
	}
	r.Clock.Ended, err = Now(ctx, conn)
	return err
}

// Pin keeps the state of green at one moment, the switch, so that what live traffic does after it is not compared. It
// lives in this process: after a crash there is no pin, and green can only be compared while nobody writes.
//
// For as long as it is held, vacuum on green removes nothing that died later: release it soon.
type Pin struct {
	conn *pgx.Conn
}

// NewPin takes the snapshot before it returns.
func NewPin(ctx context.Context, green *postgres.DB) (*Pin, error) {
	conn, err := green.ConnectAs(ctx, "oracle")
	if err != nil {
		return nil, err
	}
	if err := begin(ctx, conn); err != nil {
		postgres.HangUp(ctx, conn)
		return nil, fmt.Errorf("pin green's state: %w", err)
	}
	return &Pin{conn: conn}, nil
}

// Conn is the session that sees the pinned state. One at a time may use it.
func (p *Pin) Conn() *pgx.Conn { return p.conn }

// Close lets go of the state.
func (p *Pin) Close(ctx context.Context) { postgres.HangUp(ctx, p.conn) }

// begin starts a transaction that sees one state. The first query takes the snapshot; BEGIN alone does not. No timeout may end
// a pin that waits, and the server looks after a dead network by itself.
func begin(ctx context.Context, conn *pgx.Conn) error {
	const setup = `SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; SET tcp_keepalives_idle = 30;
		BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_catalog.txid_current_snapshot()`
	for _, sql := range strings.Split(setup, ";") {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

var errBusy = errors.New("the session is in a failed transaction")
