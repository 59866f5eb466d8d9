package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	Jobs        int           // sessions on blue that read, and as many on green that build indexes; default 2
	BinDir      string        // folder of pg_dump and pg_restore; "": PATH, then the usual places
	Privileges  bool          // owners and grants too; their roles must exist on green
	Chunk       int64         // bytes: a table is copied in pieces of it; default 2 GiB
	Pace        Pace          // what blue may feel of it
	// Triggers says that triggers of ours record the changes of the profile's tables: a copy that goes on knows by them
	// what changed, and is refused where they are not those of then. Without, it copies again what it had.
	Triggers bool

	// Progress is told how far the copy is, several times a second at most. Calls come one at a time.
	Progress func(Progress)
	// PartDone is called after a table, or a piece of one, is committed on green, from the worker that copied it. Its error
	// ends the copy. It is for the caller's journal: Copy itself goes by green's own records, which are written in the
	// transaction of what they record, and are gone when green is another database.
	PartDone func(ctx context.Context, part string, rows int64) error
}

// Result is what a copy did.
type Result struct {
	Rows  int64 // copied by this call
	Total int64 // on green, by this call and those before it
}

// Copy copies blue into green, or goes on with a copy that was cut off. Afterwards green has everything that the package
// comment names. Errors: ErrNotEmpty, ErrSchemaChanged, [*NotCapturedError], [*RewrittenError], [*ProgramError].
//
// Calling it again after it is complete copies nothing.
func Copy(ctx context.Context, o Options) (result Result, err error) {
	if o.Jobs <= 0 {
		o.Jobs = 2
	}
	if o.Chunk <= 0 {
		o.Chunk = chunkDefault
	}
	if err := o.Pace.Able(ctx, o.Blue); err != nil {
		return result, err
	}
	c := &copying{Options: o, meter: newMeter(o.Progress)}
	green, err := c.connectGreen(ctx)
	if err != nil {
		return result, err
	}
	defer postgres.HangUp(ctx, green.Conn)
	unlock, err := lock(ctx, green.Conn)
	if err != nil {
		return result, err
	}
	defer unlock()
	if c.marks, err = readMarks(ctx, green.Conn, o.Green.Name()); err != nil {
		return result, err
	}
	if c.marks.names[finished] {
		return Result{Total: c.marks.rows}, nil
	}
	result.Rows, err = c.run(ctx, green)
	if err != nil {
		return result, explain(ctx, err)
	}
	m, err := readMarks(ctx, green.Conn, o.Green.Name())
	if err != nil {
		return result, err
	}
	result.Total = m.rows
	return result, nil
}

// finished is the mark of a copy that is complete.
const finished = "finished"

// copying is one call of Copy.
type copying struct {
	Options
	meter    *meter
	snapshot string // the exported snapshot's name
	taken    string // what it sees, as a pg_snapshot
	marks    *marks
	settled  bool // all rows were on green before, and of one moment
	pace     *pace
	path     string // where blue's functions look names up
}

