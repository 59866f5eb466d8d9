package replay

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// A long queue must not end in memory: neither many transactions nor a single one that is as long.
func TestLongQueueFitsIntoMemory(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const room = 300 << 20
	changes := 200_000
	if os.Getenv("TIDEOVER_HISTORIES") != "" {
		changes = 1_000_000
	}
	for _, c := range slice.Pick(t, 0, []struct {
		name string
		sql  []string // each a transaction
	}{
		{"one transaction", []string{fmt.Sprintf(`INSERT INTO event SELECT i, i FROM generate_series(1, %d) i`, changes/2),
			fmt.Sprintf(`BEGIN; DELETE FROM event WHERE id %% 2 = 0; UPDATE event SET v = v + 1; INSERT INTO event SELECT -i, i FROM generate_series(1, %d) i; COMMIT`, changes/4)}},
		{"transactions of a hundred", slices.Collect(func(yield func(string) bool) {
			for i := 0; i < changes && yield(fmt.Sprintf(`INSERT INTO event SELECT i, i FROM generate_series(%d, %d) i`, i, i+99)); i += 100 {
			}
		})},
	}) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := &pair{blue: open(t, "blue", newDatabase(t)), green: open(t, "green", newDatabase(t)), profile: narrow}
			for _, db := range []*postgres.DB{p.blue, p.green} {
				exec(t, db, narrowSQL)
			}
			if err := (widen{}).Migrate(t.Context(), p.green.DSN()); err != nil {
				t.Fatal(err)
			}
			if err := NewCapture(p.blue, narrow, plan.Blue).Install(t.Context(), postgres.DefaultBudget()); err != nil {
				t.Fatal(err)
			}
			p.as(t, c.sql...)
			began := time.Now()
			child := startChild(t, "narrow", triggers, p.blue.DSN(), p.green.DSN())
			peak, err := child.wait(t)
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began).Seconds()
			var applied int
			if err := p.blue.Pool().QueryRow(t.Context(), `SELECT applied FROM tideover.capture`).Scan(&applied); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d changes: %.0f a second, at most %d MiB", applied, float64(applied)/took, peak>>20)
			if peak == 0 || peak > room {
				t.Errorf("the process took %d MiB", peak>>20)
			}
			want := p.text(t, p.blue, `SELECT md5(string_agg(id || ':' || v || ':' || v + 1, ',' ORDER BY id)) FROM event`)
			if got := p.text(t, p.green, `SELECT md5(string_agg(id || ':' || v || ':' || w, ',' ORDER BY id)) FROM event`); got != want {
				t.Error("green differs from blue")
			}
			p.once(t)
			p.readsNoMore(t, 30*changes)
		})
	}
}

// readsNoMore fails the test where more rows of blue's queue were read, one way or another, than a drain may: batches
// that look through the whole queue make a long one take for ever.
func (p *pair) readsNoMore(t *testing.T, most int) {
	t.Helper()
	var n int
	const sql = `SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relid = 'tideover.change'::regclass`
	if err := p.blue.Pool().QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n > most {
		t.Errorf("%d rows of the queue were read, at most %d are needed", n, most)
	}
}

// once fails the test where a change was left behind or counted twice.
func (p *pair) once(t *testing.T) {
	t.Helper()
	var left, counted, ledger int64
	if err := p.blue.Pool().QueryRow(t.Context(), `SELECT count(*) + (SELECT count(*) FROM tideover.captured), (SELECT applied FROM tideover.capture) FROM tideover.change WHERE applied_at IS NULL`).
		Scan(&left, &counted); err != nil {
		t.Fatal(err)
	}
	if err := p.green.Pool().QueryRow(t.Context(), `SELECT count(*) FROM tideover.applied`).Scan(&ledger); err != nil {
		t.Fatal(err)
	}
	if left > 0 || counted != ledger {
		t.Errorf("%d changes are left, %d counted and %d in the ledger", left, counted, ledger)
	}
}

// The tool, blue and green are killed in turn while a queue drains. Nothing may be lost, doubled or left behind.
func TestKillsInTheDrain(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, source := range slice.Pick(t, 1, []string{triggers, logical, outbox}) {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			killsInTheDrain(t, source)
		})
	}
}

func killsInTheDrain(t *testing.T, source string) {
	servers := map[string]*pgserver.Server{}
	for _, name := range []string{"blue", "green"} {
		servers[name] = pgtest.NewServer(t, pgserver.Options{Name: name, Fsync: true, Memory: true})
		if err := goose(version11).Migrate(t.Context(), servers[name].DSN()); err != nil {
			t.Fatal(err)
		}
	}
	p := &pair{blue: open(t, "blue", servers["blue"].DSN()), green: open(t, "green", servers["green"].DSN()), profile: bundled(t)}
	installSource(t, p.blue, p.profile, source)
	exec(t, p.blue, fmt.Sprintf(crowdSQL, 600))
	p.bulk(t, p.green)
	rng := slice.Chance(t)
	for n, victim := range []string{"tool", "blue", "green", "tool", "green", "blue", "tool", "tool"} {
		p.rotate(t, n*50, 300)
		p.as(t, fmt.Sprintf(`DELETE FROM oauth_session WHERE id = 's%d'`, n+1), fmt.Sprintf(`DELETE FROM oauth_consent_request WHERE challenge = 'k%d'`, n+100))
		c := startChild(t, "bundled", source, p.blue.DSN(), p.green.DSN())
		c.batches(1 + rng.IntN(2))
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond) // where in the batch it is, is chance
		if victim == "tool" {
			c.kill()
		} else if err := servers[victim].Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.wait(t); err == nil {
			t.Logf("%d: the queue was drained before %s was killed", n, victim)
		}
		if victim != "tool" {
			if err := servers[victim].Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			map[string]*postgres.DB{"blue": p.blue, "green": p.green}[victim].Pool().Reset()
		}
	}
	if _, err := startChild(t, "bundled", source, p.blue.DSN(), p.green.DSN()).wait(t); err != nil {
		t.Fatal(err)
	}
	p.once(t)
	for _, d := range p.compare(t) {
		t.Error(d)
	}
	var left int
	if err := p.green.Pool().QueryRow(context.Background(), `SELECT count(*) FROM pg_database WHERE starts_with(datname, 'tideover_scratch')`).Scan(&left); err != nil || left > 0 {
		t.Errorf("%d scratch databases are left, %v", left, err)
	}
}
