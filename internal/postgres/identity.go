package postgres

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// errPooled says that the server's process is another than the one that answered when the session began.
var errPooled = errors.New("the session begins with one process of the server and goes on with another")

// direct refuses a session that leads through a pooler (PgBouncer, Odyssey, pgcat, pgpool): it says at its start which process
// can be cancelled, and gives a number of its own for that, or of another server connection. Behind one our session locks,
// settings, snapshots and temporary tables would be somebody else's from one statement to the next.
func direct(ctx context.Context, conn *pgconn.PgConn) error {
	pid, err := answer(ctx, conn, `SELECT pg_catalog.pg_backend_pid()`)
	if err != nil {
		return err
	}
	if pid != strconv.FormatUint(uint64(conn.PID()), 10) {
		return errPooled
	}
	return nil
}

// errMoved says that a connection string leads to another server than before.
var errMoved = errors.New("another server answers than the one that this process began with")

// identity is the server and database that a DB was opened on, and the timeline that the server writes: a standby that was
// promoted has a new one, and may lack the last transactions of its primary (Postgres manual 27.2.5). A connection string with
// several hosts, or a name that is given to another machine, must not lead us there in the middle of the work.
type identity struct {
	mu   sync.Mutex
	seen string // "": nobody was connected yet, or the role may not ask
}

// identitySQL asks for nothing that a role without privileges may not know. A standby has no timeline of its own.
const identitySQL = `
SELECT pg_catalog.concat_ws('/', (SELECT system_identifier FROM pg_catalog.pg_control_system()),
	(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
	CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'standby' ELSE pg_catalog."left"(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) END)`

// same refuses another server than the first. Where a role may not ask, it can't be told.
func (i *identity) same(ctx context.Context, conn *pgconn.PgConn) error {
	is, err := answer(ctx, conn, identitySQL)
	if Code(err) == pgerrcode.InsufficientPrivilege {
		return nil
	}
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen == "" {
		i.seen = is
	}
	if i.seen != is {
		return errMoved
	}
	return nil
}

// answer is the one value of a query, as text. It is for a connection that is being set up, which has no pgx.Conn yet.
func answer(ctx context.Context, conn *pgconn.PgConn, sql string) (string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1 {
		return "", errors.New("the server answers a question about itself in an unknown way")
	}
	return string(results[0].Rows[0][0]), nil
}
