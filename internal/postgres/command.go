package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
)

// Command is what a person asks the process at work on a run for. Term is the process's: the next one does not do what was
// asked of one that is gone.
type Command struct {
	ID   int64
	Term int64
	Data journal.AskedData
}

// Ask puts a command before the process that has a run with a term. It gives its number.
func (j *Journal) Ask(ctx context.Context, run string, term int64, d journal.AskedData) (id int64, err error) {
	const sql = `INSERT INTO tideover.command (run, term, data) VALUES ($1, $2, $3) RETURNING id`
	err = j.db.pool.QueryRow(ctx, sql, run, term, string(encode(d))).Scan(&id)
	switch Code(err) {
	case pgerrcode.ForeignKeyViolation:
		return 0, fmt.Errorf("%q in %s: %w", run, j.db, ErrNoRun)
	case pgerrcode.UndefinedTable:
		return 0, errOlder
	}
	if err != nil {
		return 0, j.wrap("ask the run's process", err)
	}
	return id, nil
}

var errOlder = errors.New("the run's process is of a tideover that can't be asked: it knows approve only")

// Answer is what the process said to a command; answered is false while it has said nothing.
func (j *Journal) Answer(ctx context.Context, id int64) (answered, done bool, text string, err error) {
	const sql = `SELECT answered IS NOT NULL, done, answer FROM tideover.command WHERE id = $1`
	if err := j.db.pool.QueryRow(ctx, sql, id).Scan(&answered, &done, &text); err != nil {
		return false, false, "", j.wrap("look for the answer", err)
	}
	return answered, done, text, nil
}

// TakeBack withdraws a command that nobody has answered. Afterwards nobody does what it asks for. It is false where it was answered
// in the last moment.
func (j *Journal) TakeBack(ctx context.Context, id int64) (bool, error) {
	const sql = `UPDATE tideover.command SET answered = pg_catalog.clock_timestamp(), answer = 'withdrawn: nobody answered' WHERE id = $1 AND answered IS NULL`
	tag, err := j.db.pool.Exec(ctx, sql, id)
	if err != nil {
		return false, j.wrap("withdraw what was asked", err)
	}
	return tag.RowsAffected() == 1, nil
}

// Commands are those of a run that nobody has answered, in order.
func (j *Journal) Commands(ctx context.Context, run string) ([]Command, error) {
	const sql = `SELECT id, term, data FROM tideover.command WHERE run = $1 AND answered IS NULL ORDER BY id LIMIT 100`
	rows, err := j.db.pool.Query(ctx, sql, run)
	if err != nil {
		return nil, j.wrap("look for commands", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Command, error) {
		var c Command
		var data []byte
		if err := row.Scan(&c.ID, &c.Term, &data); err != nil {
			return c, err
		}
		err := json.Unmarshal(data, &c.Data)
		c.Data.Command = c.ID
		return c, err
	})
	if err != nil {
		return nil, j.wrap("look for commands", err)
	}
	return all, nil
}

// Leave answers what was asked of a process that stops.
func (j *Journal) Leave(ctx context.Context, run string, term int64) error {
	const sql = `UPDATE tideover.command SET answered = pg_catalog.clock_timestamp(), answer = 'the process has stopped; see "tideover status"'
		WHERE run = $1 AND term = $2 AND answered IS NULL`
	if _, err := j.db.pool.Exec(ctx, sql, run, term); err != nil {
		return j.wrap("answer what was asked", err)
	}
	return nil
}

// ErrAnswered says that a command was answered, or withdrawn, meanwhile.
var ErrAnswered = errors.New("the command was answered meanwhile")

// AnswerIn answers a command in a transaction, once: with it goes the event that says so.
func AnswerIn(ctx context.Context, tx pgx.Tx, id int64, done bool, text string) error {
	const sql = `UPDATE tideover.command SET answered = pg_catalog.clock_timestamp(), done = $2, answer = $3 WHERE id = $1 AND answered IS NULL`
	tag, err := tx.Exec(ctx, sql, id, done, text)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrAnswered
	}
	return err
}

// WithdrawIn takes an approval back in a transaction, where there is one.
func WithdrawIn(ctx context.Context, tx pgx.Tx, run, step string) error {
	const sql = `DELETE FROM tideover.approval WHERE run = $1 AND step = $2`
	_, err := tx.Exec(ctx, sql, run, step)
	return err
}

// DB is the control database.
func (j *Journal) DB() *DB { return j.db }
