package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Wait is a session of ours that waits for a lock, and one of those that it waits for.
type Wait struct {
	PID         int32     `json:"pid"`
	Application string    `json:"application"`
	Since       time.Time `json:"since"`
	For         Session   `json:"for"`
}

// Session is a session of a database, as its server sees it, or a transaction that was prepared and has none. What our role may not
// see is empty.
type Session struct {
	PID         int32     `json:"pid"`
	Prepared    string    `json:"prepared,omitempty"` // the transaction's name (PREPARE TRANSACTION), with PID 0
	Application string    `json:"application,omitempty"`
	Role        string    `json:"role,omitempty"`
	Client      string    `json:"client,omitempty"` // address; "": a local socket
	State       string    `json:"state,omitempty"`
	Since       time.Time `json:"since,omitzero"`  // of its transaction, or else of the session
	Query       string    `json:"query,omitempty"` // its first words, without values
}

func (s Session) String() string {
	if s.Prepared != "" {
		return fmt.Sprintf("the prepared transaction %q of role %s, of %s, which COMMIT PREPARED or ROLLBACK PREPARED ends",
			s.Prepared, s.Role, s.Since.UTC().Format("15:04:05 UTC"))
	}
	name := s.Application
	if name == "" {
		name = "a session without a name"
	}
	text := fmt.Sprintf("pid %d (%s", s.PID, name)
	if s.Role != "" {
		text += ", role " + s.Role
	}
	text += ")"
	if !s.Since.IsZero() {
		text += ", in its transaction since " + s.Since.UTC().Format("15:04:05 UTC")
	}
	if s.Query != "" {
		text += ": " + s.Query + " …"
	}
	return text
}

// waitsSQL asks for those who wait first: pg_blocking_pids takes the lock manager's locks for a moment, and is asked only for them. To it a
// prepared transaction is number 0.
const waitsSQL = `
SELECT w.pid, w.application_name, coalesce((SELECT min(l.waitstart) FROM pg_catalog.pg_locks l WHERE l.pid = w.pid AND NOT l.granted), w.state_change, now()),
	b.pid, coalesce(p.gid, ''), coalesce(s.application_name, ''), coalesce(s.usename, p.owner, '')::text, coalesce(host(s.client_addr), ''), coalesce(s.state, ''),
	coalesce(s.xact_start, s.backend_start, p.prepared), coalesce(left(s.query, 200), '')
FROM pg_catalog.pg_stat_activity w
CROSS JOIN LATERAL unnest(pg_catalog.pg_blocking_pids(w.pid)) AS b(pid)
LEFT JOIN pg_catalog.pg_stat_activity s ON s.pid = b.pid
LEFT JOIN LATERAL (
	SELECT x.gid, x.owner, x.prepared FROM pg_catalog.pg_locks want
	JOIN pg_catalog.pg_locks has ON has.pid IS NULL AND has.granted AND has.locktype = want.locktype
		AND (has.database, has.relation, has.page, has.tuple, has.transactionid, has.classid, has.objid, has.objsubid)
			IS NOT DISTINCT FROM (want.database, want.relation, want.page, want.tuple, want.transactionid, want.classid, want.objid, want.objsubid)
	JOIN pg_catalog.pg_locks own ON own.pid IS NULL AND own.locktype = 'transactionid' AND own.virtualtransaction = has.virtualtransaction
	JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = own.transactionid
	WHERE b.pid = 0 AND want.pid = w.pid AND NOT want.granted ORDER BY x.prepared LIMIT 1
) p ON true
WHERE w.wait_event_type = 'Lock' AND w.datname = current_database() AND starts_with(w.application_name, 'tideover/')
ORDER BY 3, 1, 4 LIMIT 100`

// Waits are our sessions in the database that wait for locks, of all processes of ours, and whom they wait for.
func (d *DB) Waits(ctx context.Context) ([]Wait, error) {
	rows, err := d.pool.Query(ctx, waitsSQL)
	if err != nil {
		return nil, fmt.Errorf("%s: ask who waits for locks: %w", d.name, err)
	}
	waits, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Wait, error) {
		var w Wait
		var since *time.Time
		err := row.Scan(&w.PID, &w.Application, &w.Since, &w.For.PID, &w.For.Prepared, &w.For.Application, &w.For.Role, &w.For.Client, &w.For.State, &since, &w.For.Query)
		if since != nil {
			w.For.Since = *since
		}
		w.For.Query = FirstWords(w.For.Query)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: ask who waits for locks: %w", d.name, err)
	}
	return waits, nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z_"][A-Za-z0-9_."]*[,;]?$`)

// FirstWords are the first words of a statement, up to what may be a value.
func FirstWords(sql string) string {
	words := strings.Fields(sql)
	most := 5
	if len(words) > 0 && strings.EqualFold(words[0], "SET") {
		most = 2
	}
	for i, word := range words {
		if i == most || !plainWord.MatchString(word) || strings.EqualFold(word, "VALUES") {
			return strings.Join(words[:i], " ")
		}
	}
	return strings.Join(words, " ")
}

// LeaseHolder is the session that holds the lock of the run's lease, and nobody's where the lock is free.
func (j *Journal) LeaseHolder(ctx context.Context) (s Session, held bool, err error) {
	const sql = `
SELECT l.pid, coalesce(a.application_name, ''), coalesce(a.usename::text, ''), coalesce(host(a.client_addr), ''), coalesce(a.state, ''), a.backend_start
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2 AND l.objsubid = 2
	AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`
	var since *time.Time
	err = j.db.pool.QueryRow(ctx, sql, lockClass, lockLease).Scan(&s.PID, &s.Application, &s.Role, &s.Client, &s.State, &since)
	if since != nil {
		s.Since = *since
	}
	switch {
	case err == nil:
		return s, true, nil
	case errors.Is(err, pgx.ErrNoRows):
		return s, false, nil
	}
	return s, false, j.wrap("ask who holds the lease", err)
}
