package cutover

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// sqlParticipant is a flag in a table. Each action is one transaction, which may be several statements; it can read
// current_setting('tideover.run'), 'tideover.term', 'tideover.call' and 'tideover.action', for instance to refuse an
// older term.
type sqlParticipant struct {
	base
	spec *plan.SQLSpec
}

func newSQL(b base, spec *plan.SQLSpec) (Participant, error) {
	return &sqlParticipant{base: b, spec: spec}, nil
}

// Prepare wants the flag to be on blue.
func (p *sqlParticipant) Prepare(ctx context.Context, t Ticket) error {
	side, err := p.Side(ctx, t)
	if err == nil && side != plan.Blue {
		return fmt.Errorf("status_sql says %q, want blue", side)
	}
	return err
}

func (p *sqlParticipant) Commit(ctx context.Context, t Ticket) error {
	return p.run(ctx, t, "commit", p.spec.CommitSQL)
}

func (p *sqlParticipant) Abort(ctx context.Context, t Ticket) error {
	return p.run(ctx, t, "abort", p.spec.AbortSQL)
}

func (p *sqlParticipant) Side(ctx context.Context, _ Ticket) (side plan.Side, err error) {
	err = p.within(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(ctx context.Context, tx pgx.Tx) error {
		var answer *string
		err := tx.QueryRow(ctx, p.spec.StatusSQL).Scan(&answer)
		if err == nil && answer != nil {
			side = known(plan.Side(*answer))
		}
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return side, err
}

const tellSQL = `SELECT pg_catalog.set_config('tideover.run', $1, true), pg_catalog.set_config('tideover.term', $2, true),
	pg_catalog.set_config('tideover.action', $3, true), pg_catalog.set_config('tideover.call', $4, true)`

func (p *sqlParticipant) run(ctx context.Context, t Ticket, action, sql string) error {
	return p.within(ctx, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, tellSQL, t.Run, strconv.FormatInt(t.Term, 10), action, strconv.FormatInt(t.Call, 10)); err != nil {
			return err
		}
		// The simple protocol takes several statements at once (Postgres manual 55.2.2).
		_, err := tx.Conn().PgConn().Exec(ctx, sql).ReadAll()
		return err
	})
}

// within gives f a transaction of a new connection: calls are rare, and the last one may be hours ago.
func (p *sqlParticipant) within(ctx context.Context, options pgx.TxOptions, f func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	conn, err := postgres.ConnectAsIs(ctx, p.name, p.spec.DSN)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		conn.Close(end)
	}()
	return pgx.BeginTxFunc(ctx, conn, options, func(tx pgx.Tx) error { return f(ctx, tx) })
}
