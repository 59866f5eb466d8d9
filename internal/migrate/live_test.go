package migrate_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
)

// childDSN makes this test binary a process that migrates, which a test can kill.
const childDSN = "TIDEOVER_TEST_MIGRATE_DSN"

func inChild(dsn string) int {
	err := liveGoose(killed, migrate.Told(func(n migrate.Notice) { fmt.Println(n.Text, n.Done) })).Migrate(context.Background(), dsn)
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

// killed is what the killed process migrates.
var killed = files("1_init.sql", up+"CREATE TABLE a (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);\nINSERT INTO a SELECT i FROM generate_series(1, 60000) i;",
	"2_change.sql", up+"UPDATE a SET n = n + 1;\nCREATE UNIQUE INDEX a_n_id_idx ON a (n, id);\nALTER TABLE a ADD COLUMN u uuid NOT NULL DEFAULT gen_random_uuid();")

func liveGoose(fsys fs.FS, options ...migrate.Option) *migrate.Goose {
	return migrate.NewGoose(fsys, 0, append(options, migrate.Live(postgres.Budget{Timeout: 500 * time.Millisecond, Retry: 2 * time.Minute}))...)
}

func must(t *testing.T, conn *pgx.Conn, sql string) {
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

// eventually asks until the answer is true.
func eventually(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	await.That(t, sql, func() bool { return ask[bool](t, conn, sql) })
}

const leftNothing = `SELECT to_regclass('tideover_migration') IS NULL AND to_regclass('tideover_backfill') IS NULL
	AND (SELECT array_agg(version_id ORDER BY id) FROM goose_db_version) = '{0,1,2}' AND NOT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)`

func TestLiveRunsTheRewritten(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	for range 2 {
		if err := liveGoose(killed).Migrate(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
	}
	if !ask[bool](t, conn, leftNothing) {
		t.Error("something is left behind, or the versions are not those of the folder")
	}
	if !ask[bool](t, conn, `SELECT bool_and(n = 1 AND u IS NOT NULL) FROM a`) {
		t.Error("rows were not written once each")
	}
}

// TestKilled kills the migrating process in the middle of a back-fill, then of an index build, and goes on.
func TestKilled(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	child := func(until string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childDSN+"="+dsn)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := make(chan []string, 1)
		go func() {
			var all []string
			for s := bufio.NewScanner(out); s.Scan(); {
				all = append(all, s.Text())
			}
			lines <- all
		}()
		eventually(t, conn, until)
		_ = cmd.Process.Kill()
		said := <-lines
		if err := cmd.Wait(); err == nil {
			t.Fatalf("it was through before it could be killed: %v", said)
		}
	}
	for range 2 {
		child(`SELECT CASE WHEN to_regclass('tideover_backfill') IS NULL THEN false
			ELSE (xpath('/row/x/text()', query_to_xml('SELECT count(*) AS x FROM tideover_backfill WHERE rows > 0 AND NOT done', true, true, '')))[1]::text = '1' END`)
	}
	// An open transaction keeps the index build waiting, but not the batches before it.
	holder := connect(t, dsn)
	must(t, holder, `BEGIN`)
	must(t, holder, `LOCK TABLE a IN ROW EXCLUSIVE MODE`)
	child(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tideover/migrate' AND query LIKE 'CREATE UNIQUE INDEX CONC%' AND wait_event_type = 'Lock')
		AND EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)`) // an autovacuum can keep it waiting before it has made anything
	if !ask[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)`) {
		t.Error("the killed build left nothing: nothing was tested")
	}
	must(t, holder, `COMMIT`)
	if err := liveGoose(killed).Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	if !ask[bool](t, conn, leftNothing) {
		t.Error("something is left behind")
	}
	if !ask[bool](t, conn, `SELECT count(*) = 60000 AND bool_and(n = 1 AND u IS NOT NULL) FROM a`) {
		t.Error("rows were not written once each")
	}
}

// TestTwoAtOnce: two processes that migrate one database take turns.
func TestTwoAtOnce(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- liveGoose(killed).Migrate(t.Context(), dsn) }()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	conn := connect(t, dsn)
	if !ask[bool](t, conn, leftNothing) || !ask[bool](t, conn, `SELECT bool_and(n = 1) FROM a`) {
		t.Error("they got in each other's way")
	}
}

