package compat_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/compat"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

// scene is a database with a server's role and tables.
type scene struct {
	dsn   string
	role  string
	owner *pgx.Conn
	views *compat.Views
}

func newScene(t *testing.T) *scene {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	s := &scene{dsn: dsn, owner: connect(t, dsn, "")}
	s.role = "server_" + ask[string](t, s.owner, `SELECT oid::text FROM pg_database WHERE datname = current_database()`)
	do(t, s.owner, `CREATE ROLE `+s.role+` LOGIN`)
	t.Cleanup(func() {
		_, _ = s.owner.Exec(context.Background(), `DROP OWNED BY `+s.role)
		_, _ = s.owner.Exec(context.Background(), `DROP ROLE `+s.role)
	})
	do(t, s.owner, `CREATE TABLE client (id text PRIMARY KEY, n serial, at timestamptz DEFAULT now(), "Odd name" text); CREATE TABLE token (sig text PRIMARY KEY, client text REFERENCES client);
		GRANT SELECT, INSERT, UPDATE, DELETE ON client TO `+s.role+`; GRANT SELECT ON token TO `+s.role+`; GRANT USAGE ON SEQUENCE client_n_seq TO `+s.role+`;
		CREATE TABLE tool (a int); INSERT INTO client (id) VALUES ('a'), ('b')`)
	db, err := postgres.Open(t.Context(), "blue", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	s.views = &compat.Views{DB: db, Tables: "public", Role: s.role, LeftOut: []string{"tool"}}
	return s
}

// connect opens a session; as the role, if one is given: by SET SESSION AUTHORIZATION its settings would not be read.
func connect(t *testing.T, dsn, role string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if role != "" {
		config.User, config.Password = role, "word"
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func do(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func ask[T any](t *testing.T, conn *pgx.Conn, sql string) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func columns(t *testing.T, conn *pgx.Conn) int {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT * FROM client`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	return len(rows.FieldDescriptions())
}

// TestOldServerSurvives: a session with a cached plan of SELECT * goes on behind the views while the table gets columns,
// and writes through them as before.
func TestOldServerSurvives(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	do(t, s.owner, `ALTER ROLE `+s.role+` PASSWORD 'word'`)
	for range 2 {
		if err := s.views.Make(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.views.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := connect(t, s.dsn, s.role)
	if got := columns(t, server); got != 4 {
		t.Fatalf("%d columns", got)
	}
	do(t, s.owner, `ALTER TABLE client ADD COLUMN tier text NOT NULL DEFAULT 'standard', ADD COLUMN x int`)
	if got := columns(t, server); got != 4 { // pgx keeps the plan: without views it would be an error
		t.Errorf("%d columns after new ones came", got)
	}
	for _, sql := range []string{`INSERT INTO client (id) VALUES ('c') ON CONFLICT (id) DO UPDATE SET "Odd name" = 'x'`, `UPDATE client SET "Odd name" = 'y' WHERE id = 'a'`,
		`DELETE FROM client WHERE id = 'b'`, `SELECT * FROM client FOR UPDATE`, `SELECT sig FROM token`} {
		do(t, server, sql)
	}
	if got := ask[string](t, s.owner, `SELECT string_agg(id || n || tier || coalesce("Odd name", '-'), ' ' ORDER BY id) FROM client WHERE at IS NOT NULL`); got != "a1standardy c3standard-" {
		t.Errorf("through the views was written %s", got)
	}
	if _, err := server.Exec(t.Context(), `INSERT INTO token VALUES ('x')`); postgres.Code(err) != "42501" {
		t.Errorf("the views give away more than the tables: %v", err)
	}
	if ask[bool](t, s.owner, `SELECT to_regclass('tideover_compat.tool') IS NOT NULL`) {
		t.Error("a table of the tools has a view")
	}
}

// TestOldSessionsAreWaitedFor: a session that began before the change doesn't see the views. Removing gives everything back.
func TestOldSessionsAreWaitedFor(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	do(t, s.owner, `ALTER ROLE `+s.role+` PASSWORD 'word'`)
	do(t, s.owner, `ALTER ROLE `+s.role+` SET search_path = app, public`)
	before := connect(t, s.dsn, s.role)
	if err := s.views.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	if old, err := s.views.Old(t.Context()); err != nil || len(old) != 1 || uint32(old[0].PID) != before.PgConn().PID() {
		t.Fatalf("%+v %v", old, err)
	}
	told := 0
	err := s.views.Wait(t.Context(), time.Millisecond, func(int) { told++ })
	var bad *compat.Error
	if !errors.As(err, &bad) || bad.Hint() == "" || told == 0 {
		t.Errorf("%v, told %d times", err, told)
	}
	after := connect(t, s.dsn, s.role)
	if old, err := s.views.Old(t.Context()); err != nil || len(old) != 1 {
		t.Errorf("a session with the new search_path is taken for an old one: %+v %v", old, err)
	}
	_ = before.Close(t.Context())
	if err := s.views.Wait(t.Context(), time.Minute, func(int) {}); err != nil {
		t.Fatal(err)
	}
	const path = `SELECT string_agg(c, ' ') FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(setconfig) c WHERE rolname = '`
	if got := ask[string](t, s.owner, path+s.role+`' AND setdatabase <> 0`); !strings.HasPrefix(got, "search_path=tideover_compat, app, public") {
		t.Error(got)
	}
	if err := s.views.Remove(t.Context(), time.Millisecond, func(int) {}); !errors.As(err, &bad) {
		t.Errorf("views were taken away under a session that uses them: %v", err)
	}
	_ = after.Close(t.Context())
	for range 2 {
		if err := s.views.Remove(t.Context(), time.Minute, func(int) {}); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask[string](t, s.owner, path+s.role+`'`); got != "search_path=app, public" {
		t.Errorf("left is %s", got)
	}
	if ask[bool](t, s.owner, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'tideover_compat')`) {
		t.Error("the schema is still there")
	}
}

// TestRefused: what views can't stand in for, and a schema that isn't ours.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	refused := func(want string) {
		t.Helper()
		var bad *compat.Error
		if err := s.views.Make(t.Context()); !errors.As(err, &bad) || !strings.Contains(err.Error(), want) || bad.Hint() == "" {
			t.Errorf("%v; want %s", err, want)
		}
	}
	do(t, s.owner, `ALTER TABLE token ENABLE ROW LEVEL SECURITY`)
	refused("row security")
	do(t, s.owner, `ALTER TABLE token DISABLE ROW LEVEL SECURITY; CREATE SCHEMA tideover_compat`)
	refused("not ours")
	if err := s.views.Remove(t.Context(), time.Minute, func(int) {}); err == nil {
		t.Error("somebody's schema was removed")
	}
	do(t, s.owner, `DROP SCHEMA tideover_compat`)
	role := s.views.Role
	s.views.Role = "nobody at all"
	refused("no role")
	s.views.Role = role
	if err := s.views.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	var bad *compat.Error
	for _, sql := range []string{`CREATE OR REPLACE VIEW tideover_compat.token AS SELECT sig, client FROM public.token GROUP BY 1, 2`, `ALTER ROLE ` + s.role + ` IN DATABASE ` +
		ask[string](t, s.owner, `SELECT quote_ident(current_database())`) + ` RESET search_path`} {
		do(t, s.owner, sql)
		if err := s.views.Check(t.Context()); !errors.As(err, &bad) {
			t.Errorf("%s: %v", sql, err)
		}
		do(t, s.owner, `CREATE OR REPLACE VIEW tideover_compat.token AS SELECT sig, client FROM public.token`)
	}
}

// TestRenamesBehindViews: the old server goes on with the names that it knows; what it needs can't be dropped under it.
func TestRenamesBehindViews(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	do(t, s.owner, `ALTER ROLE `+s.role+` PASSWORD 'word'`)
	if err := s.views.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := connect(t, s.dsn, s.role)
	if got := columns(t, server); got != 4 {
		t.Fatalf("%d columns", got)
	}
	do(t, s.owner, `ALTER TABLE client RENAME COLUMN "Odd name" TO plain; ALTER TABLE client RENAME TO app`)
	if got := columns(t, server); got != 4 {
		t.Errorf("%d columns after the renames", got)
	}
	do(t, server, `INSERT INTO client (id, "Odd name") VALUES ('c', 'x') ON CONFLICT (id) DO UPDATE SET "Odd name" = 'y'`)
	if got := ask[string](t, s.owner, `SELECT plain FROM app WHERE id = 'c'`); got != "x" {
		t.Errorf("through the views was written %s", got)
	}
	if err := s.views.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for _, sql := range []string{`ALTER TABLE app DROP COLUMN plain`, `DROP TABLE token`} {
		if _, err := s.owner.Exec(t.Context(), sql); postgres.Code(err) != "2BP01" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
