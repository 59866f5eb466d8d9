package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// AwaitLock asks again and again for an advisory lock, until it is had or patience is over. try answers with a boolean, as
// pg_try_advisory_lock does. Whoever waits inside pg_advisory_lock keeps a snapshot open for that long; and a process
// that was killed leaves a session that holds its lock for a moment, until the server sees that nobody listens.
func AwaitLock(ctx context.Context, conn *pgx.Conn, patience time.Duration, try string, args ...any) (got bool, err error) {
	const pause = 50 * time.Millisecond
	for until := time.Now().Add(patience); ; {
		if err := conn.QueryRow(ctx, try, args...).Scan(&got); err != nil || got {
			return got, err
		}
		if !time.Now().Before(until) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
