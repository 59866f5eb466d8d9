package store

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Fenced is the SQLSTATE with which a database refuses writes that belong to another side by now.
const Fenced = "TD001"

func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// collided tells serialization failures and deadlocks: the same transaction can succeed when it is tried again.
func collided(err error) bool {
	c := code(err)
	return c == pgerrcode.SerializationFailure || c == pgerrcode.DeadlockDetected
}

// Invalid tells values that the database cannot hold, such as a NUL character (SQLSTATE class 22): the request is at
// fault, not the server.
func Invalid(err error) bool { return strings.HasPrefix(code(err), "22") }

// Dangling tells a reference to a row that has just been deleted: its client, consent or session is gone.
func Dangling(err error) bool { return code(err) == pgerrcode.ForeignKeyViolation }

func duplicate(err error) bool { return code(err) == pgerrcode.UniqueViolation }

// Unavailable tells conditions that pass without anybody's request being wrong: the database is fenced, read-only,
// starting, stopping, full of connections, mid-migration, too busy, or cannot be reached.
// SQLSTATEs: Postgres manual, appendix A.
func Unavailable(err error) bool {
	switch c := code(err); c {
	case "":
	case Fenced, pgerrcode.ReadOnlySQLTransaction, pgerrcode.SerializationFailure, pgerrcode.DeadlockDetected, pgerrcode.LockNotAvailable, pgerrcode.QueryCanceled, pgerrcode.AdminShutdown, pgerrcode.CrashShutdown, pgerrcode.CannotConnectNow, pgerrcode.IdleSessionTimeout,
		pgerrcode.FeatureNotSupported, pgerrcode.UndefinedTable, pgerrcode.UndefinedColumn: // a table or column changed under us
		return true
	default:
		return c[:2] == "08" || c[:2] == "53" || c[:2] == "58"
	}
	var network net.Error
	var connect *pgconn.ConnectError
	return errors.As(err, &network) || errors.As(err, &connect) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, pgx.ErrTxClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		pgconn.SafeToRetry(err) || pgconn.Timeout(err) || strings.Contains(err.Error(), "conn closed")
}
