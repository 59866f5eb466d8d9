package migrate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/sqlrewrite"
)

const (
	lookEvery  = 500 * time.Millisecond
	sayAgain   = 15 * time.Second
	longActive = 30 * time.Second // a transaction older than this will hold up an index build
)

// watched runs f, and looks meanwhile at what it waits for and how far it is.
func (e *Executor) watched(ctx context.Context, file string, st sqlrewrite.Step, f func(context.Context) error) error {
	if e.Watch == nil {
		return f(ctx)
	}
	looking, stop := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		e.look(looking, file, st)
	}()
	err := f(ctx)
	stop()
	<-over
	return err
}

// look asks until its context ends. What it can't find out, it leaves: the work doesn't depend on it.
func (e *Executor) look(ctx context.Context, file string, st sqlrewrite.Step) {
	var said string
	var saidAt time.Time
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A query of the watcher's is never cut short: pgx would close the connection.
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		blockers, err := e.blockers(once)
		if err == nil {
			var pids []string
			for _, b := range blockers {
				pids = append(pids, fmt.Sprint(b.PID))
			}
			if key := strings.Join(pids, " "); key != "" && (key != said || time.Since(saidAt) > sayAgain) {
				said, saidAt = key, time.Now()
				for _, b := range blockers {
					e.tell(Notice{Warn: true, Waits: true, Text: file + ": waits for " + b.String()})
				}
			}
			e.endBlockers(once, blockers)
			e.progress(once, st)
		}
		cancel()
	}
}

// Blocker is a session that holds what a migration waits for.
type Blocker struct {
	PID         int32
	Role        string
	Application string
	State       string
	Seconds     float64 // since its transaction began
	Query       string
}

// String says who, since when, and the query's shape.
func (b Blocker) String() string {
	s := fmt.Sprintf("pid %d (%s", b.PID, b.Role)
	if b.Application != "" {
		s += ", " + b.Application
	}
	s += fmt.Sprintf("), in a transaction for %s, %s", (time.Duration(b.Seconds*1000) * time.Millisecond).Round(100*time.Millisecond), b.State)
	if b.Query != "" {
		s += ": " + sqlrewrite.Shape(b.Query)
	}
	return s
}

func (e *Executor) blockers(ctx context.Context) ([]Blocker, error) {
	const sql = `SELECT a.pid, coalesce(a.usename, '') AS role, coalesce(a.application_name, '') AS application, coalesce(a.state, '') AS state,
			coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start), 0)::float8 AS seconds, coalesce(a.query, '') AS query
		FROM pg_catalog.pg_stat_activity a WHERE a.pid = ANY (pg_catalog.pg_blocking_pids($1)) ORDER BY a.xact_start`
	rows, err := e.Watch.Query(ctx, sql, int32(e.Conn.PgConn().PID()))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Blocker])
}

// endBlockers ends the sessions that a person has named: a query is cancelled, an idle transaction is ended with its
// session, since there is no other way.
func (e *Executor) endBlockers(ctx context.Context, blockers []Blocker) {
	const cancel = `SELECT pg_catalog.pg_cancel_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND application_name = $2`
	const terminate = `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND application_name = $2`
	for _, b := range blockers {
		for _, name := range e.EndBlockers {
			if b.Application != name {
				continue
			}
			sql, did := cancel, "its query was cancelled"
			if strings.HasPrefix(b.State, "idle in transaction") {
				sql, did = terminate, "its session was ended"
			}
			if _, err := e.Watch.Exec(ctx, sql, b.PID, name); err == nil {
				e.tell(Notice{Warn: true, Text: fmt.Sprintf("%s: %s, as the runbook allows", b, did)})
			}
		}
	}
}

// progress tells how far an index build or a back-fill is.
func (e *Executor) progress(ctx context.Context, st sqlrewrite.Step) {
	const building = `SELECT phase, CASE WHEN blocks_total > 0 THEN blocks_done ELSE tuples_done END, CASE WHEN blocks_total > 0 THEN blocks_total ELSE tuples_total END
		FROM pg_catalog.pg_stat_progress_create_index WHERE pid = $1`
	const filling = `SELECT rows FROM ` + sqlrewrite.BackfillTable + ` WHERE job = $1`
	n := Notice{Unit: "blocks"}
	var err error
	switch st.Work {
	case sqlrewrite.Indexes:
		err = e.Watch.QueryRow(ctx, building, int32(e.Conn.PgConn().PID())).Scan(&n.Text, &n.Done, &n.Total)
	case sqlrewrite.Batches:
		n.Unit, n.Text = "rows", "back-fill"
		err = e.Watch.QueryRow(ctx, filling, st.Job).Scan(&n.Done)
	default:
		return
	}
	if err == nil {
		e.tell(n)
	}
}

// longTransactions names, before an index build, the transactions that it will have to wait for.
func (e *Executor) longTransactions(ctx context.Context) error {
	const sql = `SELECT a.pid, coalesce(a.usename, '') AS role, coalesce(a.application_name, '') AS application, coalesce(a.state, '') AS state,
			coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start), 0)::float8 AS seconds, coalesce(a.query, '') AS query
		FROM pg_catalog.pg_stat_activity a
		WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() AND a.backend_type = 'client backend'
			AND a.xact_start < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1) ORDER BY a.xact_start LIMIT 5`
	rows, err := e.Conn.Query(ctx, sql, longActive.Seconds())
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[Blocker])
	if err != nil {
		return err
	}
	for _, b := range list {
		e.tell(Notice{Warn: true, Waits: true, Text: "the index build will wait for " + b.String()})
	}
	return nil
}
