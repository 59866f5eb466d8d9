// Package postgres is the only door to a Postgres server: it connects, tells errors apart by SQLSTATE, bounds and
// retries locks, fills named parameters, and stores the journal.
//
// Every connection of ours says who it is (application_name "tideover/<purpose>") and carries, in the run-time setting
// tideover.pass, a word that nobody else can know (pass.go). That is how the fence lets us write where the OAuth server no
// longer may, and how the capture triggers know that a change is our own replay and must not be captured again.
//
// No error, name or log line of this package holds a password; [DB.DSN] and the DSN that a function was given do.
package postgres

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// connectTimeout bounds one attempt to connect where the DSN has no connect_timeout.
const connectTimeout = 10 * time.Second

// DB is one database under the name that the runbook gives it: "blue", "green" or "control". It may be used by several
// goroutines.
type DB struct {
	name   string
	dsn    string
	pool   *pgxpool.Pool
	server identity
}

// Open connects to a database. The error is a [*ConnectError] where the server can't be reached or refuses, and names
// the side, host and database, never the password; it has a Hint.
//
// Statements are described anew each time (pgx.QueryExecModeDescribeExec): we change schemas under our own feet, and a
// cached plan of a table that a migration has altered is refused (SQLSTATE 0A000). A hot loop over tables that nobody
// alters can pass pgx.QueryExecModeCacheStatement as its first argument.
func Open(ctx context.Context, name, dsn string) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, &ConnectError{Name: name, Reason: Unreadable}
	}
	d := &DB{name: name, dsn: dsn}
	d.configure(cfg.ConnConfig, name)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, newConnectError(name, cfg.ConnConfig, err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, newConnectError(name, cfg.ConnConfig, err)
	}
	d.pool = pool
	return d, nil
}

// Configure makes a connection ours, for who opens it by other means than this package's, and refuses one that leads through a pooler.
func Configure(cfg *pgx.ConnConfig, purpose string) {
	name(cfg, purpose)
	sql := sessionSQL()
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := conn.Exec(ctx, sql).Close(); err != nil {
			return err
		}
		if err := direct(ctx, conn); err != nil {
			return err
		}
		return enter(ctx, conn, false)
	}
}

func name(cfg *pgx.ConnConfig, purpose string) {
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	cfg.RuntimeParams["application_name"] = "tideover/" + purpose
	cfg.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
}

// configure is Configure for a connection to d, which must lead to the server that d was opened on.
func (d *DB) configure(cfg *pgx.ConnConfig, purpose string) {
	Configure(cfg, purpose)
	ours := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := ours(ctx, conn); err != nil {
			return err
		}
		return d.server.same(ctx, conn)
	}
}

// Name is the side's name, such as "blue".
func (d *DB) Name() string { return d.name }

// DSN is the connection string that Open was given. It holds the password: never log it.
func (d *DB) DSN() string { return d.dsn }

// Pool is the pool of connections.
func (d *DB) Pool() *pgxpool.Pool { return d.pool }

// Connect opens a connection outside of the pool, which the caller closes: for session locks, snapshots that must
// stay open, and LISTEN.
func (d *DB) Connect(ctx context.Context) (*pgx.Conn, error) { return d.ConnectAs(ctx, d.name) }

// ConnectAs is Connect with a purpose of its own in the connection's application_name.
func (d *DB) ConnectAs(ctx context.Context, purpose string) (*pgx.Conn, error) {
	return d.ConnectThrough(ctx, purpose, nil)
}

// ConnectThrough is ConnectAs for a caller that reads some of the server's messages itself: the messages of the session,
// its start included, go through what through makes of the network connection (of each that is tried). nil: nothing.
func (d *DB) ConnectThrough(ctx context.Context, purpose string, through func(net.Conn) net.Conn) (*pgx.Conn, error) {
	cfg := d.pool.Config().ConnConfig // a copy
	d.configure(cfg, purpose)
	return connectThrough(ctx, d.name, cfg, through)
}

// Connect opens one connection to a database that has no DB, such as a scratch database. The caller closes it.
func Connect(ctx context.Context, name, dsn string) (*pgx.Conn, error) {
	return ConnectThrough(ctx, name, dsn, nil)
}

// ConnectThrough is [DB.ConnectThrough] for a database that has no DB.
func ConnectThrough(ctx context.Context, name, dsn string, through func(net.Conn) net.Conn) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, &ConnectError{Name: name, Reason: Unreadable}
	}
	Configure(cfg, name)
	return connectThrough(ctx, name, cfg, through)
}

func connectThrough(ctx context.Context, name string, cfg *pgx.ConnConfig, through func(net.Conn) net.Conn) (*pgx.Conn, error) {
	if through != nil {
		cfg.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) { return through(conn), nil }
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, newConnectError(name, cfg, err)
	}
	return conn, nil
}

// ConnectAsIs opens one connection to a database of somebody else's, for SQL of theirs: with its own settings, through a
// pooler or not. It does carry tideover.pass, where its role may. The caller closes it.
func ConnectAsIs(ctx context.Context, purpose, dsn string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, &ConnectError{Name: purpose, Reason: Unreadable}
	}
	name(cfg, purpose)
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := conn.Exec(ctx, catalogFirstSQL+durableSQL).Close(); err != nil {
			return err
		}
		return enter(ctx, conn, true)
	}
	return connectThrough(ctx, purpose, cfg, nil)
}

// Close closes the pool and waits until its connections are given back.
func (d *DB) Close() { d.pool.Close() }

// String names the side, host and database, without the password.
func (d *DB) String() string {
	var b strings.Builder
	b.WriteString(d.name)
	b.WriteString(" (")
	b.WriteString(Redact(d.dsn))
	b.WriteString(")")
	return b.String()
}

// ConnectReplication opens a connection that can read the database's log through a logical slot. It takes plain SQL too.
// The caller closes it.
func (d *DB) ConnectReplication(ctx context.Context, purpose string) (*pgconn.PgConn, error) {
	cfg := d.pool.Config().ConnConfig
	d.configure(cfg, purpose)
	cfg.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, &cfg.Config)
	if err != nil {
		return nil, newConnectError(d.name, cfg, err)
	}
	return conn, nil
}
