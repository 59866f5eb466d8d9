package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/tideover/tideover/internal/journal"
)

// Journal stores the events of runs in schema tideover of the control database. It holds the only copy of what a run
// knows about itself.
//
// A run is written by one process at a time: see [Lease]. Anybody may read.
type Journal struct {
	db *DB
}

// NewJournal is the journal in a database. It changes nothing there: Create and Install do.
func NewJournal(db *DB) *Journal { return &Journal{db: db} }

// Run is one run as the journal lists it.
type Run struct {
	ID      string
	Name    string // of the runbook
	Hash    string
	Runbook string // path as the user gave it
	Seq     int64  // of the last event
	Holder  journal.Holder
	Created time.Time
	Ended   time.Time    // zero: active
	Outcome journal.Kind // run.completed, run.aborted or run.rolled_back; "" while active
	Held    bool         // a living process holds it now
}

// Active says that the run has not ended.
func (r Run) Active() bool { return r.Ended.IsZero() }

// ActiveError says that a run of the same runbook has not ended.
type ActiveError struct{ Run Run }

func (e *ActiveError) Error() string {
	return fmt.Sprintf("run %q of runbook %q has not ended", e.Run.ID, e.Run.Name)
}

// Hint says what a person can do.
func (e *ActiveError) Hint() string {
	return fmt.Sprintf("go on with \"tideover resume %s\", or take it back with \"tideover rollback %s\"", e.Run.Runbook, e.Run.Runbook)
}

// ErrNoRun says that the journal has no such run.
var ErrNoRun = errors.New("the journal has no such run")

// The lock's holder is the backend that pg_locks names: a backend id that was used again would name a wrong one only
// if it held this very lock.
const selectRuns = `
SELECT r.id, r.name, r.hash, r.runbook, r.seq, r.term, r.host, r.pid, r.username, r.taken, r.created, r.ended, r.outcome,
	r.ended IS NULL AND EXISTS (
		SELECT FROM pg_catalog.pg_locks l
		WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2 AND l.objsubid = 2 AND l.pid = r.backend
		AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())) AS held
FROM tideover.run r `

// Runs lists all runs, the newest first. A database without a journal has none.
func (j *Journal) Runs(ctx context.Context) ([]Run, error) {
	return j.runs(ctx, `ORDER BY r.created DESC, r.id`)
}

// Find returns a run by its id, or ErrNoRun.
func (j *Journal) Find(ctx context.Context, id string) (Run, error) {
	return j.one(ctx, `WHERE r.id = $3`, id)
}

// Active returns the run of a runbook, by its name, that has not ended, or ErrNoRun. There is one at most.
func (j *Journal) Active(ctx context.Context, name string) (Run, error) {
	return j.one(ctx, `WHERE r.name = $3 AND r.ended IS NULL`, name)
}

// Latest returns the newest run of a runbook, ended or not, or ErrNoRun.
func (j *Journal) Latest(ctx context.Context, name string) (Run, error) {
	return j.one(ctx, `WHERE r.name = $3 ORDER BY r.created DESC LIMIT 1`, name)
}

func (j *Journal) one(ctx context.Context, where string, arg any) (Run, error) {
	runs, err := j.runs(ctx, where, arg)
	if err != nil {
		return Run{}, err
	}
	if len(runs) == 0 {
		return Run{}, fmt.Errorf("%v in %s: %w", arg, j.db, ErrNoRun)
	}
	return runs[0], nil
}

func (j *Journal) runs(ctx context.Context, where string, args ...any) ([]Run, error) {
	if there, err := j.installed(ctx); err != nil || !there {
		return nil, err
	}
	rows, err := j.db.pool.Query(ctx, selectRuns+where, append([]any{lockClass, lockLease}, args...)...)
	if err != nil {
		return nil, j.wrap("list runs", err)
	}
	runs, err := pgx.CollectRows(rows, scanRun)
	if err != nil {
		return nil, j.wrap("list runs", err)
	}
	return runs, nil
}

func scanRun(row pgx.CollectableRow) (Run, error) {
	var r Run
	var ended *time.Time
	err := row.Scan(&r.ID, &r.Name, &r.Hash, &r.Runbook, &r.Seq, &r.Holder.Term, &r.Holder.Host, &r.Holder.PID,
		&r.Holder.User, &r.Holder.Since, &r.Created, &ended, &r.Outcome, &r.Held)
	if ended != nil {
		r.Ended = *ended
	}
	r.Holder.Run = r.ID
	return r, err
}

