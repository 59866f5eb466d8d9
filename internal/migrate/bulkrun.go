package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// BulkTable holds the tasks of an offline migration and which of them are done. Each task marks itself in its own
// transaction, so that a process that comes after one that was killed goes on with the rest. It stands beside
// goose_db_version, and is dropped in the transaction that records the versions.
const BulkTable = "tideover_bulk"

// bulkSessions is how many late tasks run side by side.
const bulkSessions = 4

// bulkSettings let a session work as fast as it can. What isn't on disk yet when a server crashes is done again: the mark is
// lost together with the work. The last transaction waits for the disk, and so for all before it.
const bulkSettings = `SET synchronous_commit = off;
	SELECT pg_catalog.set_config(name, '128MB', false) FROM pg_catalog.pg_settings
		WHERE name IN ('maintenance_work_mem', 'work_mem') AND setting::bigint < 131072;
	SELECT pg_catalog.set_config('client_connection_check_interval', '1s', false)
		WHERE pg_catalog.current_setting('server_version_num')::integer >= 140000`

// bulk is one stretch of migrations that run together.
type bulk struct {
	goose   *Goose
	dsn     string
	files   []file
	scripts []*sqlrewrite.Script

	names    map[string]string // of scripts to those of files
	versions map[string]int64  // of scripts

	mu    sync.Mutex
	took  map[string]time.Duration // by script
	done  int
	total int
}

type bulkTask struct {
	number  int
	done    bool
	seconds []float64 // of its commands, if it is done
	sqlrewrite.Task
}

