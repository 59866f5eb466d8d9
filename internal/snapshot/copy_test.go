package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

const largeObjects = `SELECT lo_from_bytea(4711, decode(repeat('ab', 3000000), 'hex')), lo_from_bytea(4712, '')`

func same(t *testing.T, blue, green string) {
	t.Helper()
	run(t, blue, dropOurs)
	if diff := cmp.Diff(dump(t, blue, "--schema-only"), dump(t, green, "--schema-only")); diff != "" {
		t.Errorf("the schemas differ (-blue +green):\n%s", diff)
	}
	data := []string{"--data-only", "--inserts", "--blobs"}
	if b, g := lines(dump(t, blue, data...)), lines(dump(t, green, data...)); b != g {
		bl, gl := strings.Split(b, "\n"), strings.Split(g, "\n")
		for i := range min(len(bl), len(gl)) {
			if bl[i] != gl[i] {
				t.Errorf("the rows differ: blue has %d lines, green %d; first difference\n%.200q\n%.200q", len(bl), len(gl), bl[i], gl[i])
				break
			}
		}
		if len(bl) != len(gl) {
			t.Errorf("blue has %d lines, green %d", len(bl), len(gl))
		}
	}
}

func TestCopyIsBlue(t *testing.T) {
	t.Parallel()
	blueDSN, greenDSN := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	run(t, blueDSN, features)
	run(t, blueDSN, largeObjects)
	run(t, blueDSN, ours)
	o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN), Profile: profile}
	var last [2]int64
	o.Progress = func(p snapshot.Progress) {
		if p.Done < last[0] || p.Done > p.Total {
			t.Errorf("progress %d of %d after %d", p.Done, p.Total, last[0])
		}
		last = [2]int64{p.Done, p.Total}
	}
	copied, err := snapshot.Copy(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if last[0] != last[1] || last[1] == 0 {
		t.Errorf("progress ends at %d of %d", last[0], last[1])
	}
	if copied.Rows < 1000 || copied.Total != copied.Rows {
		t.Errorf("%+v copied", copied)
	}
	o.Progress = nil
	if again, err := snapshot.Copy(t.Context(), o); err != nil || again.Rows != 0 || again.Total != copied.Total {
		t.Errorf("a second copy: %+v, %v; want nothing to do", again, err)
	}
	if done, err := snapshot.Finished(t.Context(), o.Green); err != nil || !done {
		t.Errorf("finished: %t, %v", done, err)
	}
	same(t, blueDSN, greenDSN)
	if moved, err := snapshot.AdvanceSequences(t.Context(), o.Blue, o.Green, nil, nil); err != nil || moved != 0 {
		t.Errorf("%d sequences moved (%v), want none", moved, err)
	}
	run(t, blueDSN, `SELECT nextval('counter'); SELECT nextval('untouched')`)
	run(t, greenDSN, `SELECT setval('everything_s_seq', 100000)`)
	if moved, err := snapshot.AdvanceSequences(t.Context(), o.Blue, o.Green, nil, nil); err != nil || moved != 2 {
		t.Errorf("%d sequences moved (%v), want 2", moved, err)
	}
	run(t, greenDSN, `CREATE SCHEMA later; CREATE TABLE later.migrated (id int)`)
	for range 2 {
		if err := snapshot.Clear(t.Context(), o.Green, "public"); err != nil {
			t.Fatal(err)
		}
	}
	fresh := pgtest.NewDatabase(t)
	if diff := cmp.Diff(dump(t, fresh, "--blobs"), dump(t, greenDSN, "--blobs")); diff != "" {
		t.Errorf("cleared, green is not as new:\n%s", diff)
	}
	if _, err := snapshot.Copy(t.Context(), o); err != nil {
		t.Errorf("there and back and there: %v", err)
	}
}

func TestReferenceIsBlue(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blueDSN, greenDSN := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	run(t, blueDSN, features)
	run(t, blueDSN, largeObjects)
	run(t, blueDSN, ours)
	o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN), Profile: profile}
	if err := snapshot.Reference(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	same(t, blueDSN, greenDSN)
	// Rows that stand in the way are an error, never half of a copy that passes for a whole one.
	if err := snapshot.Reference(t.Context(), o); err == nil {
		t.Error("a second copy into the same database: no error")
	}
}

func TestCopyLeavesForeignDatabaseAlone(t *testing.T) {
	t.Parallel()
	blueDSN, greenDSN := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	run(t, greenDSN, `CREATE TABLE somebodys (v text); INSERT INTO somebodys VALUES ('keep')`)
	before := dump(t, greenDSN)
	o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN)}
	if _, err := snapshot.Copy(t.Context(), o); !errors.Is(err, snapshot.ErrNotEmpty) {
		t.Errorf("error %v; want ErrNotEmpty", err)
	}
	if err := snapshot.Clear(t.Context(), o.Green, "public"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, dump(t, greenDSN)); diff != "" {
		t.Errorf("the undo of a refused copy touched the database:\n%s", diff)
	}
}

