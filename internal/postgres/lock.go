package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Budget bounds what live traffic feels of our locks. A statement that waits for a lock makes everything queue behind
// it, so that the wait is cut off at Timeout, and tried again, with pauses, for Retry.
type Budget struct {
	Timeout time.Duration // one attempt; 0: 500ms
	Retry   time.Duration // how long attempts go on; 0: 5m
}

// DefaultBudget is what a runbook without "locks:" gets.
func DefaultBudget() Budget { return Budget{Timeout: 500 * time.Millisecond, Retry: 5 * time.Minute} }

func (b Budget) withDefaults() Budget {
	d := DefaultBudget()
	if b.Timeout <= 0 {
		b.Timeout = d.Timeout
	}
	if b.Retry <= 0 {
		b.Retry = d.Retry
	}
	return b
}

// LockError says that a lock was not to be had within the budget.
type LockError struct {
	Attempts int
	Waited   time.Duration
	Err      error // the last attempt's
}

func (e *LockError) Error() string {
	return fmt.Sprintf("no lock after %d attempts in %s: %v", e.Attempts, e.Waited.Round(time.Millisecond), e.Err)
}

func (e *LockError) Unwrap() error { return e.Err }

// Hint says what a person can do.
func (e *LockError) Hint() string {
	return "end the long transaction that holds the table (pg_stat_activity, pg_blocking_pids), or raise locks.retry in the runbook"
}

// Retry calls f until it ends with something else than a lock that was not to be had (SQLSTATE 55P03), a deadlock
// (40P01) or, with the context alive, a statement that took too long (57014), or until budget.Retry is over: then the
// error is a [*LockError]. f starts from scratch each time: it begins and ends its own transaction.
func Retry(ctx context.Context, budget Budget, f func(ctx context.Context) error) error {
	budget = budget.withDefaults()
	const first, longest = 50 * time.Millisecond, 5 * time.Second
	began, pause := time.Now(), first
	for attempt := 1; ; attempt++ {
		err := f(ctx)
		switch Code(err) {
		case pgerrcode.LockNotAvailable, pgerrcode.DeadlockDetected, pgerrcode.QueryCanceled:
		default:
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		// Half of the pause is chance, so that two that block each other don't come back together.
		wait := pause/2 + rand.N(pause/2)
		pause = min(2*pause, longest)
		if took := time.Since(began); took+wait > budget.Retry {
			return &LockError{Attempts: attempt, Waited: took, Err: err}
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
}

// Execer is a transaction, connection or pool.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// WithLockTimeout bounds, until the end of tx, how long a statement waits for locks (d) and how long it takes together
// with that wait (2d): a statement that holds a strong lock must not work for long either (Postgres manual 20.11.1).
func WithLockTimeout(ctx context.Context, tx Execer, d time.Duration) error {
	const sql = `SELECT pg_catalog.set_config('lock_timeout', $1, true), pg_catalog.set_config('statement_timeout', $2, true)`
	ms := max(d.Milliseconds(), 1) // 0 would mean: wait for ever
	if _, err := tx.Exec(ctx, sql, strconv.FormatInt(ms, 10), strconv.FormatInt(2*ms, 10)); err != nil {
		return fmt.Errorf("set the lock timeout: %w", err)
	}
	return nil
}

// InTx runs f in a transaction whose locks are bounded by the budget, and tries again as [Retry] does.
func (d *DB) InTx(ctx context.Context, budget Budget, f func(ctx context.Context, tx pgx.Tx) error) error {
	budget = budget.withDefaults()
	return Retry(ctx, budget, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
			if err := WithLockTimeout(ctx, tx, budget.Timeout); err != nil {
				return err
			}
			return f(ctx, tx)
		})
	})
}
