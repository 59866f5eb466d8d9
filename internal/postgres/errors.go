package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Code is the SQLSTATE that the server answered with, or "" where err did not come from the server.
func Code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// Reason is why a connection could not be opened.
type Reason string

const (
	Unreadable  Reason = "the connection string can't be read"
	NoServer    Reason = "nothing listens there"
	NoHost      Reason = "the host name is unknown"
	NoAnswer    Reason = "no answer in time"
	Refused     Reason = "the server refuses user and password"
	NoDatabase  Reason = "there is no such database"
	NoPrivilege Reason = "the user may not connect to this database"
	Full        Reason = "the server has no connection left"
	Starting    Reason = "the server is starting or shutting down"
	Pooled      Reason = "a connection pooler stands in between"
	Moved       Reason = "another server answers there than before: it has failed over, or its name leads elsewhere now"
	Other       Reason = "it can't be opened"
)

// ConnectError says that a database can't be opened. It never holds a password.
type ConnectError struct {
	Name     string // "blue", "green", "control", …
	Host     string // host:port; "" for an Unreadable connection string
	Database string
	User     string
	Reason   Reason
	Err      error // nil for an Unreadable connection string: the parser's error may quote a password
}

func newConnectError(name string, cfg *pgx.ConnConfig, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("connect to %s: %w", name, err)
	}
	return &ConnectError{
		Name: name, Host: net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))),
		Database: cfg.Database, User: cfg.User, Reason: reason(err), Err: err,
	}
}

func reason(err error) Reason {
	switch Code(err) {
	case pgerrcode.InvalidPassword, pgerrcode.InvalidAuthorizationSpecification:
		return Refused
	case pgerrcode.InvalidCatalogName:
		return NoDatabase
	case pgerrcode.InsufficientPrivilege:
		return NoPrivilege
	case pgerrcode.TooManyConnections:
		return Full
	case pgerrcode.CannotConnectNow, pgerrcode.AdminShutdown:
		return Starting
	}
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, errPooled):
		return Pooled
	case errors.Is(err, errMoved):
		return Moved
	case errors.As(err, &dns):
		return NoHost
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNRESET):
		return NoServer
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return NoAnswer
	}
	return Other
}

func (e *ConnectError) Error() string {
	if e.Reason == Unreadable {
		return fmt.Sprintf("database %q: %s", e.Name, e.Reason)
	}
	s := fmt.Sprintf("database %q: %q on %s as %q: %s", e.Name, e.Database, e.Host, e.User, e.Reason)
	var pg *pgconn.PgError
	switch {
	case errors.As(e.Err, &pg):
		s += ": " + pg.Message + " (SQLSTATE " + pg.Code + ")"
	case e.Reason == Other:
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ConnectError) Unwrap() error { return e.Err }

// Hint says what a person can do.
func (e *ConnectError) Hint() string {
	switch e.Reason {
	case Unreadable:
		return "write it as postgres://user:password@host:port/database (special characters in the password as %XX), or as host=… user=… dbname=…"
	case NoServer:
		return fmt.Sprintf("is Postgres running on %s, and does it listen there (listen_addresses, port)?", e.Host)
	case NoHost:
		return "check the host in the connection string, and DNS"
	case NoAnswer:
		return fmt.Sprintf("is there a firewall between here and %s? connect_timeout in the connection string sets how long to wait", e.Host)
	case Refused:
		return fmt.Sprintf("check user %q, its password, and the server's pg_hba.conf", e.User)
	case NoDatabase:
		return fmt.Sprintf("check the database's name, or create it: CREATE DATABASE %s", pgx.Identifier{e.Database}.Sanitize())
	case NoPrivilege:
		return fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", pgx.Identifier{e.Database}.Sanitize(), pgx.Identifier{e.User}.Sanitize())
	case Full:
		return "raise max_connections, or end idle sessions (see pg_stat_activity)"
	case Starting:
		return "wait for it, then try again"
	}
	var theirs *schemaError
	if errors.As(e.Err, &theirs) {
		return theirs.Hint()
	}
	switch e.Reason {
	case Pooled:
		return "give the address of Postgres itself: locks, settings, snapshots and temporary tables of ours live in one session, and a pooler changes it under us"
	case Moved:
		return "a standby that was promoted may lack the last transactions of the old primary: see to it that it has all of them before you resume, or roll back and begin a new run"
	}
	return "try the same connection string with psql"
}
