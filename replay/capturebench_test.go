package replay

import (
	"context"
	"fmt"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/pgserver"
	"github.com/tideover/tideover/internal/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

// workload is a token endpoint at its busiest: four clients that do nothing but refresh, each time in one transaction
// that marks the used refresh token, deletes the access token and writes a new pair.
type workload struct {
	db    *postgres.DB
	users int
	turn  atomic.Int64
}

const workloadClients = 4

// newWorkload makes a server as it is in production, with its commits durable, and a crowd on it.
func newWorkload(b *testing.B, walLevel string) *workload {
	b.Helper()
	const users = 20_000
	server := pgtest.NewServer(b, pgserver.Options{Name: "capture-" + walLevel, Fsync: true, Settings: map[string]string{"wal_level": walLevel}})
	dsn, err := server.CreateDatabase(b.Context(), "oauth")
	if err != nil {
		b.Fatal(err)
	}
	if err := authserver.Migrate(b.Context(), dsn, "1.1"); err != nil {
		b.Fatal(err)
	}
	w := &workload{db: open(b, "blue", dsn), users: users}
	exec(b, w.db, fmt.Sprintf(crowdSQL, users))
	if walLevel == "logical" {
		subscribe(b, w.db, server.BinDir(), dsn)
	}
	return w
}

// subscribe consumes all changes through a slot, as native logical replication would, and throws them away.
func subscribe(b *testing.B, db *postgres.DB, binDir, dsn string) {
	b.Helper()
	exec(b, db, `CREATE PUBLICATION everything FOR ALL TABLES`)
	exec(b, db, `SELECT pg_create_logical_replication_slot('everything', 'pgoutput')`)
	c := osexec.Command(filepath.Join(binDir, "pg_recvlogical"), "--dbname="+dsn, "--slot=everything", "--start", "--no-loop",
		"--option=proto_version=1", "--option=publication_names=everything", "--file=/dev/null")
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
}

// run refreshes for a while and returns the transactions per second.
func (w *workload) run(b *testing.B, d time.Duration) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for client := range workloadClients {
		g.Go(func() error {
			conn, err := pgx.Connect(b.Context(), w.db.DSN())
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx))
			for ctx.Err() == nil {
				turn := w.turn.Add(1)
				chain := 1 + (int(turn)*workloadClients+client)%w.users
				if err := refresh(b.Context(), conn, fmt.Sprintf("k%d", chain), turn); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	began := time.Now()
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return float64(done.Load()) / time.Since(began).Seconds()
}

func refresh(ctx context.Context, conn *pgx.Conn, chain string, turn int64) error {
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE oauth_refresh SET active = false WHERE request_id = $1 AND active`, chain)
	batch.Queue(`DELETE FROM oauth_access WHERE request_id = $1`, chain)
	batch.Queue(`INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, session_data, expires_at)
		VALUES ($1, $2, 'app1', 'u', $2, repeat('x', 600), now() + '1 day')`, fmt.Sprintf("na%d", turn), chain)
	batch.Queue(`INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, session_data, expires_at)
		VALUES ($1, $2, 'app1', 'u', $2, repeat('x', 600), now() + '1 day')`, fmt.Sprintf("nr%d", turn), chain)
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch).Close() })
}

// BenchmarkCapture measures what a busy server pays for capture, beside what it would pay for native logical
// replication: the same workload in turns on three databases, without either, with our triggers, and with
// wal_level = logical and a slot that is read. The ratios are medians of rounds; 1.00 costs nothing.
func BenchmarkCapture(b *testing.B) {
	const rounds, each = 9, 2 * time.Second
	plain, captured, logical := newWorkload(b, "replica"), newWorkload(b, "replica"), newWorkload(b, "logical")
	if err := NewCapture(captured.db, bundled(b), Blue).Install(b.Context(), postgres.DefaultBudget()); err != nil {
		b.Fatal(err)
	}
	for _, w := range []*workload{plain, captured, logical} {
		w.run(b, each) // warm
	}
	var base, triggers, slot []float64
	for b.Loop() {
		for range rounds {
			a := plain.run(b, each)
			base = append(base, a)
			triggers = append(triggers, captured.run(b, each)/a)
			slot = append(slot, logical.run(b, each)/a)
		}
	}
	b.ReportMetric(median(base), "refreshes/s")
	b.ReportMetric(median(triggers), "with-capture/without")
	b.ReportMetric(median(slot), "with-slot/without")
	b.Logf("capture costs %.1f %% of the throughput, a logical slot %.1f %%; rounds: %s", 100*(1-median(triggers)), 100*(1-median(slot)), ratios(triggers))
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

func ratios(v []float64) string {
	var all []string
	for _, r := range v {
		all = append(all, fmt.Sprintf("%.2f", r))
	}
	return strings.Join(all, " ")
}
