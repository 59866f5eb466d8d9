package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(childDSN); dsn != "" {
		if n := os.Getenv(bulkChild); n != "" {
			os.Exit(inBulkChild(dsn, n))
		}
		os.Exit(inChild(dsn))
	}
	os.Exit(pgtest.RunTests(m))
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func files(pairs ...string) fs.FS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

const up = "-- +goose Up\n"

func TestGooseGoesOnFromWhereItWas(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	for _, step := range []struct {
		generation string
		pending    int
	}{{"1.0", 1}, {"1.1", 4}, {"1.1", 0}, {"2.0", 9}} {
		to, err := schema.Target(step.generation)
		if err != nil {
			t.Fatal(err)
		}
		g := migrate.NewGoose(schema.Files(), to)
		if n, err := g.Pending(t.Context(), dsn); err != nil || n != step.pending {
			t.Fatalf("to %s: %d pending, %v; want %d", step.generation, n, err, step.pending)
		}
		told := 0
		if err := g.MigrateWith(t.Context(), dsn, func(v int64, file string, _ time.Duration) {
			told++
			if !strings.HasPrefix(file, fmt.Sprint(v)+"_") {
				t.Errorf("version %d is said to be file %s", v, file)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if told != step.pending {
			t.Errorf("to %s: told of %d migrations, want %d", step.generation, told, step.pending)
		}
	}
}

func TestGooseFailedFileLeavesNothing(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	bad := files("1_a.sql", up+"CREATE TABLE a (id int);", "2_b.sql", up+"CREATE TABLE b (id int);\nINSERT INTO nowhere VALUES (1);")
	err := migrate.NewGoose(bad, 0).Migrate(t.Context(), dsn)
	var failed *migrate.Error
	if !errors.As(err, &failed) || failed.Version != 2 || failed.File != "2_b.sql" || !failed.Whole || postgres.Code(err) != "42P01" {
		t.Fatalf("error %v; want one that names 2_b.sql", err)
	}
	good := files("1_a.sql", up+"CREATE TABLE a (id int);", "2_b.sql", up+"CREATE TABLE b (id int);")
	if err := migrate.NewGoose(good, 0).Migrate(t.Context(), dsn); err != nil {
		t.Fatalf("go on after mending: %v", err)
	}
}

func TestGooseRefusesFoldersThatItWouldMisread(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		fsys fs.FS
		to   int64
		want string
	}{
		{"empty", files(), 0, "has none"},
		{"only below", files("sub/1_a.sql", up), 0, "has none"},
		{"twenty digits", files("20211019000001000001_a.sql", up+"SELECT 1;"), 0, "20 digits"},
		{"one of twenty digits", files("1_ok.sql", up+"SELECT 1;", "20211019000001000001_a.sql", up+"SELECT 1;"), 0, "20 digits"},
		{"same version", files("1_a.sql", up, "01_b.sql", up), 0, "same version 1"},
		{"no number", files("1_a.sql", up, "init.sql", up), 0, "no version number"},
		{"zero", files("0_a.sql", up), 0, "no version number"},
		{"in Go", files("1_a.go", "package x"), 0, "in Go"},
		{"not annotated", files("1_a.sql", "CREATE TABLE a ();"), 0, "+goose Up"},
		{"unknown target", files("1_a.sql", up), 7, "no file has version 7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := migrate.NewGoose(tc.fsys, tc.to).Migrate(t.Context(), "host=127.0.0.1 port=1")
			var bad *migrate.FolderError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tc.want) || bad.Hint() == "" {
				t.Errorf("error %v; want a FolderError with %q", err, tc.want)
			}
		})
	}
}

func TestGooseRefusesLateFile(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	if err := migrate.NewGoose(files("3_c.sql", up+"SELECT 1;"), 0).Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	err := migrate.NewGoose(files("1_a.sql", up+"SELECT 1;", "3_c.sql", up+"SELECT 1;"), 0).Migrate(t.Context(), dsn)
	if err == nil || !strings.Contains(err.Error(), "1_a.sql") {
		t.Errorf("error %v; want one that names 1_a.sql", err)
	}
}