func (c *copying) run(ctx context.Context, green *session) (rows int64, err error) {
	blue, name, err := export(ctx, c.Blue.DSN())
	if err != nil {
		return 0, err
	}
	defer func() { postgres.HangUp(ctx, blue.Conn) }()
	c.snapshot = name
	if err := Admit(ctx, blue.Conn, green.Conn); err != nil {
		return 0, err
	}
	if err := blue.QueryRow(ctx, `SELECT pg_catalog.pg_current_snapshot()::text`).Scan(&c.taken); err != nil {
		return 0, fmt.Errorf("look at blue's snapshot: %w", err)
	}
	a, err := dump(ctx, blue.Conn, c.Blue.DSN(), name, c.BinDir, c.Privileges)
	if err != nil {
		return 0, err
	}
	defer a.remove()
	if c.path, err = pathOf(ctx, blue.Conn, schemaOf(c.Profile)); err != nil {
		return 0, err
	}
	catalogs, err := catalogSum(ctx, blue.Conn)
	if err != nil {
		return 0, err
	}
	sum, err := c.preData(ctx, green.Conn, a)
	if err != nil {
		return 0, err
	}
	if err := script(ctx, green.Conn, setPath(c.path)); err != nil {
		return 0, fmt.Errorf("set the search path: %w", err)
	}
	all, err := relations(ctx, blue.Conn)
	if err != nil {
		return 0, err
	}
	build, err := c.newBuilder(ctx, blue.Conn, a, all)
	if err != nil {
		return 0, err
	}
	todo := c.todo(blue.Conn, all)
	c.settled = len(todo) == 0 && c.oneMoment()
	if !c.settled {
		if err := c.catchUp(ctx, blue, green, all); err != nil {
			return 0, err
		}
		todo = c.todo(blue.Conn, all)
	}
	if rows, err = c.data(ctx, blue, green, build, all, todo); err != nil {
		return rows, err
	}
	if err := build.rest(ctx, green.Conn); err != nil {
		return rows, err
	}
	if err := setSequences(ctx, blue.Conn, green.Conn); err != nil {
		return rows, err
	}
	if err := refresh(ctx, blue.Conn, green.Conn); err != nil {
		return rows, err
	}
	if err := build.eventTriggers(ctx, green.Conn); err != nil {
		return rows, err
	}
	if err := c.sameSchema(ctx, sum, catalogs); err != nil {
		return rows, err
	}
	return rows, c.finish(ctx, green.Conn)
}

// oneMoment says whether all that is on green was read from one snapshot of blue.
func (c *copying) oneMoment() bool {
	taken := map[string]bool{}
	for _, parts := range c.marks.parts {
		for _, p := range parts {
			taken[p.taken] = true
		}
	}
	if t := c.marks.taken[largeObjects]; t != "" {
		taken[t] = true
	}
	return len(taken) <= 1
}

// todo lists the parts that are not on green yet, largest first.
func (c *copying) todo(blue *pgx.Conn, all []relation) []part {
	v := blue.PgConn().ParameterStatus("server_version")
	canSeek := len(v) > 1 && v[:2] >= "14" // TID range scans
	var todo []part
	for _, r := range all {
		todo = append(todo, split(r, partsOf(r, c.marks.parts[r.String()]), c.Chunk, canSeek)...)
	}
	slices.SortStableFunc(todo, func(a, b part) int { return int(min(max(b.size()-a.size(), -1), 1)) })
	return todo
}

