package snapshot_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(childVariable); ok {
		if err := child(context.Background(), args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.RunTests(m))
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func open(t *testing.T, name, dsn string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func run(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// dump is the database as pg_dump writes it: statements in an order of their own, so that two can be compared.
func dump(t *testing.T, dsn string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), filepath.Join(pgtest.Shared(t).BinDir(), "pg_dump"),
		append(args, "--dbname="+dsn, "--no-publications", "--no-comments", "--exclude-schema=tideover")...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("pg_dump: %v: %s", err, stderr.String())
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, `\restrict`) || strings.HasPrefix(line, `\unrestrict`) || strings.HasPrefix(line, "--") {
			continue
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

// lines sorts a dump's lines: rows have no order of their own.
func lines(s string) string {
	l := slices.Collect(strings.Lines(s))
	slices.Sort(l)
	return strings.Join(l, "")
}
