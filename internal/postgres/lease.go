package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/tideover/tideover/internal/journal"
)

const (
	heartbeatEvery   = time.Second
	heartbeatTimeout = 5 * time.Second // a server that doesn't answer for so long may have given the lock to another
	releaseTimeout   = 5 * time.Second
	takeGrace        = time.Second // a killed process's backend needs a moment to notice
)

// Lease is [journal.Lease] in Postgres: a session advisory lock on a connection of its own, plus the run's term.
//
// The lock covers the whole control database: one process at a time works there, on whichever run. It goes away with
// its connection, at once when the process dies; when the machine dies, as soon as TCP keepalives tell the server
// (about 25 s). The connection is watched all the time and asked something every second; once it has ended, Context
// is dead. Between the lock's end and that moment another process may take over: the term refuses our appends then.
type Lease struct {
	j    *Journal
	run  string
	term int64

	ctx      context.Context
	cancel   context.CancelCauseFunc
	conn     *pgx.Conn // used by watch alone, and by Release after it
	stop     context.CancelFunc
	watched  chan struct{}
	released chan struct{}
	once     sync.Once
}

// Create begins a run of a runbook and takes it. It creates the journal where there is none. The errors are an
// [*ActiveError] while another run of that name has not ended and a [*journal.HeldError] while another process is at
// work in this control database. The lease's Context ends with ctx too. The documents are kept with the run.
func (j *Journal) Create(ctx context.Context, started journal.RunStartedData, who journal.Holder, documents ...Document) (*Lease, error) {
	const sql = `INSERT INTO tideover.run (id, name, hash, runbook, term) VALUES ($1, $2, $3, $4, 0)`
	if err := j.Install(ctx); err != nil {
		return nil, err
	}
	return j.lease(ctx, newRunID(), who, func(tx pgx.Tx, l *Lease) error {
		if _, err := tx.Exec(ctx, sql, l.run, started.Name, started.Hash, started.Runbook); err != nil {
			return err
		}
		for _, d := range documents {
			if err := d.keep(ctx, tx, l.run); err != nil {
				return err
			}
		}
		_, err := l.append(ctx, tx, journal.Event{Kind: journal.RunStarted, Data: encode(started)})
		return err
	}, started.Name)
}

// Take takes over a run that has no living process. The error is a [*journal.HeldError] while there is one, and
// [ErrNoRun]; a run that has ended can't be taken.
func (j *Journal) Take(ctx context.Context, run string, who journal.Holder) (*Lease, error) {
	r, err := j.Find(ctx, run)
	if err != nil {
		return nil, err
	}
	if !r.Active() {
		return nil, fmt.Errorf("run %q has ended (%s)", run, r.Outcome)
	}
	if err := j.Install(ctx); err != nil { // what an older tideover's journal lacks
		return nil, err
	}
	return j.lease(ctx, run, who, func(pgx.Tx, *Lease) error { return nil }, r.Name)
}

// lease takes the lock, then, in one transaction, does what begin wants and raises the term.
func (j *Journal) lease(ctx context.Context, run string, who journal.Holder, begin func(pgx.Tx, *Lease) error, name string) (*Lease, error) {
	conn, err := j.db.ConnectAs(ctx, "lease")
	if err != nil {
		return nil, err
	}
	l := &Lease{j: j, run: run, conn: conn, watched: make(chan struct{}), released: make(chan struct{})}
	if err := j.lock(ctx, conn); err != nil {
		l.close()
		return nil, err
	}
	if err := pgx.BeginFunc(ctx, j.db.pool, func(tx pgx.Tx) error {
		if err := begin(tx, l); err != nil {
			return err
		}
		return l.raise(ctx, tx, who)
	}); err != nil {
		l.close()
		if Code(err) == pgerrcode.UniqueViolation {
			if active, findErr := j.Active(ctx, name); findErr == nil {
				return nil, &ActiveError{Run: active}
			}
		}
		return nil, j.wrap(fmt.Sprintf("take run %q", run), err)
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go l.watch(watch)
	return l, nil
}

// lock takes the session lock. The keepalives let the server notice a machine that is gone.
func (j *Journal) lock(ctx context.Context, conn *pgx.Conn) error {
	const keepalive = `SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3`
	const try = `SELECT pg_catalog.pg_try_advisory_lock($1, $2)`
	if _, err := conn.Exec(ctx, keepalive, pgx.QueryExecModeSimpleProtocol); err != nil {
		return j.wrap("take the lease", err)
	}
	ours, err := AwaitLock(ctx, conn, takeGrace, try, lockClass, lockLease)
	switch {
	case err != nil:
		return j.wrap("take the lease", err)
	case !ours:
		return j.held(ctx)
	}
	return nil
}

// held finds out who holds the lock. Of the runs that one process took, one after the other, the last counts.
func (j *Journal) held(ctx context.Context) error {
	runs, err := j.runs(ctx, `ORDER BY r.taken DESC`)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if r.Held {
			return &journal.HeldError{Holder: r.Holder}
		}
	}
	return &journal.HeldError{}
}

// raise gives this process the next term and stores it as an event of that term.
func (l *Lease) raise(ctx context.Context, tx pgx.Tx, who journal.Holder) error {
	const sql = `
UPDATE tideover.run
SET term = term + 1, host = $2, pid = $3, username = $4, backend = $5, taken = pg_catalog.clock_timestamp()
WHERE id = $1 AND ended IS NULL RETURNING term`
	backend := int32(l.conn.PgConn().PID())
	err := tx.QueryRow(ctx, sql, l.run, who.Host, who.PID, who.User, backend).Scan(&l.term)
	if errors.Is(err, pgx.ErrNoRows) {
		return errors.New("the run has ended meanwhile")
	}
	if err != nil {
		return err
	}
	_, err = l.append(ctx, tx, journal.Event{Kind: journal.RunTaken, Data: encode(journal.RunTakenData{
		Term: l.term, Host: who.Host, PID: who.PID, User: who.User,
	})})
	return err
}

// Run is the run's id.
func (l *Lease) Run() string { return l.run }

// Term is the number that every append is checked against.
func (l *Lease) Term() int64 { return l.term }

// Context dies with [journal.ErrLeaseLost] when the lease's connection ends.
func (l *Lease) Context() context.Context { return l.ctx }

// watch reads the connection until something goes wrong with it or ctx, which is not the lease's own, ends. Reading
// notices at once that the server has ended the session; the heartbeat notices a server that has fallen silent.
func (l *Lease) watch(ctx context.Context) {
	defer close(l.watched)
	for {
		wait, cancel := context.WithTimeout(ctx, heartbeatEvery)
		err := l.conn.PgConn().WaitForNotification(wait)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil && !pgconn.Timeout(err) {
			l.lose(err)
			return
		}
		beat, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeatTimeout)
		_, err = l.conn.Exec(beat, `SELECT 1`)
		cancel()
		if err != nil {
			l.lose(err)
			return
		}
	}
}

func (l *Lease) lose(err error) { l.cancel(fmt.Errorf("%w: %w", journal.ErrLeaseLost, err)) }

// Release ends the work under the lease's context and unlocks before it closes the connection: a close alone would
// return before the server has noticed, and the next process would find the lock held.
func (l *Lease) Release() {
	l.once.Do(func() {
		close(l.released)
		l.cancel(journal.ErrReleased)
		l.stop()
		<-l.watched
		l.close()
	})
}

func (l *Lease) close() {
	const sql = `SELECT pg_catalog.pg_advisory_unlock_all()`
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	_, _ = l.conn.Exec(ctx, sql) // a connection that has ended holds no lock
	_ = l.conn.Close(ctx)
}
