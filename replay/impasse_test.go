package replay

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// impasse ends waits that would never end by themselves: one goroutine plays all sessions of a crowd, so that a session that
// waits for another of them, or behind somebody who does, keeps it from going on. A wait for anybody else is left to end: how
// long it takes is the machine's affair, and no limit of time could tell the two apart.
type impasse struct {
	conn  *pgx.Conn // looks at the others
	crowd []int32   // process ids
}

func newImpasse(ctx context.Context, dsn string, crowd []*pgx.Conn) *impasse {
	conn, err := pgx.Connect(ctx, dsn)
	must(err)
	i := &impasse{conn: conn}
	for _, c := range crowd {
		i.crowd = append(i.crowd, int32(c.PgConn().PID()))
	}
	return i
}

// giveUpSQL cancels what session $1 does where it waits, in however many steps, for one of the crowd $2.
const giveUpSQL = `
WITH RECURSIVE blocker (pid) AS (
	SELECT unnest(pg_blocking_pids($1))
	UNION SELECT unnest(pg_blocking_pids(blocker.pid)) FROM blocker)
SELECT pg_cancel_backend($1) WHERE EXISTS (SELECT FROM blocker WHERE pid = ANY ($2))`

// run runs what the session does. Where that can't go on, it ends with query_canceled.
func (i *impasse) run(ctx context.Context, conn *pgx.Conn, do func()) {
	done, looked := make(chan struct{}), make(chan error, 1)
	go func() { looked <- i.look(ctx, int32(conn.PgConn().PID()), done) }()
	defer func() {
		close(done)
		must(<-looked) // before the session's next statement, which must not be cancelled in place of this one
	}()
	do()
}

func (i *impasse) look(ctx context.Context, pid int32, done <-chan struct{}) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-tick.C:
			if _, err := i.conn.Exec(ctx, giveUpSQL, pid, i.crowd); err != nil {
				return err
			}
		}
	}
}

// Who waits behind a session of somebody else that waits for the crowd is told as well; who waits for somebody else alone is not.
func TestImpasse(t *testing.T) {
	t.Parallel()
	db := open(t, "blue", newDatabase(t))
	exec(t, db, `CREATE TABLE a (); CREATE TABLE b ()`)
	first, second, other := stranger(t, db), stranger(t, db), stranger(t, db)
	i := newImpasse(t.Context(), db.DSN(), []*pgx.Conn{first, second})
	t.Cleanup(func() { hangUp(context.Background(), i.conn) })
	run := func(conn *pgx.Conn, sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run(first, `BEGIN; LOCK TABLE a IN ACCESS SHARE MODE`)
	run(other, `BEGIN; LOCK TABLE b`)
	behind := make(chan error, 1)
	go func() {
		_, err := other.Exec(t.Context(), `LOCK TABLE a; COMMIT`)
		behind <- err
	}()
	waitForLock(t, db)
	var err error
	i.run(t.Context(), second, func() { _, err = second.Exec(t.Context(), `SELECT FROM a`) })
	if code := postgres.Code(err); code != pgerrcode.QueryCanceled {
		t.Errorf("behind one that waits for the crowd: %v", err)
	}
	run(first, `ROLLBACK`)
	if err := <-behind; err != nil {
		t.Fatal(err)
	}

	run(other, `BEGIN; LOCK TABLE b`)
	alone := make(chan error, 1)
	go func() {
		var err error
		i.run(t.Context(), second, func() { _, err = second.Exec(t.Context(), `SELECT FROM b`) })
		alone <- err
	}()
	waitForLock(t, db)
	tag, err := db.Pool().Exec(t.Context(), giveUpSQL, second.PgConn().PID(), i.crowd)
	if err != nil || tag.RowsAffected() != 0 {
		t.Errorf("a wait for somebody else alone is given up: %s, %v", tag, err)
	}
	run(other, `COMMIT`)
	if err := <-alone; err != nil {
		t.Errorf("behind somebody else: %v", err)
	}
}