// data copies the parts and large objects on c.Jobs pairs of sessions that share the snapshot. Indexes are built meanwhile,
// on c.Jobs more sessions, each as soon as its table is there.
func (c *copying) data(ctx context.Context, blue, green *session, build *builder, all []relation, todo []part) (int64, error) {
	c.meter.expect(all, todo)
	queue := make(chan part, len(todo))
	waiting := map[uint32]int{}
	for _, p := range todo {
		queue <- p
		waiting[p.oid]++
	}
	close(queue)
	build.start(all, waiting)
	c.pace = newPace(c.Pace)
	if err := c.pace.adjust(ctx, c.Blue, c.meter.hold); err != nil { // before the first row
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	copied, over := context.WithCancel(ctx)
	defer over()
	group.Go(func() error { return c.pace.watch(copied, c.Blue, c.meter.hold) })
	copiers, sub := errgroup.WithContext(ctx)
	workers := min(c.Jobs, len(todo))
	counts := make([]int64, workers)
	for i := range workers {
		copiers.Go(func() (err error) {
			counts[i], err = c.work(sub, queue, build)
			return err
		})
	}
	copiers.Go(func() error { return c.largeObjects(sub, blue.Conn, green.Conn) })
	group.Go(func() error {
		defer over()
		return copiers.Wait()
	})
	for range c.Jobs {
		group.Go(func() error { return build.work(ctx) })
	}
	err := group.Wait()
	var rows int64
	for _, n := range counts {
		rows += n
	}
	return rows, err
}

// work copies parts for as long as there are some. Between two it lets go of blue's tables: an ALTER TABLE that
// waits for a part to end has all of the server's queries wait behind it.
func (c *copying) work(ctx context.Context, queue <-chan part, build *builder) (rows int64, err error) {
	blue, err := connect(ctx, c.Blue.Name(), c.Blue.DSN())
	if err != nil {
		return 0, err
	}
	defer postgres.HangUp(ctx, blue.Conn)
	green, err := c.connectGreen(ctx)
	if err != nil {
		return 0, err
	}
	defer postgres.HangUp(ctx, green.Conn)
	for p := range queue {
		if ctx.Err() != nil {
			return rows, context.Cause(ctx)
		}
		// SET TRANSACTION takes no parameters; the name is the server's own and has no quotes.
		if err := script(ctx, blue.Conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '"+c.snapshot+"'"); err != nil {
			return rows, fmt.Errorf("take over the snapshot: %w", err)
		}
		n, err := c.copyPart(ctx, blue, green, p)
		if err != nil {
			return rows, err
		}
		rows += n
		if err := script(ctx, blue.Conn, "COMMIT"); err != nil {
			return rows, fmt.Errorf("let go of table %s: %w", p.relation, err)
		}
		if c.PartDone != nil {
			if err := c.PartDone(ctx, p.String(), n); err != nil {
				return rows, err
			}
		}
		build.copied(p.oid)
	}
	return rows, nil
}

// copyPart copies and records one part in one transaction of green.
func (c *copying) copyPart(ctx context.Context, blue, green *session, p part) (rows int64, err error) {
	c.meter.begin(p)
	err = pgx.BeginFunc(ctx, green.Conn, func(tx pgx.Tx) error {
		if !p.pieces {
			if _, err := tx.Exec(ctx, p.emptying()); err != nil {
				return fmt.Errorf("table %s: empty it on green: %w", p, err)
			}
		}
		t := p.transfer(p.condition(), !p.pieces)
		t.moved = func(bytes, rows int64) error {
			c.meter.moved(p, bytes, rows)
			return c.pace.wait(ctx, bytes)
		}
		if rows, err = stream(ctx, blue, green, t); err != nil {
			return err
		}
		// COPY has left a lock on the table behind, so that what is seen now was so while it read.
		var file *uint32
		if err := blue.QueryRow(ctx, `SELECT pg_catalog.pg_relation_filenode($1::oid)`, p.oid).Scan(&file); err != nil {
			return fmt.Errorf("table %s: look at it on blue: %w", p, err)
		}
		if !p.root && (file == nil || *file != p.file) {
			return &RewrittenError{p.relation.String()}
		}
		_, err := tx.Exec(ctx, markPart, "table "+p.String(), rows, c.taken, p.relation.String(), p.pieces, p.from, p.to, p.file, p.capture)
		if err != nil {
			return fmt.Errorf("table %s: record it: %w", p, err)
		}
		return nil
	})
	if err == nil {
		c.meter.end(p)
	}
	return rows, err
}

// finish records that the copy is complete. The sessions before it did not wait for green's disk: this one does, and so
// for all of them.
func (c *copying) finish(ctx context.Context, green *pgx.Conn) error {
	err := pgx.BeginFunc(ctx, green, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = on`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, mark, finished, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("record the copy: %w", err)
	}
	return nil
}

// patience is how long lock waits: the server needs a moment to see that a process was killed, and to end its sessions.
const patience = 30 * time.Second

// lock makes sure that one process at a time copies into a green. It is a session lock: it dies with its owner.
func lock(ctx context.Context, green *pgx.Conn) (unlock func(), err error) {
	const try = `SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('tideover snapshot', 0))`
	got, err := postgres.AwaitLock(ctx, green, patience, try)
	if err != nil {
		return nil, fmt.Errorf("lock green: %w", err)
	}
	if !got {
		return nil, errors.New("another process is copying into green at this moment")
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_, _ = green.Exec(ctx, `SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('tideover snapshot', 0))`)
	}, nil
}
