package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/slice"
)

const compatRunbook = `version: 1
profile: bundled
blue:
  dsn: ${TIDEOVER_BLUE_DSN}
  server_role: ROLE
steps:
  - step: preflight
  - step: compat-views
    timeout: 2m
  - step: migrate
    target: live
    source: migrations
  - step: validate
`

// oldClient is what a server of the old version knows of its table. It reads with SELECT *, and fails on any other column.
type oldClient struct {
	ID   string
	Name string
}

// workers is how many requests an old server has under way.
const workers = 4

// oldServer reads and writes until it is stopped, which gives the errors that it met. asked counts its requests so far. Its
// sessions live for a second.
func oldServer(t *testing.T, dsn, role string) (asked *atomic.Int64, stop func() error) {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.User, config.ConnConfig.Password = role, "word"
	config.MaxConnLifetime, config.MaxConns, config.HealthCheckPeriod = time.Second, workers, 200*time.Millisecond
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var mu sync.Mutex
	asked = new(atomic.Int64)
	var failed error
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				rows, err := pool.Query(context.WithoutCancel(ctx), `SELECT * FROM client`)
				if err == nil {
					_, err = pgx.CollectRows(rows, pgx.RowToStructByName[oldClient])
				}
				if err == nil {
					_, err = pool.Exec(context.WithoutCancel(ctx), `INSERT INTO client (id, name) VALUES ('x', 'y') ON CONFLICT (id) DO UPDATE SET name = excluded.name || 'z'`)
				}
				if err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
					return
				}
				asked.Add(1)
			}
		}()
	}
	return asked, func() error {
		cancel()
		wg.Wait()
		pool.Close()
		return failed
	}
}

// TestCompatViews: an unmodified server that reads with SELECT * goes on while its tables get columns; the views go with
// retire, when nobody of the old version is left.
func TestCompatViews(t *testing.T) {
	slice.In(t, 5)
	dsn, err := pgtest.NewServer(t, pgserver.Options{Name: "views"}).CreateDatabase(t.Context(), "blue")
	if err != nil {
		t.Fatal(err)
	}
	const role = "old_server"
	for _, sql := range []string{`CREATE ROLE ` + role + ` LOGIN PASSWORD 'word'`, `CREATE TABLE client (id text PRIMARY KEY, name text)`,
		`INSERT INTO client SELECT i, 'name' FROM generate_series(1, 50) i`, `GRANT SELECT, INSERT, UPDATE, DELETE ON client TO ` + role} {
		pgtest.Exec(t, dsn, sql)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "upgrade.yaml")
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("upgrade.yaml", strings.Replace(compatRunbook, "ROLE", role, 1)+"  - step: retire\n    approve: true\n")
	write("migrations/1_more.sql", "-- +goose Up\nALTER TABLE client ADD COLUMN tier text NOT NULL DEFAULT 'a', ADD COLUMN number uuid NOT NULL DEFAULT gen_random_uuid();\nCREATE INDEX client_tier_idx ON client (tier);\n")
	env := map[string]string{"TIDEOVER_BLUE_DSN": dsn}

	asked, stop := oldServer(t, dsn, role)
	run := command(t.Context(), env, "run", path, "--json")
	run.Stdout = nil
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	// It waits at the gate of retire, with the new columns in place and the old server at work.
	await.That(t, "the column comes", func() bool {
		return pgtest.Query[bool](t, dsn, `SELECT EXISTS (SELECT FROM information_schema.columns WHERE table_name = 'client' AND column_name = 'number' AND is_nullable = 'NO')`)
	})
	before := asked.Load()
	await.That(t, "the old server goes on", func() bool { return asked.Load() >= before+2*workers })
	if err := stop(); err != nil {
		t.Errorf("the old server: %v", err)
	}
	// The control: without the views it fails.
	if _, err := pgx.CollectRows(rowsOf(t, dsn, `SELECT * FROM public.client`), pgx.RowToStructByName[oldClient]); err == nil {
		t.Error("the old server would not have noticed: nothing was tested")
	}
	if o := tideover(t.Context(), t, env, "approve", path, "retire"); o.code != 0 {
		t.Fatalf("approve: %d\n%s", o.code, o.stderr)
	}
	if err := run.Wait(); err != nil {
		t.Fatal(err)
	}
	if pgtest.Query[bool](t, dsn, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'tideover_compat') OR EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE rolname = '`+role+`')`) {
		t.Error("retire left something behind")
	}
}

func rowsOf(t *testing.T, dsn, sql string) pgx.Rows {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
