package migrate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// Notice is what an executor has to say while it works. A Unit makes it progress: Done of Total (0: nobody knows).
type Notice struct {
	Warn        bool
	Waits       bool   // it is about a session that is waited for
	Again       bool   // it is about something that is tried again
	Text        string // for people; of other sessions' queries it has the shape alone, without values
	Done, Total int64
	Unit        string
}

// Executor runs the files of a rewritten migration on a database in use.
//
// A step that holds a lock that blocks somebody waits for it no longer than the budget's timeout, shared between the
// tables that it locks, and is tried again with pauses. Work that blocks nobody (index builds, back-fills) has a patience of
// its own: a short limit would only make it never land, since it waits for every transaction that was open before it.
type Executor struct {
	Conn   *pgx.Conn // does the work
	Watch  *pgx.Conn // looks at what Conn waits for; nil: nothing is explained
	Budget postgres.Budget
	// Patience bounds one attempt of work that blocks nobody; 0: 10 minutes. The attempts go on for six times as long.
	Patience time.Duration
	// EndBlockers are application names whose sessions are ended when they hold up a lock; empty: none ever is.
	EndBlockers []string
	Tell        func(Notice) // may be nil; one call at a time

	mu sync.Mutex
}

const defaultPatience = 10 * time.Minute

// Run runs the steps of a file from number begin on, counted from 0. After each, done stores how far it is: in the step's
// own transaction where it has one. Steps outside a transaction may be run again after a crash.
func (e *Executor) Run(ctx context.Context, f sqlrewrite.File, begin int, done func(ctx context.Context, db postgres.Execer, step, steps int) error) error {
	steps, err := f.Steps()
	if err != nil {
		return err
	}
	if len(steps) == 0 { // an empty file without a transaction
		steps = []sqlrewrite.Step{{Transaction: true, Work: sqlrewrite.Moment}}
	}
	if err := e.again(ctx, steps[:begin]); err != nil {
		return err
	}
	for i := begin; i < len(steps); i++ {
		st := steps[i]
		if st.Work == sqlrewrite.Indexes {
			if err := e.longTransactions(ctx); err != nil {
				return err
			}
		}
		err := e.watched(ctx, f.Name, st, func(ctx context.Context) error {
			return postgres.Retry(ctx, e.budget(st), func(ctx context.Context) error {
				err := e.attempt(ctx, st, func(ctx context.Context, db postgres.Execer) error {
					if done == nil {
						return nil
					}
					return done(ctx, db, i+1, len(steps))
				})
				e.sayRetry(ctx, f.Name, err)
				return err
			})
		})
		if err != nil {
			e.tidy(ctx, st)
			return err
		}
	}
	return nil
}

// tidy drops what a failed index build has left. It must not wait for the next run: a unique index that is not valid refuses
// the server's rows already. What can't be dropped now, the next run drops.
func (e *Executor) tidy(ctx context.Context, st sqlrewrite.Step) {
	if st.Work != sqlrewrite.Indexes || len(st.Statements) < 2 || e.Conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	guard := st
	guard.Statements = st.Statements[:1] // finds left-overs and drops them
	err := postgres.Retry(ctx, postgres.Budget{Timeout: e.Budget.Timeout, Retry: 8 * time.Second}, func(ctx context.Context) error {
		return e.each(ctx, e.Conn, guard)
	})
	if err != nil {
		e.tell(Notice{Warn: true, Text: "an index that is not valid is left, and may refuse rows: " + err.Error()})
	}
}

func (e *Executor) sayRetry(ctx context.Context, file string, err error) {
	switch code := postgres.Code(err); code {
	case pgerrcode.LockNotAvailable, pgerrcode.DeadlockDetected:
		if ctx.Err() == nil {
			e.tell(Notice{Warn: true, Again: true, Text: fmt.Sprintf("%s: no lock in time (SQLSTATE %s); traffic goes on, and it is tried again", file, code)})
		}
	}
}

func (e *Executor) tell(n Notice) {
	if e.Tell != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.Tell(n)
	}
}

func (e *Executor) patience() time.Duration {
	if e.Patience > 0 {
		return e.Patience
	}
	return defaultPatience
}

// budget is what all attempts of a step may take.
func (e *Executor) budget(st sqlrewrite.Step) postgres.Budget {
	b := e.Budget
	if b.Timeout <= 0 {
		b.Timeout = postgres.DefaultBudget().Timeout
	}
	switch {
	case patient(st.Work):
		b.Timeout, b.Retry = e.patience(), 6*e.patience()
	default:
		// Who queues behind us waits for our wait, for the statement itself, and until all that have queued up had their turn; with
		// several tables, the first stays locked while the next is waited for.
		b.Timeout = b.Timeout / 2 / time.Duration(max(st.Tables, 1))
	}
	return b
}

func patient(w sqlrewrite.Work) bool {
	return w == sqlrewrite.Indexes || w == sqlrewrite.Batches || w == sqlrewrite.Detach
}

// attempt runs a step once.
func (e *Executor) attempt(ctx context.Context, st sqlrewrite.Step, done func(context.Context, postgres.Execer) error) error {
	wait := fmt.Sprintf("SET lock_timeout = %d", max(e.budget(st).Timeout.Milliseconds(), 1))
	if _, err := e.Conn.Exec(ctx, wait); err != nil {
		return err
	}
	if st.Transaction {
		return pgx.BeginFunc(ctx, e.Conn, func(tx pgx.Tx) error {
			if err := e.each(ctx, tx.Conn(), st); err != nil {
				return err
			}
			return done(ctx, tx)
		})
	}
	if err := e.each(ctx, e.Conn, st); err != nil {
		return err
	}
	return done(ctx, e.Conn)
}

// each sends the statements as text, one at a time: COMMIT in a DO block and CONCURRENTLY want no implicit transaction.
func (e *Executor) each(ctx context.Context, conn *pgx.Conn, st sqlrewrite.Step) error {
	for _, s := range st.Statements {
		if gone, err := detached(ctx, conn, s); err != nil || gone {
			return err
		}
		if _, err := conn.PgConn().Exec(ctx, s.SQL).ReadAll(); err != nil {
			return &statementError{file: s.File, line: s.Line, shape: sqlrewrite.Shape(s.SQL), err: err}
		}
	}
	return nil
}

// detached says whether a partition is already off: DETACH … CONCURRENTLY was done, and the crash came before its record.
func detached(ctx context.Context, conn *pgx.Conn, s *sqlrewrite.Statement) (bool, error) {
	const is = `SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = pg_catalog.to_regclass($1))`
	_, part, ok := s.Detached()
	if !ok {
		return false, nil
	}
	ident := pgx.Identifier{part.GetRelname()}
	if part.GetSchemaname() != "" {
		ident = pgx.Identifier{part.GetSchemaname(), part.GetRelname()}
	}
	var gone bool
	err := conn.QueryRow(ctx, is, ident.Sanitize()).Scan(&gone)
	return gone, err
}

// statementError names the statement by line and shape.
type statementError struct {
	file  string
	line  int
	shape string
	err   error
}

func (e *statementError) Error() string {
	return fmt.Sprintf("line %d of the rewritten file (%s): %v", e.line, e.shape, e.err)
}

func (e *statementError) Unwrap() error { return e.err }
