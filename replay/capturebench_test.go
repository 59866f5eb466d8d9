package replay

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// workload is a token endpoint at its busiest, as its database sees it: pgbench repeats the statements of the bundled
// server, three refreshes to an authorization, on four connections and prepared. Other than with a real server, no time
// goes into HTTP and cryptography, so that capture's share is larger than there.
type workload struct {
	db     *postgres.DB
	binDir string
	read   bool // through a slot
}

// newWorkload makes a server as it is in production, with commits that reach a disk and memory for its working set, and a
// crowd on it. Vacuum and checkpoints come at their own time and would meet one round and not the next: they are left out
// for all.
func newWorkload(b *testing.B, walLevel string) *workload {
	b.Helper()
	const users = 20_000
	server := pgtest.NewServer(b, pgserver.Options{Name: "capture-" + walLevel, Fsync: true, Settings: map[string]string{
		"wal_level": walLevel, "shared_buffers": "1GB", "track_wal_io_timing": "on", "autovacuum": "off", "checkpoint_timeout": "1d", "max_wal_size": "8GB",
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
	await.That(b, "the slot's reader has all", func() (there bool) {
		if err := w.db.Pool().QueryRow(b.Context(), sent, end).Scan(&there); err != nil {
			b.Fatal(err)
		}
		return there
	})
}

// crew is one pgbench that works on a server when it is its turn.
type crew struct {
	command *osexec.Cmd
	dir     string // where it writes when each of its transactions ended
	out     strings.Builder
	stderr  strings.Builder
	from    time.Time // transactions that ended before do not count,
	to      time.Time // nor later ones
	worked  time.Duration
}

// crew starts to work on a server for a while, and is told to pause.
func (w *workload) crew(b *testing.B, d time.Duration) *crew {
	b.Helper()
	c := &crew{dir: b.TempDir()}
	c.command = osexec.CommandContext(b.Context(), filepath.Join(w.binDir, "pgbench"), "--no-vacuum", "--protocol=prepared",
		"--client=4", "--jobs=2", fmt.Sprintf("--time=%.0f", d.Seconds()), "--log", "--log-prefix="+filepath.Join(c.dir, "log"),
		"--file=testdata/rotate.pgbench@3", "--file=testdata/issue.pgbench@1", w.db.DSN())
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
	if !strings.Contains(c.out.String(), "\nnumber of failed transactions: 0 ") {
		b.Fatalf("pgbench printed\n%s", c.out.String())
	}
	logs, err := filepath.Glob(filepath.Join(c.dir, "log.*"))
	if err != nil || len(logs) == 0 {
		b.Fatalf("pgbench left no log: %v", err)
	}
	var done float64
	for _, name := range logs {
		log, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(string(log)) {
			var client, n, took, script, s, us int64
			if _, err := fmt.Sscan(line, &client, &n, &took, &script, &s, &us); err != nil {
				b.Fatalf("%s: %q: %v", name, line, err)
			}
			if ended := time.Unix(s, us*1000); ended.After(c.from) && ended.Before(c.to) {
				done++
			}
		}
	}
	return done / c.worked.Seconds()
}

// syncTook is how long the server's disk took, on average, to make its log durable.
func (w *workload) syncTook(b *testing.B) time.Duration {
	b.Helper()
	var ms float64
	if err := w.db.Pool().QueryRow(b.Context(), `SELECT wal_sync_time / greatest(wal_sync, 1) FROM pg_stat_wal`).Scan(&ms); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Microsecond)
}

// race works on some servers for a while, on one at a time and in short turns, so that what else goes on in the machine
// meets all alike. Their connections are those of a pool, which live long: what they do at first does not count. It
// returns the transactions per second of each.
func race(b *testing.B, all []*workload, warm, d, turn time.Duration) []float64 {
	b.Helper()
	var crews []*crew
	for _, w := range all {
		crews = append(crews, w.crew(b, warm+d+time.Second))
	}
	cold := true
	for begun := time.Now(); time.Since(begun) < warm+d; {
		if cold && time.Since(begun) > warm {
			cold = false
			for _, c := range crews {
				c.from, c.worked = time.Now(), 0
			}
		}
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
	end := time.Now()
	var rates []float64
	for _, c := range crews {
		c.to = end
		c.signal(b, syscall.SIGCONT)
	}
	for _, c := range crews {
		rates = append(rates, c.rate(b))
	}
	return rates
}

// BenchmarkCapture measures what a busy server pays for capture, beside what it would pay for native logical
// replication: the same workload on three servers, without either, with our triggers, and with wal_level = logical and a
// slot that is read. The ratios are means of many short races, since each has sessions of its own, and one session is
// never quite as fast as another. In the second half the first two servers change places. 1.00 costs nothing.
func BenchmarkCapture(b *testing.B) {
	const races, warm, each, turn = 20, time.Second, 8 * time.Second, 50 * time.Millisecond
	one, other, logical := newWorkload(b, "replica"), newWorkload(b, "replica"), newWorkload(b, "logical")
	var base, triggers, slot []float64
	for b.Loop() {
		for _, half := range [][2]*workload{{one, other}, {other, one}} {
			capture := NewCapture(half[1].db, bundled(b), plan.Blue)
			if err := capture.Install(b.Context(), postgres.DefaultBudget()); err != nil {
				b.Fatal(err)
			}
			all := []*workload{half[0], half[1], logical}
			race(b, all, 0, 3*time.Second, turn) // of all servers' caches
			for range races {
				rate := race(b, all, warm, each, turn)
				base, triggers, slot = append(base, rate[0]), append(triggers, rate[1]/rate[0]), append(slot, rate[2]/rate[0])
			}
			if err := capture.Remove(b.Context(), postgres.DefaultBudget()); err != nil {
				b.Fatal(err)
			}
		}
	}
	rate, _ := mean(base)
	withTriggers, triggersError := mean(triggers)
	withSlot, slotError := mean(slot)
	b.ReportMetric(rate, "tx/s")
	b.ReportMetric(withTriggers, "with-capture/without")
	b.ReportMetric(withSlot, "with-slot/without")
	b.Logf("capture costs %.1f %% (± %.1f) of the throughput, a logical slot %.1f %% (± %.1f), where the disk takes %v to sync; races: %s, and %s",
		100*(1-withTriggers), 100*triggersError, 100*(1-withSlot), 100*slotError, one.syncTook(b), ratios(triggers), ratios(slot))
}

// mean is the mean of some values with its standard error.
func mean(v []float64) (mean, standardError float64) {
	n := float64(len(v))
	for _, x := range v {
		mean += x / n
	}
	var squares float64
	for _, x := range v {
		squares += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(squares / (n - 1) / n)
}

func ratios(v []float64) string {
	var all []string
	for _, r := range v {
		all = append(all, fmt.Sprintf("%.2f", r))
	}
	return strings.Join(all, " ")
}
