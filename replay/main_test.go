package replay

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

func TestMain(m *testing.M) {
	if os.Getenv(childProfile) != "" {
		if err := runChild(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := pgtest.RunTests(m)
	variants.Remove()
	os.Exit(code)
}

func newDatabase(t testing.TB) string { return pgtest.NewDatabase(t) }

func open(t testing.TB, name, dsn string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func exec(t testing.TB, db *postgres.DB, sql string) {
	t.Helper()
	if err := inPublic(t.Context(), db, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// inPublic runs statements in a session of ours, in which their bare names mean the server's tables.
func inPublic(ctx context.Context, db *postgres.DB, sql string) error {
	conn, err := db.Connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	_, err = conn.Exec(ctx, lookInPublic+sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

const lookInPublic = "SET search_path = public, pg_temp;\n"

// stranger is a connection that is not ours: the fence stops it and its changes are captured.
func stranger(t testing.TB, db *postgres.DB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// waitForLock returns when a session of the database waits for a table lock.
func waitForLock(t testing.TB, db *postgres.DB) {
	t.Helper()
	const sql = `SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	await.That(t, "a session waits for a table lock", func() bool {
		var n int
		if err := db.Pool().QueryRow(t.Context(), sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
}
