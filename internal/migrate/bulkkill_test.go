package migrate_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/prove"
)

// bulkChild makes this test binary a process that migrates offline; it kills itself after so many statements.
const bulkChild = "TIDEOVER_TEST_BULK_STATEMENTS"

var mortal = files("1_shop.sql", shop, "2_a.sql", up+`ALTER TABLE customer ADD COLUMN kind int;
CREATE INDEX a ON customer (code, kind);`, "3_b.sql", up+`UPDATE customer SET kind = 4;
UPDATE customer SET n = n + 1;
UPDATE customer SET n = n * 2 WHERE n > 7;
INSERT INTO region SELECT i, 'r' FROM generate_series(100, 120) i;`, "4_c.sql", up+`ALTER TABLE purchase ADD CONSTRAINT by_name FOREIGN KEY (buyer) REFERENCES customer (name);
CREATE INDEX b ON purchase (note);
CREATE INDEX c ON purchase (buyer);
UPDATE purchase SET total = total + 1;`)

func inBulkChild(dsn, statements string) int {
	left, _ := strconv.Atoi(statements)
	done := 0 // by processes that were killed: it is told of them too
	if conn, err := pgx.Connect(context.Background(), dsn); err == nil {
		_ = conn.QueryRow(context.Background(), `SELECT sum(cardinality(seconds)) FROM tideover_bulk`).Scan(&done)
		_ = conn.Close(context.Background())
	}
	err := migrate.NewGoose(mortal, 0, migrate.Arranged(), migrate.Timed(func(x migrate.Timing) {
		if x.Done <= done {
			return
		}
		if left--; left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})).Migrate(context.Background(), dsn)
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

// TestBulkGoesOnAfterKill: killed at any statement, again and again, it ends as if nothing had happened.
func TestBulkGoesOnAfterKill(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	bin := pgtest.Shared(t).BinDir()
	whole := pgtest.NewDatabase(t)
	if err := migrate.NewGoose(mortal, 0, migrate.AsWritten()).Migrate(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	want, err := prove.Dump(t.Context(), whole, bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range slice.Of(t, 1, 3) {
		statements := n + 1
		dsn := pgtest.NewDatabase(t)
		if err := migrate.NewGoose(mortal, 1, migrate.AsWritten()).Migrate(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
		conn := connect(t, dsn)
		if statements == 3 { // killed while it waits: its session on the server is still there when the next process comes
			must(t, conn, `BEGIN; LOCK TABLE purchase`)
			child := bulkProcess(t, dsn, 99)
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, connect(t, dsn), `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'purchase'::regclass AND NOT granted)`)
			_ = child.Process.Kill()
			_ = child.Wait()
			must(t, conn, `COMMIT`)
		}
		kills := 0
		for ; ; kills++ {
			out, err := bulkProcess(t, dsn, statements).CombinedOutput()
			if err == nil {
				break
			}
			if kills > 20 || len(out) > 0 {
				t.Fatalf("after %d kills: %v: %s", kills, err, out)
			}
			if n, err := migrate.NewGoose(mortal, 0).Pending(t.Context(), dsn); err != nil || n != 3 {
				t.Fatalf("half way %d migrations are pending, %v; want all 3", n, err)
			}
		}
		if kills < 2 {
			t.Errorf("%d kills: nothing was tested", kills)
		}
		got, err := prove.Dump(t.Context(), dsn, bin)
		if err != nil {
			t.Fatal(err)
		}
		tables, err := prove.CompareRows(t.Context(), connect(t, whole), conn, nil)
		if err != nil || got != want {
			t.Fatalf("%v; the schema is\n%s", err, got)
		}
		for _, table := range tables {
			if table.Difference != "" {
				t.Errorf("%s: %s", table.Name, table.Difference)
			}
		}
	}
}

func bulkProcess(t *testing.T, dsn string, statements int) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDSN+"="+dsn, fmt.Sprintf("%s=%d", bulkChild, statements))
	return cmd
}
