package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Advisory lock keys, (class, object): "tide" in ASCII, then what is locked. Such locks are a database's own, so that
// the lease keeps apart the processes of one control database (Postgres manual 13.3.5).
const (
	lockClass  = 0x74696465
	lockLease  = 1
	lockSchema = 2
)

// The data is json and not jsonb, which refuses \u0000 in texts that we only pass on.
const journalSchema = `
CREATE SCHEMA IF NOT EXISTS tideover;
CREATE TABLE IF NOT EXISTS tideover.run (
	id       text PRIMARY KEY,
	name     text NOT NULL,
	hash     text NOT NULL,
	runbook  text NOT NULL,
	term     bigint NOT NULL DEFAULT 0,
	seq      bigint NOT NULL DEFAULT 0,
	host     text NOT NULL DEFAULT '',
	pid      bigint NOT NULL DEFAULT 0,
	username text NOT NULL DEFAULT '',
	backend  integer NOT NULL DEFAULT 0,
	taken    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	created  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	ended    timestamptz,
	outcome  text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX IF NOT EXISTS run_active ON tideover.run (name) WHERE ended IS NULL;
CREATE TABLE IF NOT EXISTS tideover.event (
	run  text NOT NULL REFERENCES tideover.run (id),
	seq  bigint NOT NULL,
	time timestamptz NOT NULL,
	step text NOT NULL,
	kind text NOT NULL,
	data json,
	PRIMARY KEY (run, seq)
);
CREATE TABLE IF NOT EXISTS tideover.approval (
	run  text NOT NULL REFERENCES tideover.run (id),
	step text NOT NULL,
	who  text NOT NULL,
	time timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (run, step)
);
ALTER TABLE tideover.approval ADD COLUMN IF NOT EXISTS host text NOT NULL DEFAULT '', ADD COLUMN IF NOT EXISTS reason text NOT NULL DEFAULT '';
CREATE TABLE IF NOT EXISTS tideover.document (
	run     text NOT NULL REFERENCES tideover.run (id),
	kind    text NOT NULL,
	name    text NOT NULL,
	content text NOT NULL,
	blanked boolean NOT NULL,
	PRIMARY KEY (run, kind)
);
CREATE TABLE IF NOT EXISTS tideover.progress (
	run  text NOT NULL PRIMARY KEY REFERENCES tideover.run (id),
	step text NOT NULL,
	data json NOT NULL,
	time timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE TABLE IF NOT EXISTS tideover.command (
	id       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	run      text NOT NULL REFERENCES tideover.run (id),
	term     bigint NOT NULL,
	data     json NOT NULL,
	asked    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	answered timestamptz,
	done     boolean NOT NULL DEFAULT false,
	answer   text NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS command_open ON tideover.command (run) WHERE answered IS NULL;`

// Install creates the journal's tables where they are missing. Two at once don't get into each other's way: IF NOT
// EXISTS alone would let the second one fail on a catalog's unique key.
func (j *Journal) Install(ctx context.Context) error {
	there, err := j.has(ctx, "tideover.command_open") // created last
	if err != nil || there {
		return err
	}
	const lock = `SELECT pg_catalog.pg_advisory_xact_lock($1, $2)`
	run, err := j.has(ctx, "tideover.run")
	if err != nil {
		return err
	}
	keep := keepNewSQL
	if run { // an older tideover's, to be made whole: its grants stay
		keep = KeepSQL
	}
	err = pgx.BeginFunc(ctx, j.db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lock, lockClass, lockSchema); err != nil {
			return err
		}
		if err := Unwatched(ctx, tx, j.db.name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, journalSchema+keep, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return j.wrap("create the journal's tables", err)
	}
	return nil
}

// installed looks whether there is a journal, of this or an older tideover.
func (j *Journal) installed(ctx context.Context) (bool, error) {
	return j.has(ctx, "tideover.approval")
}

func (j *Journal) has(ctx context.Context, relation string) (bool, error) {
	const sql = `SELECT pg_catalog.to_regclass($1) IS NOT NULL`
	var there bool
	if err := j.db.pool.QueryRow(ctx, sql, relation).Scan(&there); err != nil {
		return false, j.wrap("look for the journal", err)
	}
	return there, nil
}

// JournalError says why the journal can't be used. Its text names the database, never a password.
type JournalError struct {
	Op   string
	DB   string // name and redacted DSN
	Err  error
	hint string
}

func (e *JournalError) Error() string {
	return fmt.Sprintf("%s in %s: %v", e.Op, e.DB, e.Err)
}

func (e *JournalError) Unwrap() error { return e.Err }

// Hint says what a person can do; "" where nobody knows.
func (e *JournalError) Hint() string { return e.hint }

func (j *Journal) wrap(op string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s in %s: %w", op, j.db, err)
	}
	e := &JournalError{Op: op, DB: j.db.String(), Err: err}
	cfg := j.db.pool.Config().ConnConfig
	database, user := pgx.Identifier{cfg.Database}.Sanitize(), pgx.Identifier{cfg.User}.Sanitize()
	var connect *pgconn.ConnectError
	switch Code(err) {
	case pgerrcode.InsufficientPrivilege:
		e.hint = fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s; where schema tideover belongs to another role: GRANT that role TO %s",
			database, user, user)
	case pgerrcode.ReadOnlySQLTransaction:
		e.hint = "this is a standby, or its transactions are read-only: name the primary in the runbook's control: or blue:; or take default_transaction_read_only back (ALTER DATABASE … or ALTER ROLE … RESET)"
	case pgerrcode.UndefinedTable, pgerrcode.UndefinedColumn:
		e.hint = "schema tideover is not a journal of this tideover's: is this the right database, and the right version of tideover?"
	default:
		if errors.As(err, &connect) {
			return newConnectError(j.db.name, cfg, err)
		}
	}
	return e
}
