package postgres_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

func TestThrowaway(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewDatabase(t))
	count := func() (n int) {
		t.Helper()
		const sql = `SELECT count(*) FROM pg_database WHERE datname LIKE 'tideover\_test\_' ||
			(SELECT oid FROM pg_database WHERE datname = current_database()) || '\_%'`
		if err := db.Pool().QueryRow(context.WithoutCancel(t.Context()), sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	alive, err := postgres.NewThrowaway(t.Context(), db, "tideover_test")
	if err != nil {
		t.Fatal(err)
	}
	dead, err := postgres.NewThrowaway(t.Context(), db, "tideover_test")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := postgres.Connect(t.Context(), "test", dead.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	// A process that is killed: its sessions end, its database stays.
	const end = `SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND ((classid::bigint << 32) | objid::bigint) = hashtextextended($1, 0)`
	name := conn.Config().Database
	if tag, err := db.Pool().Exec(t.Context(), end, name); err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("end the owner: %v, %d sessions", err, tag.RowsAffected())
	}
	runtime.KeepAlive(dead) // or its connection is closed as garbage, and nobody is there to end
	third, err := postgres.NewThrowaway(t.Context(), db, "tideover_test")
	if err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 2 {
		t.Errorf("%d databases, want those of the two living owners", n)
	}
	// Of another purpose, by a process that was killed; and a database of somebody's, which has a longer name.
	left := plant(t, db, "tideover_other_%d_abcdefghijkl")
	somebodys := plant(t, db, "tideover_test_%d_abcdefghijkl_copy")
	if err := postgres.SweepThrowaways(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 3 {
		t.Errorf("%d databases, want those of the two living owners and somebody's", n)
	}
	if there := exists(t, db, left); there {
		t.Errorf("%s is still there", left)
	}
	if _, err := db.Pool().Exec(t.Context(), "DROP DATABASE "+somebodys); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*postgres.Throwaway{alive, third, third} {
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.Drop(cancelled); err != nil {
			t.Error(err)
		}
	}
	if n := count(); n != 0 {
		t.Errorf("%d databases are left", n)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := postgres.NewThrowaway(cancelled, db, "tideover_test"); err == nil {
		t.Error("made with a context that had ended")
	}
	if n := count(); n != 0 {
		t.Errorf("%d databases are left by a cancelled one", n)
	}
}

// plant makes a database beside db; the name has room for db's number.
func plant(t *testing.T, db *postgres.DB, name string) string {
	t.Helper()
	var oid uint32
	if err := db.Pool().QueryRow(t.Context(), `SELECT oid FROM pg_database WHERE datname = current_database()`).Scan(&oid); err != nil {
		t.Fatal(err)
	}
	name = fmt.Sprintf(name, oid)
	if _, err := db.Pool().Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return name
}

func exists(t *testing.T, db *postgres.DB, name string) (yes bool) {
	t.Helper()
	if err := db.Pool().QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&yes); err != nil {
		t.Fatal(err)
	}
	return yes
}

// refusing is a server on which our role may not end the sessions of others, and where one stays for a while.
type refusing struct{ said []string }

func (r *refusing) Exec(_ context.Context, sql string, _ ...any) (pgconn.CommandTag, error) {
	r.said = append(r.said, sql)
	switch {
	case strings.HasSuffix(sql, "WITH (FORCE)"):
		return pgconn.CommandTag{}, &pgconn.PgError{Code: pgerrcode.InsufficientPrivilege}
	case strings.HasPrefix(sql, "DROP") && len(r.said) < 5:
		return pgconn.CommandTag{}, &pgconn.PgError{Code: pgerrcode.ObjectInUse}
	}
	return pgconn.CommandTag{}, nil
}

// TestDropDatabaseAsOrdinaryRole: where FORCE is refused for an autovacuum worker, the database goes all the same.
func TestDropDatabaseAsOrdinaryRole(t *testing.T) {
	t.Parallel()
	r := &refusing{}
	if err := postgres.DropDatabase(t.Context(), r, "scratch"); err != nil || len(r.said) != 5 {
		t.Errorf("%v after %q", err, r.said)
	}

	dsn := pgtest.NewDatabase(t)
	super, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(context.WithoutCancel(t.Context()))
	name := super.Config().Database + "_s"
	for _, sql := range []string{"CREATE ROLE " + name + " LOGIN CREATEDB PASSWORD 'word'", "SET ROLE " + name, "CREATE DATABASE " + name, "RESET ROLE"} {
		if _, err := super.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { pgtest.Exec(t, dsn, "DROP ROLE "+name) })
	as := func(database string) *pgx.Conn {
		cfg := super.Config().Copy()
		cfg.Database, cfg.User, cfg.Password = database, name, "word"
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	_ = as(name) // a session of its own in it is ended
	if err := postgres.DropDatabase(t.Context(), as("postgres"), name); err != nil {
		t.Error(err)
	}
}

// TestInSchema: a program finds the server's tables, and a search_path that somebody has chosen stays.
func TestInSchema(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://u:p@h/d?sslmode=disable":     `"auth"`,
		"host=h user=u dbname=d":                 `"auth"`,
		"postgres://u@h/d?search_path=somewhere": "somewhere",
	} {
		cfg, err := pgx.ParseConfig(postgres.InSchema(dsn, "auth"))
		if err != nil || cfg.RuntimeParams["search_path"] != want || cfg.Database != "d" {
			t.Errorf("%s: %v %v", dsn, cfg, err)
		}
		if postgres.InSchema(dsn, "public") != dsn || postgres.InSchema(dsn, "") != dsn {
			t.Errorf("%s: changed for public", dsn)
		}
	}
}
