package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/tideover/tideover/internal/journal"
)

// appendEvent counts, checks the term and stores, in one statement and so in one transaction. The update locks the
// run's row: events become visible in the order of their numbers, and a takeover waits for an append under way.
const appendEvent = `
WITH next AS (
	UPDATE tideover.run
	SET seq = seq + 1,
		ended = CASE WHEN $5 THEN pg_catalog.clock_timestamp() END,
		outcome = CASE WHEN $5 THEN $4::text ELSE '' END
	WHERE id = $1 AND term = $2 AND ended IS NULL
	RETURNING seq
)
INSERT INTO tideover.event (run, seq, time, step, kind, data)
SELECT $1::text, seq, pg_catalog.clock_timestamp(), $3, $4::text, $6 FROM next
RETURNING seq, time`

type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func (l *Lease) append(ctx context.Context, q queryer, e journal.Event) (journal.Event, error) {
	select {
	case <-l.released:
		return e, journal.ErrReleased
	default:
	}
	var data any
	if len(e.Data) > 0 {
		unicode, err := holdsUnicode(ctx, q)
		if err != nil {
			return e, l.j.wrap(fmt.Sprintf("store event %q of run %q", e.Kind, l.run), err)
		}
		if data = string(e.Data); !unicode {
			data = escaped(e.Data)
		}
	}
	e.Run = l.run
	err := q.QueryRow(ctx, appendEvent, l.run, l.term, e.Step, string(e.Kind), ends(e.Kind), data).Scan(&e.Seq, &e.Time)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, l.refused(ctx, q, e)
	}
	if err != nil {
		return e, l.j.wrap(fmt.Sprintf("store event %q of run %q", e.Kind, l.run), err)
	}
	return e, nil
}

// holdsUnicode says whether a database's encoding has every character.
func holdsUnicode(ctx context.Context, q queryer) (is bool, err error) {
	ask := func(conn *pgx.Conn) { is = conn.PgConn().ParameterStatus("server_encoding") == "UTF8" }
	switch q := q.(type) {
	case pgx.Tx:
		ask(q.Conn())
	case *pgxpool.Pool:
		err = q.AcquireFunc(ctx, func(c *pgxpool.Conn) error { ask(c.Conn()); return nil })
	}
	return is, err
}

// escaped is JSON in ASCII, which a database of any encoding can hold: outside of texts it has nothing else.
func escaped(data []byte) string {
	var b strings.Builder
	for _, r := range string(data) {
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// refused tells a takeover from an append behind the end.
func (l *Lease) refused(ctx context.Context, q queryer, e journal.Event) error {
	const sql = `SELECT term, ended IS NOT NULL FROM tideover.run WHERE id = $1`
	var term int64
	var ended bool
	if err := q.QueryRow(ctx, sql, l.run).Scan(&term, &ended); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return l.j.wrap("look for the run's term", err)
	}
	if term == l.term && ended {
		return fmt.Errorf("store event %q of run %q: the run has ended", e.Kind, l.run)
	}
	return fmt.Errorf("store event %q of run %q with term %d: %w", e.Kind, l.run, l.term, journal.ErrFenced)
}

// Append stores an event. It works without the lease's own connection, so that a process that has lost that one, but
// was not replaced, can still say that it stops.
func (l *Lease) Append(ctx context.Context, e journal.Event) (journal.Event, error) {
	return l.append(ctx, l.j.db.pool, e)
}

// AppendTx stores an event in a transaction of the control database, together with what else is done there: both are
// in force, or neither is. The event may be shown only after the commit. Until then every other append waits.
func (l *Lease) AppendTx(ctx context.Context, tx pgx.Tx, e journal.Event) (journal.Event, error) {
	return l.append(ctx, tx, e)
}

// Load returns the run's events after a number, as [Journal.Load] does.
func (l *Lease) Load(ctx context.Context, after int64) ([]journal.Event, error) {
	return l.j.Load(ctx, l.run, after)
}

// Covers says whether db is the very database that the journal is in, so that [Lease.AppendTx] can be used in its
// transactions. It goes by host, port and database name: "no" may be wrong, and is then only slower to recover.
func (l *Lease) Covers(db *DB) bool {
	a, b := l.j.db.pool.Config().ConnConfig, db.pool.Config().ConnConfig
	return a.Host == b.Host && a.Port == b.Port && a.Database == b.Database
}
