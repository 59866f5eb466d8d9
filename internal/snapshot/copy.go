package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Options describe a copy.
type Options struct {
	Blue, Green *postgres.DB
	Profile     *plan.Profile // may be nil: all tables are copied, whatever the profile names
	Jobs        int           // parallel tables and indexes; default 2
	BinDir      string        // folder of pg_dump and pg_restore; "": PATH, then the usual places
	Privileges  bool          // owners and grants too; their roles must exist on green

	// Progress is told how many bytes of how many are over, as blue's disk counts them. Calls come one at a time.
	Progress func(done, total int64, note string)
	// Done names the tables ("schema.table") that the caller's journal has as copied. Green itself records every table in the
	// transaction that filled it, and that record decides: a table in Done that green does not confirm is copied
	// again (green was replaced meanwhile), one that green confirms is skipped even if it is not in Done.
	Done map[string]bool
	// TableDone is called after a table is committed on green, from the worker that copied it.
	TableDone func(ctx context.Context, table string, rows int64) error
}

// ErrNotEmpty says that green has tables that no copy of ours put there.
var ErrNotEmpty = errors.New("green is not empty")

type notEmptyError struct{ name string }

func (e *notEmptyError) Error() string {
	return fmt.Sprintf("%s has objects that no copy of ours put there", e.name)
}
func (e *notEmptyError) Is(target error) bool { return target == ErrNotEmpty }
func (e *notEmptyError) Hint() string {
	return "give green an empty database: what is in this one would be mixed up with the copy"
}

// ErrSchemaChanged says that blue's schema is another than when the copy began.
var ErrSchemaChanged = errors.New("blue's schema changed since the copy began: clear green and start over")

// Copy copies blue into green, or goes on with a copy that was cut off, and returns how many rows this call copied.
// Afterwards green has everything that the package comment names. Errors: ErrNotEmpty, ErrSchemaChanged, [*ProgramError].
//
// Calling it again after it is complete copies nothing.
func Copy(ctx context.Context, o Options) (rows int64, err error) {
	if o.Jobs <= 0 {
		o.Jobs = 2
	}
	blue, snapshot, err := export(ctx, o.Blue.DSN())
	if err != nil {
		return 0, err
	}
	defer hang(ctx, blue)
	green, err := connect(ctx, o.Green.Name(), o.Green.DSN())
	if err != nil {
		return 0, err
	}
	defer hang(ctx, green)
	unlock, err := lock(ctx, green)
	if err != nil {
		return 0, err
	}
	defer unlock()
	c := &copying{Options: o, snapshot: snapshot}
	if c.marks, err = begin(ctx, green, o.Green.Name()); err != nil {
		return 0, err
	}
	a, err := dump(ctx, blue, o.Blue.DSN(), snapshot, o.BinDir, o.Privileges)
	if err != nil {
		return 0, err
	}
	defer a.remove()
	if err := c.preData(ctx, green, a); err != nil {
		return 0, err
	}
	if rows, err = c.tables(ctx, blue); err != nil {
		return rows, err
	}
	if err := c.largeObjects(ctx, blue, green); err != nil {
		return rows, err
	}
	if err := c.postData(ctx, green, a); err != nil {
		return rows, err
	}
	if !c.marks["finished"] {
		if err := setSequences(ctx, blue, green); err != nil {
			return rows, err
		}
		if err := refresh(ctx, blue, green); err != nil {
			return rows, err
		}
		c.note("analyze")
		if _, err := green.Exec(ctx, `ANALYZE`); err != nil {
			return rows, fmt.Errorf("analyze green: %w", err)
		}
		if _, err := green.Exec(ctx, mark, "finished", 0); err != nil {
			return rows, fmt.Errorf("record the copy: %w", err)
		}
	}
	return rows, nil
}

// copying is one call of Copy.
type copying struct {
	Options
	snapshot string
	marks    map[string]bool // what green records as done

	mu          sync.Mutex
	done, total int64
}

// add counts bytes and tells the caller.
func (c *copying) add(n int64, note string) {
	if c.Progress == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	c.Progress(min(c.done, c.total), c.total, note)
}

func (c *copying) note(text string) { c.add(0, text) }

