package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// HangUp ends a session whatever became of the context that it worked under, and waits no longer than five seconds for
// the server's good-bye: it ends the session anyway once the socket is closed.
func HangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
