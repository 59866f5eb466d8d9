package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
)

// errReplayed says that a part of a claim was in the ledger already: it has been marked, and the claim is to be made
// again.
var errReplayed = errors.New("some of the changes were applied before")

// migrateError is a migration that failed on a delta.
type migrateError struct{ error }

func (e migrateError) Unwrap() error { return e.error }

// mergeError is a failure on green itself.
type mergeError struct{ error }

func (e mergeError) Unwrap() error { return e.error }

func isMergeForeignKey(err error) bool {
	var m mergeError
	return errors.As(err, &m) && (postgres.Code(err) == "23503" || errors.As(err, new(*orphanError)))
}

// batch applies one batch, and parks what makes it fail.
//
// A claim that is cut off by the limit can see the effects of transactions that it has not got: the foreign keys of
// what it brings may then miss what comes later. Such a batch is made again with more.
func (r *Replayer) batch(ctx context.Context) (Applied, error) {
	if err := r.prepare(ctx); err != nil {
		return Applied{}, err
	}
	if err := r.sync(ctx); err != nil {
		return Applied{}, err
	}
	for limit := r.pace.limit; ; {
		began := time.Now()
		a, truncated, err := r.attempt(ctx, limit)
		if err == nil && truncated {
			r.pace.learn(a.Changes, time.Since(began))
		}
		switch {
		case errors.Is(err, errReplayed):
		case err == nil || ctx.Err() != nil:
			return a, err
		case truncated && isMergeForeignKey(err):
			limit *= 4
		case poisonous(err):
			return r.isolate(ctx, limit, err)
		default:
			return a, err
		}
	}
}

// poisonous says whether the rows of a delta can be the reason of an error, rather than a connection or a mistake in
// the profile.
func poisonous(err error) bool {
	var m migrateError
	code := postgres.Code(err)
	if code == "" {
		return errors.As(err, new(*orphanError)) || errors.As(err, &m) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	for _, class := range []string{"21", "22", "23", "44", "54", "P0"} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}

// attempt claims changes and applies them, all or none. truncated says that the queue had more.
func (r *Replayer) attempt(ctx context.Context, limit int) (a Applied, truncated bool, err error) {
	var claimed []change
	err = r.alongside(ctx, func(tx pgx.Tx) error {
		if claimed, truncated, err = r.claim(ctx, tx, limit); err != nil || len(claimed) == 0 {
			return err
		}
		if err := r.settle(ctx, claimed); err != nil {
			return err
		}
		r.more = truncated
		defer func() { r.more = false }()
		a, err = r.apply(ctx, tx, claimed, true)
		a.Changes = int64(len(claimed))
		return err
	})
	if err != nil || len(claimed) == 0 {
		return Applied{}, truncated, err
	}
	if err := r.mark(ctx, claimed); err != nil {
		return Applied{}, truncated, err
	}
	if err := r.tell(claimed); err != nil {
		return Applied{}, truncated, err
	}
	return a, truncated, nil
}

// reading runs f in a transaction that sees blue as it is now, and no change of it. f may end the transaction early.
func (r *Replayer) reading(ctx context.Context, f func(tx pgx.Tx) error) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("read blue: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if err := within(ctx, tx, schemaOf(r.Profile)); err != nil {
		return err
	}
	return f(tx)
}

// within makes the profile's unqualified names mean the server's tables, until the end of tx.
func within(ctx context.Context, tx pgx.Tx, schema string) error {
	if err := postgres.UseSchema(ctx, tx, "the server's schema", schema); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
		return fmt.Errorf("set the timeout: %w", err)
	}
	return nil
}

// settle marks changes that green's ledger has: green had committed them, and then this side crashed.
func (r *Replayer) settle(ctx context.Context, claimed []change) error {
	if err := r.readEpoch(ctx); err != nil {
		return err
	}
	const sql = `SELECT change_id FROM tideover.applied WHERE epoch = $1 AND change_id = ANY($2)`
	rows, err := r.Green.Pool().Query(ctx, sql, r.epoch, ids(claimed))
	if err != nil {
		return fmt.Errorf("read the ledger on green: %w", err)
	}
	done, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("read the ledger on green: %w", err)
	}
	if len(done) == 0 {
		return nil
	}
	if err := r.mark(ctx, among(claimed, done)); err != nil {
		return err
	}
	return errReplayed
}