// Load returns a run's events after a number, in order: all of them after 0.
func (j *Journal) Load(ctx context.Context, run string, after int64) ([]journal.Event, error) {
	const sql = `SELECT seq, time, run, step, kind, data FROM tideover.event WHERE run = $1 AND seq > $2 ORDER BY seq`
	rows, err := j.db.pool.Query(ctx, sql, run, after)
	if err != nil {
		return nil, j.wrap("read events", err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (journal.Event, error) {
		var e journal.Event
		var data []byte
		err := row.Scan(&e.Seq, &e.Time, &e.Run, &e.Step, &e.Kind, &data)
		e.Data = data
		return e, err
	})
	if err != nil {
		return nil, j.wrap("read events", err)
	}
	return events, nil
}

// Follow calls f with a run's events after a number as they come, until the run ends (nil), f returns an error, or ctx
// ends. It asks every so often rather than LISTEN: a NOTIFY in each append would take a lock that all sessions of blue's
// server share at commit (Postgres manual, NOTIFY).
func (j *Journal) Follow(ctx context.Context, run string, after int64, every time.Duration, f func(journal.Event) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		events, err := j.Load(ctx, run, after)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := f(e); err != nil {
				return err
			}
			after = e.Seq
			if ends(e.Kind) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// Approve opens the gate of a step. It may be called from any process, before the gate is reached too. A second
// approval changes nothing.
func (j *Journal) Approve(ctx context.Context, run, step, by, host, reason string) error {
	const sql = `INSERT INTO tideover.approval (run, step, who, host, reason) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	if err := j.Install(ctx); err != nil { // what an older tideover's journal lacks
		return err
	}
	if _, err := j.db.pool.Exec(ctx, sql, run, step, by, host, reason); err != nil {
		if Code(err) == pgerrcode.ForeignKeyViolation {
			return fmt.Errorf("approve step %q of %q in %s: %w", step, run, j.db, ErrNoRun)
		}
		return j.wrap("approve step", err)
	}
	return nil
}

// Withdraw takes an approval back that has not been seen yet, and says whether there was one.
func (j *Journal) Withdraw(ctx context.Context, run, step string) (bool, error) {
	const sql = `DELETE FROM tideover.approval WHERE run = $1 AND step = $2`
	tag, err := j.db.pool.Exec(ctx, sql, run, step)
	if err != nil {
		return false, j.wrap("withdraw an approval", err)
	}
	return tag.RowsAffected() > 0, nil
}

// Approved says who opened the gate of a step; "" while nobody has.
func (j *Journal) Approved(ctx context.Context, run, step string) (by string, err error) {
	a, err := j.Approval(ctx, run, step)
	return a.By, err
}

// Approval says who opened the gate of a step, from where and why; By is "" while nobody has.
func (j *Journal) Approval(ctx context.Context, run, step string) (a journal.ApprovedData, err error) {
	const sql = `SELECT who, coalesce(to_json(a) ->> 'host', ''), coalesce(to_json(a) ->> 'reason', '') FROM tideover.approval a WHERE run = $1 AND step = $2`
	err = j.db.pool.QueryRow(ctx, sql, run, step).Scan(&a.By, &a.Host, &a.Reason) // columns that a journal of an older tideover lacks
	if errors.Is(err, pgx.ErrNoRows) {
		return a, nil
	}
	if err != nil {
		return a, j.wrap("look for an approval", err)
	}
	return a, nil
}

// rowsKey is what an approval of a rule's rows has in place of a step's id, which has no colon.
const rowsKey = "rule:"

// ApproveRows lets a clean-up rule of a run have so many rows, where that is more than the rule expects.
func (j *Journal) ApproveRows(ctx context.Context, run, rule string, rows int64, by string) error {
	return j.Approve(ctx, run, fmt.Sprintf("%s%d:%s", rowsKey, rows, rule), by, "", "")
}

// ApprovedRows are the rows that persons have approved, by rule.
func (j *Journal) ApprovedRows(ctx context.Context, run string) (map[string]int64, error) {
	const sql = `SELECT step FROM tideover.approval WHERE run = $1 AND starts_with(step, $2)`
	rows, err := j.db.pool.Query(ctx, sql, run, rowsKey)
	if err != nil {
		return nil, j.wrap("look for approvals", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, j.wrap("look for approvals", err)
	}
	approved := map[string]int64{}
	for _, key := range keys {
		number, rule, _ := strings.Cut(strings.TrimPrefix(key, rowsKey), ":")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the approval %q in %s is not ours: %w", key, j.db, err)
		}
		approved[rule] = max(approved[rule], n)
	}
	return approved, nil
}

func ends(kind journal.Kind) bool {
	return kind == journal.RunCompleted || kind == journal.RunAborted || kind == journal.RunRolledBack
}

// newRunID is short enough to be typed: 8 letters and digits, 40 bits by chance.
func newRunID() string { return strings.ToLower(rand.Text()[:8]) }

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only for our own plain structs
	}
	return b
}

// Beginners are the processes that began the runs, by run.
func (j *Journal) Beginners(ctx context.Context) (map[string]journal.RunTakenData, error) {
	const sql = `SELECT DISTINCT ON (run) run, data FROM tideover.event WHERE kind = 'run.taken' ORDER BY run, seq`
	began := map[string]journal.RunTakenData{}
	if there, err := j.installed(ctx); err != nil || !there {
		return began, err
	}
	rows, err := j.db.pool.Query(ctx, sql)
	if err != nil {
		return nil, j.wrap("list who began the runs", err)
	}
	var run string
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&run, &data}, func() error {
		var d journal.RunTakenData
		if err := json.Unmarshal(data, &d); err != nil {
			return err
		}
		began[run] = d
		return nil
	})
	if err != nil {
		return nil, j.wrap("list who began the runs", err)
	}
	return began, nil
}
