package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

const lockTable = `LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE`

// held gives a database whose table public.t is locked until release is called.
func held(t *testing.T) (db *postgres.DB, release func()) {
	t.Helper()
	db = open(t, pgtest.NewDatabase(t))
	if _, err := db.Pool().Exec(t.Context(), `CREATE TABLE public.t (a int)`); err != nil {
		t.Fatal(err)
	}
	tx, err := db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), lockTable); err != nil {
		t.Fatal(err)
	}
	release = func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }
	t.Cleanup(release)
	return db, release
}

func TestRetryGivesUpWithinItsBudget(t *testing.T) {
	t.Parallel()
	db, _ := held(t)
	attempts := 0
	err := db.InTx(t.Context(), postgres.Budget{Timeout: 30 * time.Millisecond, Retry: 300 * time.Millisecond},
		func(ctx context.Context, tx pgx.Tx) error {
			attempts++
			_, err := tx.Exec(ctx, lockTable)
			return err
		})
	var e *postgres.LockError
	if !errors.As(err, &e) || postgres.Code(err) != "55P03" {
		t.Fatalf("got %v, want a LockError of 55P03", err)
	}
	if e.Attempts != attempts || attempts < 1 {
		t.Errorf("%d attempts were made, the error says %d", attempts, e.Attempts)
	}
}

func TestRetryGetsTheLockOnceItIsFree(t *testing.T) {
	t.Parallel()
	db, release := held(t)
	attempts := 0
	err := db.InTx(t.Context(), postgres.Budget{Timeout: 30 * time.Millisecond, Retry: time.Minute},
		func(ctx context.Context, tx pgx.Tx) error {
			if attempts++; attempts == 3 {
				release()
			}
			_, err := tx.Exec(ctx, lockTable)
			return err
		})
	if err != nil || attempts < 3 {
		t.Errorf("after %d attempts: %v", attempts, err)
	}
}

func TestRetryLeavesOtherErrorsAlone(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewDatabase(t))
	attempts := 0
	err := db.InTx(t.Context(), postgres.Budget{}, func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		_, err := tx.Exec(ctx, `SELECT * FROM public.nothing`)
		return err
	})
	if postgres.Code(err) != "42P01" || attempts != 1 {
		t.Errorf("after %d attempts: %v", attempts, err)
	}
}

func TestRetryStopsWithItsContext(t *testing.T) {
	t.Parallel()
	db, _ := held(t)
	cause := errors.New("the lease is gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	attempts := 0
	err := db.InTx(ctx, postgres.Budget{Timeout: 20 * time.Millisecond, Retry: time.Hour},
		func(ctx context.Context, tx pgx.Tx) error {
			if attempts++; attempts == 2 {
				defer cancel(cause)
			}
			_, err := tx.Exec(ctx, lockTable)
			return err
		})
	if !errors.Is(err, cause) || attempts != 2 {
		t.Errorf("after %d attempts: %v", attempts, err)
	}
}

// The timeouts end with the transaction: the pool's connection must not keep them.
func TestLockTimeoutEndsWithItsTransaction(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewDatabase(t))
	conn, err := db.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	const sql = `SELECT pg_catalog.current_setting('lock_timeout') || ' ' || pg_catalog.current_setting('statement_timeout')`
	var inside, after string
	if err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		if err := postgres.WithLockTimeout(t.Context(), tx, 250*time.Millisecond); err != nil {
			return err
		}
		return tx.QueryRow(t.Context(), sql).Scan(&inside)
	}); err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(t.Context(), sql).Scan(&after); err != nil {
		t.Fatal(err)
	}
	if inside != "250ms 500ms" || after != "0 0" {
		t.Errorf("inside %q, after %q", inside, after)
	}
}