func TestLiveWaitsForALockHolderInShortTries(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	holder, watch := connect(t, dsn), connect(t, dsn)
	if _, err := holder.Exec(t.Context(), `CREATE TABLE public.a (id int)`); err != nil {
		t.Fatal(err)
	}
	tx, err := holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE public.a IN ACCESS SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	g := migrate.NewGoose(files("1_a.sql", up+"ALTER TABLE a ADD COLUMN b int;"), 0,
		migrate.Live(postgres.Budget{Timeout: 50 * time.Millisecond, Retry: time.Minute}))
	done := make(chan error, 1)
	go func() { done <- g.Migrate(t.Context(), dsn) }()
	// A reader that queues behind the migration is served within the lock timeout, though the holder stays.
	for waits := 0; waits < 2; {
		var waiting bool
		err := watch.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'public.a'::regclass AND NOT granted)`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		if !waiting {
			time.Sleep(time.Millisecond) // between questions: the migration needs a processor, too
		} else {
			waits++
			if _, err := watch.Exec(t.Context(), `SET lock_timeout = '10s'; SELECT count(*) FROM public.a`); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestLiveGivesUpWhenTheBudgetIsSpent(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	holder := connect(t, dsn)
	for _, sql := range []string{`CREATE TABLE public.a (id int)`, `BEGIN`, `LOCK TABLE public.a IN ACCESS SHARE MODE`} {
		if _, err := holder.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	err := migrate.NewGoose(files("1_a.sql", up+"ALTER TABLE a ADD COLUMN b int;"), 0,
		migrate.Live(postgres.Budget{Timeout: 20 * time.Millisecond, Retry: 200 * time.Millisecond})).Migrate(t.Context(), dsn)
	var lock *postgres.LockError
	if !errors.As(err, &lock) || lock.Attempts < 1 {
		t.Fatalf("error %v; want a LockError that says how often it tried", err)
	}
}

func TestDownRefusesWhereThereIsNoWayBack(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	g := migrate.NewGoose(schema.Files(), 0)
	if err := g.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	err := g.Down(t.Context(), dsn, 11004)
	if err == nil || !strings.Contains(err.Error(), "no way back") {
		t.Fatalf("error %v; want a refusal", err)
	}
	if n, err := g.Pending(t.Context(), dsn); err != nil || n != 0 {
		t.Errorf("%d pending (%v): the refusal changed something", n, err)
	}
	if err := g.Down(t.Context(), dsn, 20003); err != nil {
		t.Fatal(err)
	}
	if n, err := g.Pending(t.Context(), dsn); err != nil || n != 6 {
		t.Errorf("%d pending (%v), want 6", n, err)
	}
}

func TestCommandErrorHasTheLastLinesWithoutThePassword(t *testing.T) {
	t.Setenv("EXTRA", "extra")
	t.Setenv("BLUE_DSN", "blue's secret")
	const dsn = "postgres://u:p%40ss%2Fw@127.0.0.1:5/db"
	c := migrate.NewCommand([]string{"sh", "-c", `seq 1 500; echo "dial $DSN with p@ss/w $EXTRA $BLUE_DSN"; exit 3`}, "EXTRA")
	err := c.Migrate(t.Context(), dsn)
	if err == nil || !strings.Contains(err.Error(), "500") || !strings.Contains(err.Error(), "extra") || strings.Contains(err.Error(), "\n400\n") {
		t.Errorf("error %v; want the last lines", err)
	}
	if s := fmt.Sprint(err); strings.Contains(s, "p@ss") || strings.Contains(s, "p%40ss") || strings.Contains(s, "blue's secret") {
		t.Errorf("the password is in %q", s)
	}
}

func TestCommandIsKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	// A child that lives on keeps the command's output open: the call would last as long as the child.
	err := migrate.NewCommand([]string{"sh", "-c", "sleep 100000 & wait"}).Migrate(ctx, "host=127.0.0.1")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v; want the deadline", err)
	}
}

// A file that leaves search_path empty, as pg_dump's do, takes the version table out of sight.
func TestHintOfALostPath(t *testing.T) {
	t.Parallel()
	g := migrate.NewGoose(fstest.MapFS{"1_dump.sql": {Data: []byte("-- +goose Up\nSELECT pg_catalog.set_config('search_path', '', false);\nCREATE TABLE public.n (id int);\n")}}, 0)
	var failed *migrate.Error
	if err := g.Migrate(t.Context(), pgtest.NewDatabase(t)); !errors.As(err, &failed) || !strings.Contains(failed.Hint(), "search_path") {
		t.Fatalf("got %v, want a hint at search_path", err)
	}
}
