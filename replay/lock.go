package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// BusyError says that another replayer works on the database.
type BusyError struct {
	PID int32 // of its session on blue's server; 0 where it is not visible
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("replay: another replayer works on this database (pid %d on blue's server)", e.PID)
}

// Hint says what a person can do.
func (e *BusyError) Hint() string {
	return "stop the other process, or end its session with pg_terminate_backend if the process is gone, then resume"
}

const lockSQL = `SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('tideover.replay'), 0)`

// lockPatience is how long connect waits for a lock that the session of a process that has just died may still hold.
const lockPatience = 30 * time.Second

// connect gives the connection to blue that holds the replayer's lock, and opens it where it is not there or was cut.
func (r *Replayer) connect(ctx context.Context) (*pgx.Conn, error) {
	if r.conn != nil && !r.conn.IsClosed() {
		return r.conn, nil
	}
	conn, err := r.Blue.ConnectAs(ctx, "replay")
	if err != nil {
		return nil, err
	}
	for until := time.Now().Add(r.patience); ; {
		var held bool
		if err := conn.QueryRow(ctx, lockSQL).Scan(&held); err != nil {
			conn.Close(context.WithoutCancel(ctx))
			return nil, fmt.Errorf("replay: lock the queue: %w", err)
		}
		if held {
			r.conn = conn
			return conn, nil
		}
		if time.Now().After(until) {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	const holder = `SELECT coalesce(min(pid), 0) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted
	AND classid = pg_catalog.hashtext('tideover.replay')::oid AND objid = 0 AND objsubid = 2
	AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`
	busy := &BusyError{}
	_ = conn.QueryRow(ctx, holder).Scan(&busy.PID) // the name is a courtesy
	conn.Close(context.WithoutCancel(ctx))
	return nil, busy
}

// disconnect gives the lock back. Closing alone would leave it until the server notices.
func (r *Replayer) disconnect() {
	if r.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if !r.conn.IsClosed() {
		_, _ = r.conn.Exec(ctx, `SELECT pg_catalog.pg_advisory_unlock_all()`) // closing does it too, a little later
	}
	_ = r.conn.Close(ctx)
	r.conn = nil
}
