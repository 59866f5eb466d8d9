package pgserver_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
)

func local(name string) pgserver.Options {
	return pgserver.Options{Source: pgserver.Local, Name: name}
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func query[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

// lives tells whether a process runs; a zombie, which waits for its parent only, does not.
func lives(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

// directory is the server's own directory, the parent of its data directory.
func directory(t *testing.T, dsn string) string {
	t.Helper()
	return filepath.Dir(query[string](t, connect(t, dsn), `SELECT pg_catalog.current_setting('data_directory')`))
}

func TestLocalStartAndClose(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := local("blue")
	o.Log, o.Settings = &log, map[string]string{"work_mem": "7MB", "application_name": `it's \ odd`}
	s := pgtest.NewServer(t, o)

	if s.Source() != pgserver.Local || s.Version() < 120000 || s.PID() == 0 {
		t.Errorf("source %q, version %d, pid %d", s.Source(), s.Version(), s.PID())
	}
	if out, err := exec.Command(filepath.Join(s.BinDir(), "pg_dump"), "--version").Output(); err != nil {
		t.Errorf("pg_dump in %q: %v: %s", s.BinDir(), err, out)
	}
	if line := log.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, `postgres "blue": local`) {
		t.Errorf("log %q, want one line that says local", line)
	}
	conn := connect(t, s.DSN())
	for name, want := range map[string]string{
		"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "wal_level": "logical",
		"max_connections": "200", "max_prepared_transactions": "20", "listen_addresses": "127.0.0.1",
		"unix_socket_directories": "", "work_mem": "7MB", "server_encoding": "UTF8",
	} {
		if got := query[string](t, conn, `SELECT pg_catalog.current_setting($1)`, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if !query[bool](t, conn, `SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user`) {
		t.Error("the DSN's role is no superuser")
	}
	execute(t, conn, `SELECT pg_catalog.pg_create_logical_replication_slot('s', 'pgoutput')`)

	dir, pid := directory(t, s.DSN()), s.PID()
	for range 2 { // twice: Close is idempotent
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !gone(dir) {
		t.Errorf("%s is left over", dir)
	}
	if lives(pid) || s.PID() != 0 {
		t.Errorf("postmaster %d lives, PID() = %d", pid, s.PID())
	}
	if err := s.Restart(t.Context()); err == nil {
		t.Error("a closed server restarts")
	}
}

func TestPasswordIsAsked(t *testing.T) {
	t.Parallel()
	cfg, err := pgx.ParseConfig(pgtest.Shared(t).DSN())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password = "guess"
	_, err = pgx.ConnectConfig(t.Context(), cfg)
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "28P01" { // invalid_password
		t.Errorf("a wrong password gives %v, want SQLSTATE 28P01", err)
	}
}

func TestTwoAtOnce(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blue, green := pgtest.NewServer(t, local("same")), pgtest.NewServer(t, local("same"))
	execute(t, connect(t, blue.DSN()), `CREATE TABLE public.only_blue ()`)
	if query[bool](t, connect(t, green.DSN()), `SELECT pg_catalog.to_regclass('public.only_blue') IS NOT NULL`) {
		t.Error("blue and green are one server")
	}
	if err := blue.Close(); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, connect(t, green.DSN()), `SELECT 1`); got != 1 {
		t.Error("green does not outlive blue")
	}
}

func TestCrashAndRestartKeepsCommits(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	o := local("crash")
	o.Fsync = true
	s := pgtest.NewServer(t, o)
	dsn, pid := s.DSN(), s.PID()
	conn := connect(t, dsn)
	if got := query[string](t, conn, `SELECT pg_catalog.current_setting('fsync')`); got != "on" {
		t.Fatalf("fsync is %s", got)
	}
	execute(t, conn, `CREATE TABLE public.kept (n int)`)
	execute(t, conn, `INSERT INTO public.kept SELECT generate_series(1, 1000)`)

	// A session in the middle of its work must not outlive the crash.
	busy := connect(t, dsn)
	backend := int(busy.PgConn().PID())
	cut := make(chan error, 1)
	go func() {
		_, err := busy.Exec(context.Background(), `SELECT pg_catalog.pg_sleep(600)`)
		cut <- err
	}()
	await.That(t, "the session sleeps", func() bool {
		return query[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep')`, backend)
	})
	if err := s.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-cut; err == nil {
		t.Error("the session did not notice the crash")
	}
	if s.PID() != 0 || lives(pid) {
		t.Errorf("after Kill: PID() = %d, postmaster %d lives: %v", s.PID(), pid, lives(pid))
	}
	if err := s.Kill(t.Context()); err == nil {
		t.Error("a dead server is killed again without an error")
	}
	for _, how := range []string{"after a crash", "while it runs"} {
		if err := s.Restart(t.Context()); err != nil {
			t.Fatalf("restart %s: %v", how, err)
		}
		if s.DSN() != dsn || s.PID() == 0 {
			t.Errorf("restart %s: the DSN changed or there is no pid", how)
		}
		if got := query[int](t, connect(t, dsn), `SELECT count(*) FROM public.kept`); got != 1000 {
			t.Errorf("restart %s: %d rows, want 1000", how, got)
		}
	}
}

func TestCloseAfterKill(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	s := pgtest.NewServer(t, local("killed"))
	dir := directory(t, s.DSN())
	if err := s.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !gone(dir) {
		t.Errorf("%s is left over", dir)
	}
}

func TestRestartReportsATakenPort(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	s := pgtest.NewServer(t, local("port"))
	cfg, err := pgx.ParseConfig(s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(cfg.Port))))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.Restart(ctx); err == nil {
		t.Error("restart succeeds on a taken port")
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Errorf("restart with the port free again: %v", err)
	}
}
