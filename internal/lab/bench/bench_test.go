package bench_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/bench"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

// stock is what a vendor would write.
const stock = `-- +goose Up
CREATE INDEX token_subject_client_idx ON token (subject, client);
CREATE INDEX token_used_idx ON token (used);
ALTER TABLE token ALTER COLUMN client SET NOT NULL;
ALTER TABLE token ADD CONSTRAINT token_client_fk FOREIGN KEY (client) REFERENCES client (id);
ALTER TABLE token ADD CONSTRAINT token_subject_key UNIQUE (subject);
`

func table(tb testing.TB, rows int) string {
	tb.Helper()
	dsn := pgtest.NewDatabase(tb)
	conn := connect(tb, dsn)
	for _, sql := range []string{
		`CREATE TABLE public.client (id text PRIMARY KEY)`,
		`INSERT INTO public.client SELECT 'client-' || i FROM generate_series(0, 99) i`,
		`CREATE TABLE public.token (id bigint PRIMARY KEY, client text, subject text, used integer NOT NULL DEFAULT 0)`,
		fmt.Sprintf(`INSERT INTO public.token SELECT i, 'client-' || i %% 100, md5(i::text), 0 FROM generate_series(1, %d) i`, rows),
		`VACUUM ANALYZE public.token`,
	} {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			tb.Fatal(err)
		}
	}
	return dsn
}

func connect(tb testing.TB, dsn string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func folder(sql string) fstest.MapFS { return fstest.MapFS{"1_change.sql": {Data: []byte(sql)}} }

func live(sql string, tell func(migrate.Notice)) *migrate.Goose {
	return migrate.NewGoose(folder(sql), 0, migrate.Live(postgres.DefaultBudget()), migrate.Told(tell))
}

// measured runs a migration under 200 writes a second.
func measured(tb testing.TB, dsn string, rows int, m interface {
	Migrate(ctx context.Context, dsn string) error
}) (longest, median, took time.Duration) {
	tb.Helper()
	w, err := bench.StartWriter(context.Background(), dsn, rows, 200)
	if err != nil {
		tb.Fatal(err)
	}
	await.That(tb, "the pool is warm", func() bool { return w.Written() >= 100 })
	began := time.Now()
	migrateErr := m.Migrate(context.Background(), dsn)
	took = time.Since(began)
	longest, median, err = w.Stop()
	if err != nil || migrateErr != nil {
		tb.Fatal(err, migrateErr)
	}
	return longest, median, took
}

// BenchmarkLockSafe migrates 2 million rows under 200 writes a second, with the vendor's SQL and with ours, and prints how
// long the longest write had to wait.
func BenchmarkLockSafe(b *testing.B) {
	const rows = 2_000_000
	for range b.N {
		stockLongest, _, stockTook := measured(b, table(b, rows), rows, migrate.NewGoose(folder(stock), 0))
		safeLongest, safeMedian, safeTook := measured(b, table(b, rows), rows, live(stock, nil))
		b.ReportMetric(float64(stockLongest.Milliseconds()), "stock-longest-ms")
		b.ReportMetric(float64(safeLongest.Milliseconds()), "rewritten-longest-ms")
		b.ReportMetric(float64(stockLongest)/float64(safeLongest), "times-shorter")
		b.Logf("2M rows, 200 writes/s: the longest write waited %s with stock SQL (%s in all), %s rewritten (%s in all, median write %s): %.0f times shorter",
			stockLongest.Round(time.Millisecond), stockTook.Round(time.Second), safeLongest.Round(time.Millisecond), safeTook.Round(time.Second),
			safeMedian.Round(time.Microsecond), float64(stockLongest)/float64(safeLongest))
	}
}

// BenchmarkLockHolder lets a transaction sit on the table for 20 seconds: that delays the migration, not the traffic.
func BenchmarkLockHolder(b *testing.B) {
	const rows, sits = 100_000, 20 * time.Second
	for range b.N {
		longest, took := withHolder(b, rows, sits)
		if took < sits-2*time.Second { // the holder sits there while the writer warms up
			b.Fatalf("the migration took %s: it did not wait for the holder", took)
		}
		b.ReportMetric(float64(longest.Milliseconds()), "longest-write-ms")
		b.Logf("a holder of %s: the migration took %s, the longest write %s", sits, took.Round(time.Millisecond), longest.Round(time.Millisecond))
	}
}

// withHolder migrates while a reader sits on the table.
func withHolder(tb testing.TB, rows int, sits time.Duration) (longest, took time.Duration) {
	tb.Helper()
	dsn := table(tb, rows)
	holder := connect(tb, dsn)
	if _, err := holder.Exec(context.Background(), `BEGIN; SELECT count(*) FROM public.token`); err != nil {
		tb.Fatal(err)
	}
	let := make(chan error, 1)
	go func() {
		time.Sleep(sits) // the holder's habit
		_, err := holder.Exec(context.Background(), `COMMIT`)
		let <- err
	}()
	longest, _, took = measured(tb, dsn, rows, live("-- +goose Up\nALTER TABLE token ADD COLUMN note text;\nCREATE INDEX token_note_idx ON token (note);", nil))
	if err := <-let; err != nil {
		tb.Fatal(err)
	}
	return longest, took
}

// TestHolderDelaysTheMigration is BenchmarkLockHolder by events: the migration waits for the holder, and meanwhile writes
// are answered.
func TestHolderDelaysTheMigration(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const rows = 1000
	dsn := table(t, rows)
	holder := connect(t, dsn)
	if _, err := holder.Exec(t.Context(), `BEGIN; SELECT count(*) FROM public.token`); err != nil {
		t.Fatal(err)
	}
	w, err := bench.StartWriter(t.Context(), dsn, rows, 200)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan struct{})
	say := sync.OnceFunc(func() { close(waits) })
	done := make(chan error, 1)
	go func() {
		done <- live("-- +goose Up\nALTER TABLE token ADD COLUMN note text;", func(migrate.Notice) { say() }).Migrate(t.Context(), dsn)
	}()
	<-waits // the migration has said who keeps it
	before := w.Written()
	await.That(t, "writes are answered beside a migration that waits", func() bool { return w.Written() >= before+100 })
	select {
	case err := <-done:
		t.Errorf("the migration did not wait for the holder (%v)", err)
	default:
	}
	if _, err := holder.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Stop(); err != nil {
		t.Fatal(err)
	}
}

// TestStockIsRewritten: the benchmark compares what it says it does.
func TestStockIsRewritten(t *testing.T) {
	t.Parallel()
	s, err := sqlrewrite.Parse("1_change.sql", stock)
	if err != nil {
		t.Fatal(err)
	}
	r, err := sqlrewrite.Live(s)
	if err != nil || len(r.Hazards) > 0 || len(r.Files) < 8 {
		t.Errorf("%d files, %+v, %v", len(r.Files), r.Hazards, err)
	}
}