func (c *copying) preData(ctx context.Context, green *pgx.Conn, a *archive) error {
	entries, err := a.entries(ctx, "pre-data")
	if err != nil {
		return err
	}
	sql, err := a.sql(ctx, entries)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(withoutComments(sql)))
	name := "schema " + hex.EncodeToString(sum[:])
	if c.marks[name] {
		return nil
	}
	if c.marks["schema"] {
		return ErrSchemaChanged
	}
	c.note("schema")
	return pgx.BeginFunc(ctx, green, func(tx pgx.Tx) error {
		if err := script(ctx, green, sql); err != nil {
			return fmt.Errorf("restore blue's tables on green: %w", err)
		}
		for _, part := range []string{"schema", name} {
			if _, err := tx.Exec(ctx, mark, part, 0); err != nil {
				return fmt.Errorf("record the schema: %w", err)
			}
		}
		return nil
	})
}

// tables copies what is not over yet, on c.Jobs pairs of sessions that share the snapshot.
func (c *copying) tables(ctx context.Context, leader *pgx.Conn) (int64, error) {
	all, err := relations(ctx, leader)
	if err != nil {
		return 0, err
	}
	queue := make(chan relation, len(all))
	for _, r := range all {
		c.total += r.bytes
		if c.marks["table "+r.String()] {
			c.done += r.bytes
			continue
		}
		queue <- r
	}
	close(queue)
	workers := min(c.Jobs, len(queue))
	counts := make([]int64, workers)
	group, ctx := errgroup.WithContext(ctx)
	for i := range workers {
		group.Go(func() error {
			blue, err := c.follow(ctx)
			if err != nil {
				return err
			}
			defer hang(ctx, blue)
			green, err := connect(ctx, c.Green.Name(), c.Green.DSN())
			if err != nil {
				return err
			}
			defer hang(ctx, green)
			for r := range queue {
				if err := ctx.Err(); err != nil {
					return context.Cause(ctx)
				}
				n, err := c.table(ctx, blue, green, r)
				if err != nil {
					return err
				}
				counts[i] += n
			}
			return nil
		})
	}
	err = group.Wait()
	var rows int64
	for _, n := range counts {
		rows += n
	}
	return rows, err
}

// follow opens a session on blue that reads the leader's snapshot.
func (c *copying) follow(ctx context.Context) (*pgx.Conn, error) {
	conn, err := connect(ctx, c.Blue.Name(), c.Blue.DSN())
	if err != nil {
		return nil, err
	}
	// SET TRANSACTION takes no parameters; the name is the server's own and has no quotes.
	if err := script(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '"+c.snapshot+"'"); err != nil {
		hang(ctx, conn)
		return nil, fmt.Errorf("take over the snapshot: %w", err)
	}
	return conn, nil
}

// table empties, fills and records one table in one transaction.
func (c *copying) table(ctx context.Context, blue, green *pgx.Conn, r relation) (rows int64, err error) {
	var counted int64
	moved := func(n int64) {
		n = min(n, r.bytes-counted)
		counted += n
		c.add(n, r.String())
	}
	err = pgx.BeginFunc(ctx, green, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "TRUNCATE "+r.identifier().Sanitize()); err != nil {
			return fmt.Errorf("table %s: empty it on green: %w", r, err)
		}
		if rows, err = stream(ctx, blue, green, r, true, moved); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, mark, "table "+r.String(), rows); err != nil {
			return fmt.Errorf("table %s: record it: %w", r, err)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	c.add(r.bytes-counted, r.String())
	if c.TableDone != nil {
		if err := c.TableDone(ctx, r.String(), rows); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// patience is how long lock waits: the server needs a moment to see that a process was killed, and to end its sessions.
const patience = 30 * time.Second

// lock makes sure that one process at a time copies into a green. It is a session lock: it dies with its owner.
func lock(ctx context.Context, green *pgx.Conn) (unlock func(), err error) {
	const try = `SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('tideover snapshot', 0))`
	for until := time.Now().Add(patience); ; {
		var got bool
		if err := green.QueryRow(ctx, try).Scan(&got); err != nil {
			return nil, fmt.Errorf("lock green: %w", err)
		}
		if got {
			break
		}
		if time.Now().After(until) {
			return nil, errors.New("another process is copying into green at this moment")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_, _ = green.Exec(ctx, `SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('tideover snapshot', 0))`)
	}, nil
}