func TestHazardsMustBeAllowed(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	folder := files("1_a.sql", up+"CREATE TABLE a (id int, n int);", "2_b.sql", up+"ALTER TABLE a DROP COLUMN n;")
	err := liveGoose(folder).Migrate(t.Context(), dsn)
	var refused *migrate.HazardError
	if !errors.As(err, &refused) || len(refused.Hazards) != 1 || !strings.Contains(err.Error(), "2_b.sql:2: breaks-old-server") || !strings.Contains(refused.Hint(), "allow: [breaks-old-server]") {
		t.Fatalf("error %v; want a refusal that names file, line and hazard", err)
	}
	if err := liveGoose(folder).LiveHazards(0); !errors.As(err, &refused) {
		t.Errorf("without a connection: %v", err)
	}
	if err := liveGoose(folder).LiveHazards(2); err != nil {
		t.Errorf("above version 2: %v", err)
	}
	conn := connect(t, dsn)
	if ask[bool](t, conn, `SELECT to_regclass('a') IS NOT NULL`) {
		t.Error("it did something before it refused")
	}
	if err := liveGoose(folder, migrate.Allow("breaks-old-server")).Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
}

// told collects notices.
type told struct {
	mu   sync.Mutex
	list []migrate.Notice
}

func (l *told) add(n migrate.Notice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, n)
}

func (l *told) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.list {
		if strings.Contains(n.Text, text) {
			return true
		}
	}
	return false
}