// among gives the changes with these numbers.
func among(all []change, numbers []int64) []change {
	asked := make(map[int64]bool, len(numbers))
	for _, n := range numbers {
		asked[n] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(c change) bool { return !asked[c.id] })
}

func (r *Replayer) readEpoch(ctx context.Context) error {
	var err error
	r.epoch, err = epochOf(ctx, r.Blue)
	return err
}

func epochOf(ctx context.Context, db *postgres.DB) (epoch string, err error) {
	if err := db.Pool().QueryRow(ctx, `SELECT epoch::text FROM tideover.capture`).Scan(&epoch); err != nil {
		return "", fmt.Errorf("read the queue of %s: %w", db.Name(), err)
	}
	return epoch, nil
}

func (r *Replayer) mark(ctx context.Context, claimed []change) error {
	return markApplied(ctx, r.Blue, claimed, false)
}

// markApplied ends changes in a side's queue. It is safe to repeat.
//
// Revocations stay, for the verification. The others are deleted and only counted, unless they are to be kept: a queue
// that lives for days would grow without end. A row is found by its place, so that the queue needs no index for it; one
// that has moved meanwhile is claimed again, and found in the ledger. The planner, left alone, prefers to look through all
// that is unapplied.
func markApplied(ctx context.Context, db *postgres.DB, done []change, keep bool) error {
	var places, rest []string
	var which, others []int64
	for _, c := range done {
		if c.kind == "revoked" {
			places, which = append(places, c.place), append(which, c.id)
		} else {
			rest, others = append(rest, c.place), append(others, c.id)
		}
	}
	end := `DELETE FROM tideover.change`
	if keep {
		end = `UPDATE tideover.change SET kind = 'written', applied_at = clock_timestamp(), parked_at = NULL, error = NULL`
	}
	sql := `
WITH revoked AS (
	UPDATE tideover.change SET kind = 'revoked', applied_at = clock_timestamp(), parked_at = NULL, error = NULL
	WHERE ctid = ANY($1::text[]::tid[]) AND id = ANY($2) AND applied_at IS NULL RETURNING 1
), others AS (
	` + end + ` WHERE ctid = ANY($3::text[]::tid[]) AND id = ANY($4) AND applied_at IS NULL RETURNING 1
)
UPDATE tideover.capture SET applied = applied + (SELECT count(*) FROM revoked) + (SELECT count(*) FROM others)`
	err := pgx.BeginFunc(ctx, db.Pool(), func(tx pgx.Tx) error {
		// What is forbidden and yet the only way, to tideover.capture, looks dear enough to be compiled.
		if err := without(ctx, tx, "enable_seqscan", "enable_bitmapscan", "enable_indexscan", "enable_indexonlyscan", "jit"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sql, places, which, rest, others)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark changes on %s as applied: %w", db.Name(), err)
	}
	return nil
}

// delta is a batch on its way.
type delta struct {
	changes     []change
	seeds       []*seed
	rows        map[string]*keySet // rows of blue that were loaded, by table
	revocations []revocation
	moved       []cleanup.Row // rows that rules have quarantined
	// Of an audit alone: rows that have a way back as they were before the migrations, by table.
	former map[string]*former
}

// apply brings changes over, in one transaction on green; without commit it is taken back. It ends tx when it has read
// what it needs: blue's snapshot must not be held while green works.
func (r *Replayer) apply(ctx context.Context, tx pgx.Tx, claimed []change, commit bool) (a Applied, err error) {
	d := &delta{changes: claimed}
	if d.seeds, err = r.collapse(claimed); err != nil {
		return a, err
	}
	if d.rows, err = r.closure(ctx, tx, d.seeds); err != nil {
		return a, err
	}
	if err := r.bereft(ctx, tx, d.seeds); err != nil {
		return a, err
	}
	if d.revocations, err = r.inForce(ctx, tx, claimed); err != nil {
		return a, err
	}
	var from *pgx.Conn
	for _, set := range d.rows {
		if len(set.keys) == 0 || from != nil {
			continue
		}
		var dsn string
		if dsn, from, err = r.openScratch(ctx); err != nil {
			return a, err
		}
		defer hangUp(ctx, from)
		if r.more { // another batch will want a scratch database
			var g errgroup.Group
			g.Go(func() error { return r.scratch.refresh(ctx) })
			defer func() { _ = g.Wait() }() // the next batch tries again, and says what is wrong
		}
		if err := r.transform(ctx, tx, from, dsn, d); err != nil {
			return a, err
		}
	}
	if from == nil {
		if err := tx.Rollback(ctx); err != nil {
			return a, fmt.Errorf("read blue: %w", err)
		}
	}
	if err := r.lull(ctx); err != nil {
		return a, err
	}
	err = r.onGreen(ctx, func(green pgx.Tx) error {
		if a, err = r.merge(ctx, from, green, d); err != nil {
			return mergeError{err}
		}
		if !commit {
			return errDry
		}
		return nil
	})
	if errors.Is(err, errDry) {
		return a, nil
	}
	return a, err
}

// errDry takes a trial back.
var errDry = errors.New("only a trial")

// onGreen runs f in a transaction on green and a connection of its own: what f sets for it never reaches another user
// of the pool.
func (r *Replayer) onGreen(ctx context.Context, f func(tx pgx.Tx) error) error {
	conn, err := r.Green.Pool().Acquire(ctx)
	if err != nil {
		return fmt.Errorf("green: %w", err)
	}
	defer conn.Release()
	return pgx.BeginFunc(ctx, conn.Conn(), func(tx pgx.Tx) error {
		if err := within(ctx, tx, schemaOf(r.Profile)); err != nil {
			return err
		}
		return f(tx)
	})
}

// transform loads a delta's rows into the scratch database and makes of them what the bulk was made of.
func (r *Replayer) transform(ctx context.Context, tx pgx.Tx, conn *pgx.Conn, dsn string, d *delta) error {
	if err := r.load(ctx, tx, conn, d.rows); err != nil {
		return err
	}
	if err := tx.Rollback(ctx); err != nil {
		return fmt.Errorf("read blue: %w", err)
	}
	return r.migrate(ctx, conn, dsn, d)
}

func (r *Replayer) openScratch(ctx context.Context) (dsn string, conn *pgx.Conn, err error) {
	if dsn, err = r.scratch.take(ctx); err != nil {
		return "", nil, err
	}
	conn, err = postgres.Connect(ctx, "scratch", dsn)
	return dsn, conn, err
}

func (r *Replayer) migrate(ctx context.Context, conn *pgx.Conn, dsn string, d *delta) error {
	if err := r.rules(ctx, conn, "before", d); err != nil {
		return err
	}
	if d.former != nil {
		if err := r.remember(ctx, conn, d); err != nil {
			return err
		}
	}
	if err := r.Migrator.Migrate(ctx, dsn); err != nil {
		return migrateError{fmt.Errorf("migrate the delta: %w", err)}
	}
	if err := r.rules(ctx, conn, "after", d); err != nil {
		return err
	}
	return r.leftQuarantine(ctx, conn, d)
}

func (r *Replayer) rules(ctx context.Context, conn *pgx.Conn, phase string, d *delta) error {
	results, err := r.Rules.Apply(ctx, conn, phase)
	for _, result := range results {
		d.moved = append(d.moved, result.Moved...)
	}
	if err != nil {
		return fmt.Errorf("clean the delta up (%s): %w", phase, err)
	}
	return nil
}

// leftQuarantine takes what rules put into the scratch's own quarantine.
func (r *Replayer) leftQuarantine(ctx context.Context, conn *pgx.Conn, d *delta) error {
	rows, err := conn.Query(ctx, `SELECT rule, table_name, key, row FROM tideover.quarantine ORDER BY id`)
	if err == nil {
		var moved []cleanup.Row
		moved, err = pgx.CollectRows(rows, pgx.RowToStructByPos[cleanup.Row])
		d.moved = append(d.moved, moved...)
	}
	if err != nil && postgres.Code(err) != "42P01" {
		return fmt.Errorf("read the delta's quarantine: %w", err)
	}
	return nil
}

func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