func bulkBegun(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var there bool
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.to_regclass('`+BulkTable+`') IS NOT NULL`).Scan(&there); err != nil {
		return false, fmt.Errorf("look for %s: %w", BulkTable, err)
	}
	return there, nil
}

func (b *bulk) run(ctx context.Context, conn *pgx.Conn, begun bool) error {
	if _, err := conn.Exec(ctx, bulkSettings, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("prepare a session: %w", err)
	}
	if !begun {
		if err := b.begin(ctx, conn); err != nil {
			return err
		}
	}
	tasks, err := b.tasks(ctx, conn)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		b.total += len(t.Commands)
	}
	for _, t := range tasks {
		if t.done { // by a process before this one
			b.tell(t, t.seconds)
		}
	}
	for _, t := range tasks {
		if !t.Late && !t.done {
			if err := b.task(ctx, conn, t); err != nil {
				return err
			}
		}
	}
	if err := b.late(ctx, tasks); err != nil {
		return err
	}
	return b.finish(ctx, conn)
}

// begin works out the tasks and stores them.
func (b *bulk) begin(ctx context.Context, conn *pgx.Conn) error {
	const create = `CREATE TABLE ` + BulkTable + ` (number integer PRIMARY KEY, task jsonb NOT NULL, versions bigint[] NOT NULL,
		names text[] NOT NULL, done_at timestamptz, seconds double precision[])`
	const insert = `INSERT INTO ` + BulkTable + ` (number, task, versions, names) SELECT n, t::jsonb, $2, $3 FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY u(t, n)`
	c, err := catalogOf(ctx, conn, b.goose.schema)
	if err != nil {
		return err
	}
	texts := []string{}
	for _, t := range sqlrewrite.Bulk(b.scripts, c) {
		text, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("note the tasks: %w", err)
		}
		texts = append(texts, string(text))
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, create); err != nil {
			return fmt.Errorf("make %s: %w", BulkTable, err)
		}
		if _, err := tx.Exec(ctx, insert, texts, versionsOf(b.files), namesOf(b.files)); err != nil {
			return fmt.Errorf("note the tasks in %s: %w", BulkTable, err)
		}
		return nil
	})
}

// tasks reads them, in their order. They must be of the same migrations as when they were stored.
func (b *bulk) tasks(ctx context.Context, conn *pgx.Conn) ([]bulkTask, error) {
	const sql = `SELECT number, task::text, versions, names, done_at IS NOT NULL, seconds FROM ` + BulkTable + ` ORDER BY number`
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", BulkTable, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t bulkTask, err error) {
		var text string
		var versions []int64
		var names []string
		if err := row.Scan(&t.number, &text, &versions, &names, &t.done, &t.seconds); err != nil {
			return t, fmt.Errorf("read %s: %w", BulkTable, err)
		}
		// A number that is only a place may be another file's now.
		if !slices.Equal(versions, versionsOf(b.files)) || b.goose.scripts.Places() && !slices.Equal(names, namesOf(b.files)) {
			return t, &FolderError{Text: fmt.Sprintf("the migrations from %d to %d are under way in this database, and the folder has others now",
				versions[0], versions[len(versions)-1]), Way: "put the files back as they were, or empty the database and begin again"}
		}
		return t, json.Unmarshal([]byte(text), &t.Task)
	})
}

// task runs a task in a transaction, unless it is done already: a session of a process that was killed may only just have
// done it.
func (b *bulk) task(ctx context.Context, conn *pgx.Conn, t bulkTask) error {
	const claim = `SELECT done_at IS NOT NULL FROM ` + BulkTable + ` WHERE number = $1 FOR UPDATE`
	const mark = `UPDATE ` + BulkTable + ` SET done_at = pg_catalog.clock_timestamp(), seconds = $2 WHERE number = $1`
	seconds := make([]float64, len(t.Commands))
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var done bool
		if err := tx.QueryRow(ctx, claim, t.number).Scan(&done); err != nil || done {
			return err
		}
		for i, c := range t.Commands {
			began := time.Now()
			if _, err := conn.PgConn().Exec(ctx, c.SQL).ReadAll(); err != nil {
				return &Error{Version: b.versions[c.Source], File: c.Source, Err: fmt.Errorf("line %d (%s): %w", c.Line, describe(c), err), Noted: true}
			}
			seconds[i] = time.Since(began).Seconds()
		}
		_, err := tx.Exec(ctx, mark, t.number, seconds)
		return err
	})
	if err != nil {
		return err
	}
	b.tell(t, seconds)
	return nil
}

// describe is a command without values.
func describe(c sqlrewrite.Command) string {
	s := sqlrewrite.Shape(c.SQL)
	if c.Note != "" {
		s += " [" + c.Note + "]"
	}
	return s
}

func (b *bulk) tell(t bulkTask, seconds []float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, c := range t.Commands {
		took := time.Duration(seconds[i] * float64(time.Second))
		b.done++
		b.took[c.Source] += took
		if b.goose.timed != nil {
			b.goose.timed(Timing{File: c.Source, Name: b.names[c.Source], Line: c.Line, What: describe(c), Took: took, Done: b.done, Of: b.total})
		}
	}
}

// late runs the late tasks side by side.
func (b *bulk) late(ctx context.Context, tasks []bulkTask) error {
	tasks = slices.DeleteFunc(slices.Clone(tasks), func(t bulkTask) bool { return t.done || !t.Late })
	queue := make(chan bulkTask, len(tasks))
	for _, t := range tasks {
		queue <- t
	}
	close(queue)
	g, ctx := errgroup.WithContext(ctx)
	for range min(bulkSessions, len(tasks)) {
		g.Go(func() error {
			conn, err := b.goose.connect(ctx, b.dsn)
			if err != nil {
				return err
			}
			defer postgres.HangUp(ctx, conn)
			if _, err := conn.Exec(ctx, bulkSettings, pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("prepare a session: %w", err)
			}
			for t := range queue {
				if err := b.task(ctx, conn, t); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// finish records the versions, the vendor's too.
func (b *bulk) finish(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = on`); err != nil {
			return err
		}
		for _, s := range b.scripts {
			if s.Record() == "" {
				continue
			}
			if _, err := tx.Exec(ctx, s.Record()); err != nil {
				return fmt.Errorf("record that %s is done: %w", s.Name, err)
			}
		}
		if err := b.goose.recordVersions(ctx, tx, b.files); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DROP TABLE `+BulkTable)
		return err
	})
}
