package replay

import (
	"fmt"
	"math/rand/v2"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/pgserver"
	"github.com/tideover/tideover/internal/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

// workload is a token endpoint at its busiest, as its database sees it: pgbench repeats the statements of the bundled
// server, three refreshes to an authorization, on four connections and prepared. Other than with a real server, no time
// goes into HTTP and cryptography, so that capture's share is larger than there.
type workload struct {
	db     *postgres.DB
	binDir string
	read   bool // through a slot
}

// newWorkload makes a server as it is in production, with durable commits and memory for its working set, and a crowd on
// it. Vacuum and checkpoints come at their own time and would meet one round and not the next: they are left out for all.
func newWorkload(b *testing.B, walLevel string) *workload {
	b.Helper()
	const users = 20_000
	server := pgtest.NewServer(b, pgserver.Options{Name: "capture-" + walLevel, Fsync: true, Settings: map[string]string{
		"wal_level": walLevel, "shared_buffers": "1GB", "autovacuum": "off", "checkpoint_timeout": "1d", "max_wal_size": "8GB",
	}})
	dsn, err := server.CreateDatabase(b.Context(), "oauth")
	if err != nil {
		b.Fatal(err)
	}
	if err := authserver.Migrate(b.Context(), dsn, "1.1"); err != nil {
		b.Fatal(err)
	}
	w := &workload{db: open(b, "blue", dsn), binDir: server.BinDir()}
	exec(b, w.db, fmt.Sprintf(crowdSQL, users))
	if walLevel == "logical" {
		subscribe(b, w.db, server.BinDir(), dsn)
		w.read = true
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

// caughtUp waits for the reader of the slot: what it has still to read is no load on the next in turn.
func (w *workload) caughtUp(b *testing.B) {
	b.Helper()
	var end string
	if err := w.db.Pool().QueryRow(b.Context(), `SELECT pg_current_wal_lsn()::text`).Scan(&end); err != nil {
		b.Fatal(err)
	}
	const sent = `SELECT count(*) > 0 AND bool_and(sent_lsn >= $1::pg_lsn) FROM pg_stat_replication`
	for there := false; !there; {
		if err := w.db.Pool().QueryRow(b.Context(), sent, end).Scan(&there); err != nil {
			b.Fatal(err)
		}
		if !there {
			time.Sleep(time.Millisecond)
		}
	}
}

// crew is one pgbench that works on a server when it is its turn.
type crew struct {
	command *osexec.Cmd
	out     strings.Builder
	stderr  strings.Builder
	worked  time.Duration
}

// crew starts to work on a server for a while, and is told to pause.
func (w *workload) crew(b *testing.B, d time.Duration) *crew {
	b.Helper()
	c := &crew{command: osexec.CommandContext(b.Context(), filepath.Join(w.binDir, "pgbench"), "--no-vacuum", "--protocol=prepared",
		"--client=4", "--jobs=2", fmt.Sprintf("--time=%.0f", d.Seconds()),
		"--file=testdata/rotate.pgbench@3", "--file=testdata/issue.pgbench@1", w.db.DSN())}
	c.command.Stdout, c.command.Stderr = &c.out, &c.stderr
	if err := c.command.Start(); err != nil {
		b.Fatal(err)
	}
	c.signal(b, syscall.SIGSTOP)
	return c
}

func (c *crew) signal(b *testing.B, s syscall.Signal) {
	b.Helper()
	if err := c.command.Process.Signal(s); err != nil {
		b.Fatalf("pgbench: %v\n%s", err, c.stderr.String())
	}
}

// rate waits for the end and returns the transactions per second of its turns.
func (c *crew) rate(b *testing.B) float64 {
	b.Helper()
	if err := c.command.Wait(); err != nil {
		b.Fatalf("pgbench: %v\n%s", err, c.stderr.String())
	}
	found := regexp.MustCompile(`(?m)^number of transactions actually processed: ([0-9]+)`).FindStringSubmatch(c.out.String())
	if found == nil || !strings.Contains(c.out.String(), "\nnumber of failed transactions: 0 ") {
		b.Fatalf("pgbench printed\n%s", c.out.String())
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n / c.worked.Seconds()
}

// race works on some servers for a while, on one at a time and in short turns: what else goes on in the machine meets all
// alike, and yet their connections live as long as those of a pool do. It returns the transactions per second of each.
func race(b *testing.B, all []*workload, d, turn time.Duration) []float64 {
	b.Helper()
	var crews []*crew
	for _, w := range all {
		crews = append(crews, w.crew(b, d))
	}
	for begun := time.Now(); time.Since(begun) < d; {
		for _, i := range rand.Perm(len(all)) {
			c := crews[i]
			c.signal(b, syscall.SIGCONT)
			since := time.Now()
			time.Sleep(turn)
			c.signal(b, syscall.SIGSTOP)
			c.worked += time.Since(since)
			if all[i].read {
				all[i].caughtUp(b)
			}
		}
	}
	var rates []float64
	for _, c := range crews {
		c.signal(b, syscall.SIGCONT)
		rates = append(rates, c.rate(b))
	}
	return rates
}

// BenchmarkCapture measures what a busy server pays for capture, beside what it would pay for native logical
// replication: the same workload on three servers, without either, with our triggers, and with wal_level = logical and a
// slot that is read. The ratios are medians of several races. In the second half the first two change places: no server
// is quite as fast as another. 1.00 costs nothing.
func BenchmarkCapture(b *testing.B) {
	const races, each, turn = 8, 20 * time.Second, 50 * time.Millisecond
	one, other, logical := newWorkload(b, "replica"), newWorkload(b, "replica"), newWorkload(b, "logical")
	var base, triggers, slot []float64
	for b.Loop() {
		for _, half := range [][2]*workload{{one, other}, {other, one}} {
			capture := NewCapture(half[1].db, bundled(b), Blue)
			if err := capture.Install(b.Context(), postgres.DefaultBudget()); err != nil {
				b.Fatal(err)
			}
			all := []*workload{half[0], half[1], logical}
			race(b, all, 3*time.Second, turn) // warm
			for range races {
				rate := race(b, all, each, turn)
				base, triggers, slot = append(base, rate[0]), append(triggers, rate[1]/rate[0]), append(slot, rate[2]/rate[0])
			}
			if err := capture.Remove(b.Context(), postgres.DefaultBudget()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(median(base), "tx/s")
	b.ReportMetric(median(triggers), "with-capture/without")
	b.ReportMetric(median(slot), "with-slot/without")
	b.Logf("capture costs %.1f %% of the throughput, a logical slot %.1f %%; races: %s, and %s", 100*(1-median(triggers)), 100*(1-median(slot)),
		ratios(triggers), ratios(slot))
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

func ratios(v []float64) string {
	var all []string
	for _, r := range v {
		all = append(all, fmt.Sprintf("%.3f", r))
	}
	return strings.Join(all, " ")
}