// TestWaitsAreExplained: who holds the lock is said, without the values of its query; a session that the runbook names is
// ended, and no other.
func TestWaitsAreExplained(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	must(t, conn, `CREATE TABLE a (id int PRIMARY KEY, secret text); INSERT INTO a VALUES (1, 'x')`)
	holder := connect(t, dsn)
	must(t, holder, `SET application_name = 'nightly'`)
	must(t, holder, `BEGIN`)
	must(t, holder, `UPDATE a SET secret = 'hunter2' WHERE id = 1`)
	var said told
	folder := files("1_a.sql", up+"ALTER TABLE a ADD COLUMN b int;\nCREATE INDEX a_b_idx ON a (b);")
	done := make(chan error, 1)
	go func() {
		done <- migrate.NewGoose(folder, 0, migrate.Live(postgres.Budget{Timeout: 2 * time.Second, Retry: 2 * time.Minute}), migrate.Told(said.add)).Migrate(t.Context(), dsn)
	}()
	pid := fmt.Sprintf("pid %d (", holder.PgConn().PID())
	for began := time.Now(); !said.has(pid); {
		if time.Since(began) > time.Minute {
			t.Fatal("nobody said who holds the lock")
		}
		eventually(t, conn, `SELECT pg_sleep(0.05) IS NOT NULL`)
	}
	if !said.has("nightly") || !said.has("UPDATE a SET secret = $1") {
		t.Errorf("not explained: %+v", said.list)
	}
	if said.has("hunter2") {
		t.Error("a value of somebody's query was told")
	}
	must(t, holder, `COMMIT`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	must(t, holder, `BEGIN`)
	must(t, holder, `UPDATE a SET secret = 'hunter2' WHERE id = 1`)
	again := files("1_a.sql", up+"SELECT 1;", "2_b.sql", up+"CREATE INDEX a_secret_idx ON a (secret);")
	if err := liveGoose(again, migrate.EndBlockers("nightly"), migrate.Told(said.add)).Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	if !said.has("its session was ended") {
		t.Error("it was not said that a session was ended")
	}
}

// TestPopFolder: versions that the vendor's own tool has reached are not run again, and new ones are recorded for it.
func TestPopFolder(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	must(t, conn, `CREATE TABLE schema_migration (version VARCHAR (48) NOT NULL, version_self INT NOT NULL DEFAULT 0);
		CREATE UNIQUE INDEX schema_migration_version_idx ON schema_migration (version);
		INSERT INTO schema_migration (version) VALUES ('20200101000000000001'); CREATE TABLE a (id int PRIMARY KEY)`)
	folder := files("20200101000000000001_a.up.sql", "CREATE TABLE a (id int PRIMARY KEY)", "20200101000000000002_b.postgres.up.sql", "CREATE INDEX a_id_idx ON a (id)",
		"20200101000000000002_b.mysql.up.sql", "not SQL", "20200101000000000003_c.autocommit.up.sql", "-- nothing", "20200101000000000001_a.down.sql", "DROP TABLE a;")
	for _, g := range []*migrate.Goose{liveGoose(folder), migrate.NewGoose(folder, 0)} {
		if err := g.Migrate(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
		if got := ask[string](t, conn, `SELECT string_agg(right(version, 1), ' ' ORDER BY version) FROM schema_migration`); got != "1 2 3" {
			t.Errorf("the vendor's table has %s", got)
		}
		if n, err := g.Pending(t.Context(), dsn); err != nil || n != 0 {
			t.Errorf("%d pending, %v", n, err)
		}
	}
	fresh := pgtest.NewDatabase(t)
	if err := migrate.NewGoose(folder, 0).Migrate(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	if !ask[bool](t, connect(t, fresh), `SELECT count(*) = 3 FROM schema_migration`) {
		t.Error("a new database is not recorded as migrated")
	}
}

// TestPlainFolder: files that aren't goose's are read so only where the runbook says it, or goose's own check would be
// lost on a file whose annotation was forgotten.
func TestPlainFolder(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	folder := files("v1_init.sql", "CREATE TABLE a (id int PRIMARY KEY);", "v2_more.sql", "BEGIN;\nCREATE INDEX a_id_idx ON a (id);\nCOMMIT;")
	if err := liveGoose(folder).Migrate(t.Context(), dsn); err == nil {
		t.Error("taken without being told")
	}
	g := liveGoose(folder, migrate.InFormat("plain"))
	if err := g.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	if n, err := g.Pending(t.Context(), dsn); err != nil || n != 0 || !ask[bool](t, connect(t, dsn), `SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_id_idx'::regclass`) {
		t.Errorf("%d pending, %v", n, err)
	}
	if err := migrate.NewGoose(folder, 0, migrate.InFormat("plain")).Migrate(t.Context(), pgtest.NewDatabase(t)); err != nil {
		t.Errorf("offline: %v", err)
	}
}

// TestFailedIndexIsTakenAway: a unique index that could not be finished would refuse the server's rows.
func TestFailedIndexIsTakenAway(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	must(t, conn, `CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a VALUES (1, 1), (2, 1)`)
	folder := files("1_a.sql", up+"ALTER TABLE a ADD CONSTRAINT a_n_key UNIQUE (n);")
	err := liveGoose(folder).Migrate(t.Context(), dsn)
	var failed *migrate.Error
	if !errors.As(err, &failed) || postgres.Code(err) != "23505" || failed.Hint() == "" {
		t.Fatalf("%v", err)
	}
	must(t, conn, `INSERT INTO a VALUES (3, 1)`)
	if ask[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)`) {
		t.Error("an index that is not valid was left")
	}
	must(t, conn, `UPDATE a SET n = id`)
	if err := liveGoose(folder).Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
}

// A live migration can be taken back until the first of its statements is run, and not from then on.
func TestUntouched(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	must(t, conn, "CREATE TABLE a (id int); CREATE TABLE b (id int)")
	g := func(sql ...string) *migrate.Goose {
		var list []string
		for i, s := range sql {
			list = append(list, fmt.Sprintf("%d_a.sql", i+1), up+s+";\n")
		}
		return migrate.NewGoose(files(list...), 0, migrate.Live(postgres.Budget{Timeout: 50 * time.Millisecond, Retry: 200 * time.Millisecond}))
	}
	both := g("ALTER TABLE a ADD COLUMN n int", "ALTER TABLE b ADD COLUMN n int")
	untouched := func(g *migrate.Goose, want bool) {
		t.Helper()
		if got, err := g.Untouched(t.Context(), dsn, 2); err != nil || got != want {
			t.Errorf("untouched: %t, %v; want %t", got, err, want)
		}
	}
	untouched(both, true)
	stopped := func(g *migrate.Goose, table string) {
		t.Helper()
		must(t, conn, "BEGIN; LOCK TABLE "+table)
		if err := g.Migrate(t.Context(), dsn); err == nil {
			t.Fatal("a lock did not stop it")
		}
		must(t, conn, "ROLLBACK")
	}
	stopped(both, "a")
	untouched(both, true)
	if err := both.Withdraw(t.Context(), dsn, 2); err != nil {
		t.Fatal(err)
	}
	if ask[bool](t, conn, "SELECT to_regclass('tideover_migration') IS NOT NULL") {
		t.Error("the table of what is under way is left")
	}
	stopped(both, "b")
	untouched(both, false)
	if err := both.Withdraw(t.Context(), dsn, 2); err == nil {
		t.Error("withdrawn, though one of two is done")
	}
	must(t, conn, "DROP TABLE goose_db_version, tideover_migration; ALTER TABLE a DROP COLUMN n; INSERT INTO a VALUES (1), (1)")
	twice := g("CREATE UNIQUE INDEX a_id ON a (id)", "SELECT 1")
	if err := twice.Migrate(t.Context(), dsn); err == nil {
		t.Fatal("built, though it is not unique")
	}
	untouched(twice, false) // it may have left an index that is not valid
}
