package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
)

// fenced is a database with a parent and a child table and an installed fence.
func fenced(t *testing.T) (*postgres.DB, *Fence) {
	t.Helper()
	db := open(t, "blue", newDatabase(t))
	exec(t, db, `CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (id int PRIMARY KEY REFERENCES parent ON DELETE CASCADE);
CREATE TABLE part (id int) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (1000);
INSERT INTO parent VALUES (1, 'a'), (2, 'b'); INSERT INTO child VALUES (1), (2)`)
	f := NewFence(db, "")
	if err := f.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	return db, f
}

func raise(t *testing.T, f *Fence) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := f.Raise(ctx, 0); err != nil {
		t.Fatal(err)
	}
}

func TestFenceRefusesEveryWrite(t *testing.T) {
	t.Parallel()
	db, f := fenced(t)
	raise(t, f)
	writes := []struct{ name, sql string }{
		{"insert", `INSERT INTO parent VALUES (9)`},
		{"update", `UPDATE parent SET v = 'x' WHERE id = 1`},
		{"update of nothing", `UPDATE parent SET v = 'x' WHERE false`},
		{"delete with cascade", `DELETE FROM parent WHERE id = 1`},
		{"truncate", `TRUNCATE parent CASCADE`},
		{"truncate of a child", `TRUNCATE child`},
		{"merge", `MERGE INTO parent USING (SELECT 7 AS n) s ON id = n WHEN NOT MATCHED THEN INSERT VALUES (n)`},
		{"upsert", `INSERT INTO parent VALUES (1) ON CONFLICT (id) DO UPDATE SET v = 'y'`},
		{"cte", `WITH d AS (DELETE FROM child RETURNING id) SELECT count(*) FROM d`},
		{"partition through its parent", `INSERT INTO part VALUES (1)`},
		{"partition", `INSERT INTO part1 VALUES (1)`},
		{"replica role", `SET session_replication_role = replica; INSERT INTO parent VALUES (9)`},
		{"function", `DO $$ BEGIN EXECUTE 'INSERT INTO parent VALUES (9)'; END $$`},
	}
	for _, w := range writes {
		t.Run(w.name, func(t *testing.T) {
			conn := stranger(t, db) // a superuser
			_, err := conn.Exec(t.Context(), w.sql, pgx.QueryExecModeSimpleProtocol)
			if got := postgres.Code(err); got != FencedCode {
				t.Errorf("%s: got %v, want SQLSTATE %s", w.sql, err, FencedCode)
			}
		})
	}
	t.Run("copy", func(t *testing.T) {
		_, err := stranger(t, db).CopyFrom(t.Context(), pgx.Identifier{"parent"}, []string{"id"}, pgx.CopyFromRows([][]any{{int32(9)}}))
		if got := postgres.Code(err); got != FencedCode {
			t.Errorf("got %v, want SQLSTATE %s", err, FencedCode)
		}
	})
	t.Run("reads go on", func(t *testing.T) {
		var n int
		if err := stranger(t, db).QueryRow(t.Context(), `SELECT count(*) FROM parent`).Scan(&n); err != nil || n != 2 {
			t.Errorf("got %d, %v", n, err)
		}
	})
	t.Run("ours go through", func(t *testing.T) {
		exec(t, db, `INSERT INTO parent VALUES (3)`)
	})
	if err := f.Lower(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := stranger(t, db).Exec(t.Context(), `INSERT INTO parent VALUES (4)`); err != nil {
		t.Errorf("after Lower: %v", err)
	}
}

// A fence whose process is gone opens by itself; one that is kept does not.
func TestFenceEnds(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, conn *pgx.Conn) string {
		t.Helper()
		_, err := conn.Exec(t.Context(), `UPDATE parent SET v = v WHERE id = 1`)
		if err != nil && postgres.Code(err) == "" {
			t.Fatal(err)
		}
		return postgres.Code(err)
	}
	t.Run("by itself", func(t *testing.T) {
		t.Parallel()
		db, f := fenced(t)
		conn := stranger(t, db)
		if err := f.Raise(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		await.That(t, "a write passes", func() bool {
			code := write(t, conn)
			if code != "" && code != FencedCode {
				t.Fatalf("SQLSTATE %s", code)
			}
			return code == ""
		})
		if raised, err := f.Raised(t.Context()); raised || err != nil {
			t.Errorf("Raised says %v, %v", raised, err)
		}
		if err := f.Keep(t.Context()); !errors.Is(err, ErrFenceOpen) {
			t.Errorf("Keep after the end: %v", err)
		}
		if code := write(t, conn); code != "" {
			t.Errorf("Keep has fenced all the same: SQLSTATE %s", code)
		}
	})
	t.Run("kept", func(t *testing.T) {
		t.Parallel()
		db, f := fenced(t)
		if err := f.Raise(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := f.Keep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.Raise(t.Context(), time.Microsecond); err != nil { // makes it no shorter
			t.Fatal(err)
		}
		if code := write(t, stranger(t, db)); code != FencedCode {
			t.Errorf("SQLSTATE %q", code)
		}
		if err := f.Keep(t.Context()); err != nil {
			t.Errorf("Keep again: %v", err)
		}
		if err := f.Lower(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.Keep(t.Context()); !errors.Is(err, ErrFenceOpen) {
			t.Errorf("Keep of an open fence: %v", err)
		}
		if code := write(t, stranger(t, db)); code != "" {
			t.Errorf("after Lower: SQLSTATE %q", code)
		}
	})
}

// A writer whose snapshot is older than the fence must be refused too.
func TestFenceRefusesOldSnapshots(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			db, f := fenced(t)
			tx, err := stranger(t, db).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
			if err != nil {
				t.Fatal(err)
			}
			var n int
			if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM parent`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			raise(t, f)
			if _, err := tx.Exec(t.Context(), `INSERT INTO parent VALUES (9)`); postgres.Code(err) != FencedCode {
				t.Errorf("got %v, want SQLSTATE %s", err, FencedCode)
			}
		})
	}
}

// The attack that the sequence is there against: a flag in a table is stale in an old snapshot.
func TestPlainTableWouldNotDo(t *testing.T) {
	t.Parallel()
	db, f := fenced(t)
	exec(t, db, `CREATE TABLE tideover.flag (last_value bigint); INSERT INTO tideover.flag VALUES (0);
CREATE OR REPLACE FUNCTION tideover.refuse_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF (SELECT last_value FROM tideover.flag) = 1 AND `+passed+` IS NOT TRUE THEN
RAISE EXCEPTION 'fenced' USING ERRCODE = 'TD001'; END IF; RETURN NULL; END $$`)
	tx, err := stranger(t, db).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT 1 FROM parent`); err != nil {
		t.Fatal(err)
	}
	raise(t, f)
	exec(t, db, `UPDATE tideover.flag SET last_value = 1`)
	if _, err := tx.Exec(t.Context(), `INSERT INTO parent VALUES (9)`); err != nil {
		t.Fatalf("the mutant refused (%v): TestFenceRefusesOldSnapshots proves nothing", err)
	}
}

func TestFenceWaitsForWritersUnderWay(t *testing.T) {
	t.Parallel()
	db, f := fenced(t)
	writer := stranger(t, db)
	tx, err := writer.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `INSERT INTO parent VALUES (10)`); err != nil {
		t.Fatal(err)
	}
	raised := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		raised <- f.Raise(ctx, 0)
	}()
	waitForLock(t, db)
	select {
	case err := <-raised:
		t.Fatalf("raised while a writer was under way: %v", err)
	default:
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-raised; err != nil {
		t.Fatal(err)
	}
	var n int
	if err := pgtest.Pool(t, db.DSN()).QueryRow(t.Context(), `SELECT count(*) FROM parent WHERE id = 10`).Scan(&n); err != nil || n != 1 {
		t.Errorf("the writer's row: %d, %v", n, err)
	}
}

func TestFenceGivesUpAndOpens(t *testing.T) {
	t.Parallel()
	db, f := fenced(t)
	holder := stranger(t, db)
	tx, err := holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `UPDATE parent SET v = 'held' WHERE id = 1`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = f.Raise(ctx, 0)
	var w *WriterError
	if !errors.As(err, &w) || w.Table != "parent" || len(w.Writers) != 1 {
		t.Fatalf("got %v, want a WriterError that names one writer of parent", err)
	}
	if want := fmt.Sprintf("pid %d", holder.PgConn().PID()); w.Writers[0][:len(want)] != want {
		t.Errorf("the error names %q, want %q", w.Writers[0], want)
	}
	if raised, err := f.Raised(t.Context()); raised || err != nil {
		t.Errorf("still raised: %v, %v", raised, err)
	}
	if _, err := stranger(t, db).Exec(t.Context(), `INSERT INTO parent VALUES (20)`); err != nil {
		t.Errorf("a write after the fence gave up: %v", err)
	}
}

func TestFenceNamesNewTables(t *testing.T) {
	t.Parallel()
	db, f := fenced(t)
	exec(t, db, `CREATE TABLE fresh (id int); ALTER TABLE child DISABLE TRIGGER tideover_fence`)
	missing, err := f.Missing(t.Context())
	if err != nil || !slices.Equal(missing, []string{"child", "fresh"}) {
		t.Fatalf("missing: %v, %v", missing, err)
	}
	if err := f.Raise(t.Context(), 0); err == nil {
		t.Error("raised over a table without a trigger")
	}
	for range 2 { // safe twice
		if err := f.Install(t.Context(), postgres.DefaultBudget()); err != nil {
			t.Fatal(err)
		}
	}
	if missing, err := f.Missing(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("missing after Install: %v, %v", missing, err)
	}
	raise(t, f)
	raise(t, f)
	for range 2 {
		if err := f.Remove(t.Context(), postgres.DefaultBudget()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stranger(t, db).Exec(t.Context(), `INSERT INTO fresh VALUES (1)`); err != nil {
		t.Error(err)
	}
	if err := f.Lower(t.Context()); err != nil {
		t.Errorf("lower what is not there: %v", err)
	}
}

// A crowd of writers against the fence: after Raise returns, nothing changes any more.
func TestFenceHoldsUnderLoad(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	db, f := fenced(t)
	const writers = 4
	stop := make(chan struct{})
	done := make(chan error, writers)
	for w := range writers {
		conn := stranger(t, db)
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				_, err := conn.Exec(context.Background(), `INSERT INTO parent VALUES ($1)`, 1000+w*1_000_000+i)
				if err != nil && postgres.Code(err) != FencedCode {
					done <- err
					return
				}
			}
		}()
	}
	for range 5 {
		raise(t, f)
		var before, after int64
		count := func(n *int64) {
			if err := pgtest.Pool(t, db.DSN()).QueryRow(t.Context(), `SELECT count(*) FROM parent`).Scan(n); err != nil {
				t.Fatal(err)
			}
		}
		count(&before)
		for range 20 {
			count(&after)
		}
		if before != after {
			t.Errorf("%d rows came in through the fence", after-before)
		}
		if err := f.Lower(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkFence(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("installed=%t", on), func(b *testing.B) {
			db := open(b, "blue", newDatabase(b))
			exec(b, db, `CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)`)
			if on {
				if err := NewFence(db, "").Install(b.Context(), postgres.DefaultBudget()); err != nil {
					b.Fatal(err)
				}
			}
			conn := stranger(b, db)
			for b.Loop() {
				if _, err := conn.Exec(b.Context(), `UPDATE t SET v = v + 1 WHERE id = 1`); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
