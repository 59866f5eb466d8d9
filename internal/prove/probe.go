package prove

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/sqlrewrite"
)

const (
	mostTables = 6
	breath     = 5 * time.Millisecond
)

// probe reads and writes tables while a script runs.
type probe struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu          sync.Mutex
	read, write time.Duration
	err         error
}

// startProbe begins with the tables that the script touches and that are there. The writer takes the locks that an UPDATE
// takes, of the table and of a row, and lets go: rows stay as and where they are.
func startProbe(ctx context.Context, s *trial, script *sqlrewrite.Script) (*probe, error) {
	names, err := touched(ctx, s.conn, script)
	if err != nil {
		return nil, err
	}
	p := &probe{}
	ctx, p.cancel = context.WithCancel(ctx)
	for _, t := range names {
		for _, q := range []struct {
			sql  string
			into *time.Duration
		}{
			{"SELECT FROM " + t + " LIMIT 1", &p.read},
			{"ROLLBACK; BEGIN; LOCK TABLE " + t + " IN ROW EXCLUSIVE MODE; SELECT FROM " + t + " OFFSET %d LIMIT 1 FOR NO KEY UPDATE; ROLLBACK", &p.write},
		} {
			conn, err := pgx.Connect(ctx, s.dsn)
			if err != nil {
				_, _, stopErr := p.stop()
				return nil, errors.Join(err, stopErr)
			}
			// Where probe and script wait for each other, the probe must be the one that gives way. Postgres looks for a deadlock once in a
			// wait, which may begin before the script's: so the probe asks anew, well before the script's own look after a second.
			if _, err := conn.Exec(ctx, "SET deadlock_timeout = '10ms'; SET lock_timeout = '200ms'"); err != nil {
				_ = conn.Close(context.WithoutCancel(ctx))
				_, _, stopErr := p.stop()
				return nil, errors.Join(err, stopErr)
			}
			ready := make(chan struct{})
			p.wg.Add(1)
			go p.loop(ctx, conn, q.sql, q.into, ready)
			<-ready
		}
	}
	return p, nil
}

// touched lists the tables in use that a script locks.
func touched(ctx context.Context, conn *pgx.Conn, script *sqlrewrite.Script) ([]string, error) {
	const there = `SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1) AND relkind IN ('r', 'p'))`
	var names []string
	seen := map[string]bool{}
	for _, st := range script.Up {
		for _, o := range sqlrewrite.Analyze(st).Objects {
			name := pgx.Identifier{o.Name}.Sanitize()
			if o.Schema != "" {
				name = pgx.Identifier{o.Schema, o.Name}.Sanitize()
			}
			if o.Kind != "table" || o.New || seen[name] || len(names) == mostTables {
				continue
			}
			seen[name] = true
			var is bool
			if err := conn.QueryRow(ctx, there, name).Scan(&is); err != nil {
				return nil, err
			}
			if is {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// loop asks again and again, until the table is gone or the script is through. ready is closed after the first answer.
func (p *probe) loop(ctx context.Context, conn *pgx.Conn, sql string, into *time.Duration, ready chan struct{}) {
	defer p.wg.Done()
	defer conn.Close(context.WithoutCancel(ctx))
	began := time.Now()
	for first := true; ; first = false {
		text := sql
		if into == &p.write {
			text = fmt.Sprintf(sql, rand.IntN(100))
		}
		// A query that waits is let wait: how long it does is what we want to know.
		_, err := conn.PgConn().Exec(context.WithoutCancel(ctx), text).ReadAll()
		took := time.Since(began)
		p.mu.Lock()
		if !first {
			*into = max(*into, took)
		}
		var pg *pgconn.PgError
		if err != nil && !errors.As(err, &pg) {
			p.err = errors.Join(p.err, err)
		}
		p.mu.Unlock()
		if first {
			close(ready)
		}
		again := pg != nil && (pg.Code == pgerrcode.DeadlockDetected || pg.Code == pgerrcode.LockNotAvailable)
		if err != nil && !again { // the table has gone, or has another name
			return
		}
		pause := breath
		if again {
			pause = 0 // it goes on waiting
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if !again {
			began = time.Now()
		}
	}
}

// stop ends the probe and gives the longest waits.
func (p *probe) stop() (read, write time.Duration, err error) {
	if p.cancel == nil {
		return 0, 0, nil
	}
	p.cancel()
	p.wg.Wait()
	return p.read, p.write, p.err
}