// cut makes blue with tables of some size, and a context with a way to cut the copy when table n is under way.
const cutTables = `
CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a); CREATE TABLE c (v text PRIMARY KEY, w int); CREATE INDEX ON c (v);
INSERT INTO a SELECT i, repeat(md5(i::text), 40) FROM generate_series(1, 20000) i;
INSERT INTO b SELECT i, i FROM generate_series(1, 20000) i;
INSERT INTO c SELECT md5(i::text), i FROM generate_series(1, 50000) i;`

var cutProfile = &plan.Profile{Tables: []plan.Table{{Name: "a"}, {Name: "b"}, {Name: "c"}}}

// capture begins to record blue's changes, as a run does before its copy.
func capture(t *testing.T, o snapshot.Options) {
	t.Helper()
	if err := replay.NewCapture(o.Blue, o.Profile, plan.Blue).Install(t.Context(), postgres.Budget{}); err != nil {
		t.Fatal(err)
	}
}

const terminate = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%' AND pid <> pg_backend_pid()`

// nobodyWorks waits until no client of the database is in a transaction: the server needs a moment to see a closed socket.
// Autovacuum, which the copied rows call, may work for longer.
func nobodyWorks(t *testing.T, dsn string) {
	t.Helper()
	const working = `SELECT count(*), pg_sleep(0.02)::text FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()`
	conn := connect(t, dsn)
	for began := time.Now(); ; {
		var n int
		var slept string
		if err := conn.QueryRow(t.Context(), working).Scan(&n, &slept); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("%d sessions are still at work", n)
		}
	}
}

func TestCopyGoesOnAfterItWasCut(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, side := range []string{"blue", "green", "process"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			blueDSN, greenDSN := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
			run(t, blueDSN, cutTables)
			o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN), Profile: cutProfile, Triggers: true, Jobs: 2, Chunk: pieces}
			capture(t, o)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			killer := connect(t, map[string]string{"blue": blueDSN, "green": greenDSN, "process": blueDSN}[side])
			cut := false
			o.Progress = func(p snapshot.Progress) {
				if cut || p.Done < p.Total/3 || len(p.Tables) == 0 {
					return
				}
				if side == "process" {
					cancel()
					cut = true
					return
				}
				var n int // 0: nobody is in the middle of a COPY at this moment
				if err := killer.QueryRow(t.Context(), terminate).Scan(&n); err != nil {
					t.Errorf("terminate: %v", err)
				}
				cut = n > 0
			}
			if _, err := snapshot.Copy(ctx, o); err == nil {
				t.Fatal("the copy did not notice")
			}
			for _, dsn := range []string{blueDSN, greenDSN} {
				nobodyWorks(t, dsn)
			}
			o.Progress = nil
			copied := map[string]bool{}
			var mu sync.Mutex
			o.PartDone = func(_ context.Context, table string, rows int64) error {
				mu.Lock()
				defer mu.Unlock()
				if copied[table] {
					return fmt.Errorf("table %s is copied twice", table)
				}
				copied[table] = true
				return nil
			}
			if _, err := snapshot.Copy(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			same(t, blueDSN, greenDSN)
		})
	}
}

func TestCopyGoesOnAfterTheJournalFailed(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blueDSN, greenDSN := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	run(t, blueDSN, cutTables)
	o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN), Profile: cutProfile, Triggers: true, Jobs: 1}
	capture(t, o)
	lost := errors.New("the lease is lost")
	o.PartDone = func(context.Context, string, int64) error { return lost }
	for range 3 { // a table a try: it is committed although the journal does not know
		if _, err := snapshot.Copy(t.Context(), o); !errors.Is(err, lost) {
			t.Fatalf("error %v", err)
		}
	}
	if r, err := snapshot.Copy(t.Context(), o); err != nil || r.Rows != 0 {
		t.Fatalf("%+v, %v; want all there already", r, err)
	}
	same(t, blueDSN, greenDSN)
}

func TestCopyRefusesAnotherSchemaOnResume(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blueDSN, greenDSN := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	run(t, blueDSN, cutTables)
	o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN)}
	o.PartDone = func(context.Context, string, int64) error { return errors.New("cut") }
	if _, err := snapshot.Copy(t.Context(), o); err == nil {
		t.Fatal("no error")
	}
	run(t, blueDSN, `ALTER TABLE a ADD COLUMN late int`)
	if _, err := snapshot.Copy(t.Context(), o); !errors.Is(err, snapshot.ErrSchemaChanged) {
		t.Errorf("error %v; want ErrSchemaChanged", err)
	}
}

func TestNoProgramOfTheServersVersion(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	err := snapshot.Schema(t.Context(), dsn, pgtest.NewDatabase(t), snapshot.SchemaOptions{BinDir: t.TempDir()})
	var missing *snapshot.ProgramError
	if !errors.As(err, &missing) || missing.Server < 10 || !strings.Contains(missing.Hint(), "postgresql-client-") {
		t.Errorf("error %v; want a ProgramError", err)
	}
}
