// Package postgres is the only door to a Postgres server: it connects, tells errors apart by SQLSTATE, bounds and
// retries locks, fills named parameters, and stores the journal.
//
// Every connection of ours says who it is (application_name "tideover/<purpose>") and carries the run-time setting
// tideover.pass=on. That setting is how the fence lets us write where the OAuth server no longer may, and how the
// capture triggers know that a change is our own replay and must not be captured again. It protects against mistakes,
// not against an attacker: any session can set it.
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
	name string
	dsn  string
	pool *pgxpool.Pool
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
	configure(cfg.ConnConfig, name)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, newConnectError(name, cfg.ConnConfig, err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, newConnectError(name, cfg.ConnConfig, err)
	}
	return &DB{name: name, dsn: dsn, pool: pool}, nil
}

// What we have recorded must survive a crash of the server, whatever its settings are for others: synchronous_commit is
// turned on where it is off (Postgres manual 20.5.1). And a session whose process was killed must not go on with what it
// was at, an index build or a copy, and hold its locks: the server looks every second whether anybody still listens
// (Postgres manual 20.3.2; from 14 on, and not on Windows).
const ours = `SET tideover.pass = 'on';
SELECT pg_catalog.set_config('synchronous_commit', 'on', false) WHERE pg_catalog.current_setting('synchronous_commit') = 'off';
SELECT pg_catalog.set_config('client_connection_check_interval', '1s', false)
WHERE pg_catalog.current_setting('client_connection_check_interval', true) = '0' AND pg_catalog.version() !~* 'windows|visual c|mingw'`

// configure makes a connection ours. The setting is made by SET and not in the startup packet, which a PgBouncer on
// the way would refuse.
func configure(cfg *pgx.ConnConfig, purpose string) {
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	cfg.RuntimeParams["application_name"] = "tideover/" + purpose
	cfg.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		return conn.Exec(ctx, ours).Close()
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
	cfg := d.pool.Config().ConnConfig // a copy
	configure(cfg, purpose)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, newConnectError(d.name, cfg, err)
	}
	return conn, nil
}

// Connect opens one connection to a database that has no DB, such as a scratch database. The caller closes it.
func Connect(ctx context.Context, name, dsn string) (*pgx.Conn, error) {
	return ConnectThrough(ctx, name, dsn, nil)
}

// ConnectThrough is Connect for a caller that reads some of the server's messages itself: the messages of the session,
// its start included, go through what through makes of the network connection (of each that is tried). nil: nothing.
func ConnectThrough(ctx context.Context, name, dsn string, through func(net.Conn) net.Conn) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, &ConnectError{Name: name, Reason: Unreadable}
	}
	configure(cfg, name)
	if through != nil {
		cfg.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) { return through(conn), nil }
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, newConnectError(name, cfg, err)
	}
	return conn, nil
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
// Values come as text that every session reads alike. The caller closes it.
func (d *DB) ConnectReplication(ctx context.Context, purpose string) (*pgconn.PgConn, error) {
	cfg := d.pool.Config().ConnConfig
	configure(cfg, purpose)
	for name, value := range map[string]string{"replication": "database", "DateStyle": "ISO", "IntervalStyle": "postgres", "extra_float_digits": "3"} {
		cfg.RuntimeParams[name] = value
	}
	conn, err := pgconn.ConnectConfig(ctx, &cfg.Config)
	if err != nil {
		return nil, newConnectError(d.name, cfg, err)
	}
	return conn, nil
}
