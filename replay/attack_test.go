package replay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// provedBy plays a scenario with the right mechanism, where green must be right, and with a mutant of it, where green must be wrong: else the scenario proves nothing.
func provedBy(t *testing.T, broken string, scenario func(t *testing.T, p *pair)) {
	t.Run("right", func(t *testing.T) {
		t.Parallel()
		if !withCrashPoints(t) {
			return
		}
		p := newSeededPair(t)
		p.settle(t)
		scenario(t, p)
		if d := p.compare(t); len(d) > 0 {
			t.Errorf("green differs: %s", strings.Join(d, "\n"))
		}
	})
	t.Run("broken", func(t *testing.T) {
		quick.Skip(t)
		t.Parallel()
		if !variants.In(t, mutantOf(t, broken)) {
			return
		}
		p := newSeededPair(t)
		p.settle(t)
		scenario(t, p)
		if len(p.compare(t)) == 0 {
			t.Error("green is right in spite of the broken mechanism: the scenario proves nothing")
		}
	})
}

// A transaction that becomes visible late must not be passed over.
func TestClaimsAreNoWatermark(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	provedBy(t, "a watermark instead of claims", func(t *testing.T, p *pair) {
		r := p.replayer(t)
		late := stranger(t, p.blue)
		tx, err := late.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `UPDATE oauth_client SET name = 'late' WHERE id = 'c1'`); err != nil {
			t.Fatal(err)
		}
		p.as(t, `UPDATE oauth_client SET name = 'early' WHERE id = 'c2'`)
		if a, err := r.Batch(t.Context()); err != nil || a.Changes != 1 {
			t.Fatalf("%+v, %v", a, err)
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Batch(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// Half an entity migrates to something else than the whole.
func TestEntitiesComeWhole(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	provedBy(t, "no closure", func(t *testing.T, p *pair) {
		p.as(t, `UPDATE oauth_login_request SET requested_scope = 'more' WHERE challenge = 'l1'`)
		r := p.replayer(t)
		for range 3 {
			if _, err := r.Batch(t.Context()); err != nil {
				break // without its parents a delta can be impossible to migrate
			}
		}
	})
}

// A process that was given up for dead comes back with a delta that is older than what another has applied since.
func TestLedgerStopsAZombie(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	provedBy(t, "no ledger", func(t *testing.T, p *pair) {
		p.as(t, `UPDATE oauth_client SET name = 'old' WHERE id = 'c1'`)
		first := true
		var zombie *Replayer
		config := p.config
		ctx := at(t.Context(), func(point string) error {
			if point != "staged" || !first {
				return nil
			}
			first = false
			if _, err := p.blue.Pool().Exec(context.Background(), `SELECT pg_terminate_backend($1)`, zombie.conn.PgConn().PID()); err != nil {
				return err
			}
			p.as(t, `UPDATE oauth_client SET name = 'new' WHERE id = 'c1'`)
			other, err := NewReplayer(config)
			if err != nil {
				return err
			}
			defer other.Disconnect()
			_, err = other.Drain(context.Background())
			return err
		})
		zombie = p.replayer(t)
		if err := zombie.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := zombie.Batch(ctx); err != nil {
			t.Logf("the zombie: %v", err)
		}
	})
}

// A crash between green's commit and blue's mark must neither double nor lose anything.
func TestCrashAtEveryPoint(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	if !withCrashPoints(t) {
		return
	}
	for _, point := range []string{"loaded", "migrated", "staged", "merged", "committed", "marked"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			p := newSeededPair(t)
			p.as(t, `DELETE FROM oauth_session WHERE id = 's1'`, `DELETE FROM oauth_consent_request WHERE challenge = 'k2'`)
			crashed := 0
			ctx := at(t.Context(), func(reached string) error {
				if reached == point && crashed < 2 {
					crashed++
					return errCrash
				}
				return nil
			})
			for range 2 {
				r := p.replayer(t)
				if _, err := r.Drain(ctx); err != nil && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				r.Disconnect()
			}
			r := p.replayer(t)
			drain(t, r)
			if crashed == 0 {
				t.Error("no crash")
			}
			p.same(t, r)
			p.once(t)
		})
	}
}

// Rows of the queue that move between a claim and its mark are not taken for others: they are claimed again, and found in
// the ledger.
func TestQueueIsRewrittenUnderABatch(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	if !withCrashPoints(t) {
		return
	}
	p := newSeededPair(t)
	r := p.replayer(t)
	p.as(t, `UPDATE oauth_client SET name = 'x'`)
	drain(t, r) // leaves room in front of what comes now
	r.Disconnect()
	p.as(t, `UPDATE oauth_client SET name = 'y'`, `DELETE FROM oauth_consent_request WHERE challenge = 'k2'`)
	moved := 0
	ctx := at(t.Context(), func(point string) error {
		if point != "committed" || moved > 0 {
			return nil
		}
		moved++
		// Those who come meanwhile get the places of the old ones.
		_, err := p.blue.Pool().Exec(context.Background(), `VACUUM FULL tideover.change, tideover.captured`)
		p.as(t, `UPDATE oauth_client SET name = 'z'`)
		return err
	})
	r = p.replayer(t)
	if _, err := r.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if moved == 0 {
		t.Fatal("nothing was moved")
	}
	p.same(t, r)
	p.once(t)
}

// The connections to blue and green are cut while batches run.
func TestCutConnections(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	if !withCrashPoints(t) {
		return
	}
	p := newSeededPair(t)
	cut := 0
	ctx := at(t.Context(), func(point string) error {
		if point != "loaded" && point != "merged" || cut >= 4 {
			return nil
		}
		cut++
		db := []*postgres.DB{p.blue, p.green}[cut%2]
		_, err := open(t, "killer", db.DSN()).Pool().Exec(context.Background(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'tideover/killer'`)
		return err
	})
	r := p.replayer(t)
	// A pool that has been idle for a second looks before it gives a connection away, and mends such a cut by itself: then
	// the changes are through before all cuts are made.
	for n := 0; cut < 4 && n < 10; n++ {
		p.as(t, fmt.Sprintf(`UPDATE oauth_client SET name = 'x%d'`, n))
		var err error
		for range 10 {
			if _, err = r.Drain(ctx); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if cut < 4 {
		t.Errorf("cut %d times", cut)
	}
	p.same(t, r)
}

func TestSecondReplayerIsRefused(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	first := p.replayer(t)
	if err := first.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := NewReplayer(p.config)
	if err != nil {
		t.Fatal(err)
	}
	second.patience = 0
	var busy *BusyError
	if _, err := second.Batch(t.Context()); !errors.As(err, &busy) || busy.PID != int32(first.conn.PgConn().PID()) {
		t.Fatalf("got %v, want a BusyError that names pid %d", err, first.conn.PgConn().PID())
	}
	first.Disconnect()
	if _, err := second.Batch(t.Context()); err != nil {
		t.Errorf("after the first has gone: %v", err)
	}
	second.Disconnect()
}

// A row that no rule expects stops itself, not the others; it is named, it stops the verification, and it heals.
func TestPoisonIsParked(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	p.settle(t)
	// Green has a constraint that no rule prepares for.
	exec(t, p.green, `ALTER TABLE oauth_client ADD CONSTRAINT poison CHECK (name <> 'poison')`)
	p.as(t, `UPDATE oauth_client SET name = 'fine' WHERE id = 'c1'`,
		`BEGIN; INSERT INTO oauth_client (id, name, owner) VALUES ('bad', 'poison', 'x'), ('good', 'good', 'x'); DELETE FROM oauth_jwk; COMMIT`,
		`DELETE FROM oauth_access WHERE signature = 'cc1'`)
	r := p.replayer(t)
	a := drain(t, r)
	if len(a.Parked) != 2 || !strings.Contains(a.Parked[0], "bad") || !strings.Contains(a.Parked[0], "poison") {
		t.Fatalf("parked: %q, want the client, and the delete of its transaction", a.Parked)
	}
	var names []string
	if err := pgtest.Pool(t, p.green.DSN()).QueryRow(t.Context(), `SELECT array_agg(name ORDER BY id) FROM oauth_client`).Scan(&names); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names, " "); got != "fine two good" {
		t.Errorf("green's clients: %s", got)
	}
	v, err := r.Verify(t.Context())
	if err != nil || len(v.Differences) != 2 || !strings.Contains(v.Differences[0], "parked") {
		t.Errorf("verification: %+v, %v", v, err)
	}
	lag, err := NewCapture(p.blue, p.profile, plan.Blue).Lag(t.Context())
	if err != nil || lag.Changes != 0 || lag.Parked != 2 {
		t.Errorf("lag: %+v, %v", lag, err)
	}
	p.as(t, `UPDATE oauth_client SET name = 'cured' WHERE id = 'bad'`)
	if err := r.Enqueue(t.Context(), "oauth_jwk", []string{"j1"}); err != nil {
		t.Fatal(err)
	}
	if a := drain(t, r); len(a.Parked) > 0 {
		t.Errorf("still parked: %q", a.Parked)
	}
	p.same(t, r)
}

// settle applies what is captured so far, and gives the replayer's place up.
func (p *pair) settle(t *testing.T) {
	t.Helper()
	r := p.replayer(t)
	drain(t, r)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A mistake that every row meets is not the rows' fault: nothing is parked.
func TestBrokenMigrationsParkNothing(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	p.config.Migrator = failing{}
	r := p.replayer(t)
	if _, err := r.Drain(t.Context()); !errors.Is(err, errCrash) {
		t.Fatalf("got %v", err)
	}
	if lag, err := NewCapture(p.blue, p.profile, plan.Blue).Lag(t.Context()); err != nil || lag.Parked != 0 || lag.Changes == 0 {
		t.Errorf("lag: %+v, %v", lag, err)
	}
}

type failing struct{}

func (failing) Migrate(context.Context, string) error { return errCrash }

func TestEnqueueRepairs(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	r := p.replayer(t)
	drain(t, r)
	exec(t, p.green, `UPDATE oauth_client SET name = 'spoilt' WHERE id = 'c1'; DELETE FROM oauth_refresh WHERE signature = 'r2';
INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ('ghost', 'ghost', 'c1', now())`)
	if len(p.compare(t)) == 0 {
		t.Fatal("nothing to repair")
	}
	for table, key := range map[string]string{"oauth_client": "c1", "oauth_refresh": "r2", "oauth_access": "ghost"} {
		if err := r.Enqueue(t.Context(), table, []string{key}); err != nil {
			t.Fatal(err)
		}
	}
	drain(t, r)
	p.same(t, r)
	if err := r.Enqueue(t.Context(), "nothing", []string{"x"}); err == nil {
		t.Error("a table that is not captured was queued")
	}
}

// Run keeps up with a server that goes on, and ends with its context.
func TestRunKeepsUp(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	r := p.replayer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	seen := make(chan Lag)
	go func() {
		ended <- r.Run(ctx, func(l Lag) {
			select {
			case seen <- l:
			case <-ctx.Done():
			}
		})
	}()
	l := <-seen
	for l.Changes > 0 {
		l = <-seen
	}
	captured := l.Captured
	p.as(t, `DELETE FROM oauth_session WHERE id = 's2'`)
	for l.Captured == captured || l.Changes > 0 {
		l = <-seen
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	p.same(t, r)
}

// Close leaves nothing on green's server; what a dead process left goes with the next Prepare or Close.
func TestScratchDatabasesGo(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	r := p.replayer(t)
	drain(t, r)
	left := func() (n int) {
		if err := p.green.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_database WHERE starts_with(datname, $1)`, r.scratch.base).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	r.Disconnect() // as a process that died
	if left() < 2 {
		t.Errorf("%d databases: nothing to clean up", left())
	}
	r = p.replayer(t)
	if err := r.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left() != 2 {
		t.Errorf("%d databases after Prepare, want the template and one of it", left())
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left() != 0 {
		t.Errorf("%d databases are left", left())
	}
	// A process that only takes the run back never prepares.
	r = p.replayer(t)
	if err := r.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	last, err := NewReplayer(p.config)
	if err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if err := last.Close(t.Context()); !errors.As(err, &busy) || left() != 2 {
		t.Errorf("closed with %v beside a living replayer, which has %d databases then", err, left())
	}
	r.Disconnect()
	if err := last.Close(t.Context()); err != nil || left() != 0 {
		t.Errorf("closed with %v, and %d databases are left", err, left())
	}
}

// What stopped a change may be mended elsewhere than in its row: then it is tried again.
func TestParkedIsRetried(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	p.settle(t)
	r := p.replayer(t)
	if left, err := r.Retry(t.Context()); err != nil || len(left) > 0 {
		t.Fatalf("nothing is parked: %q, %v", left, err)
	}
	exec(t, p.green, `ALTER TABLE oauth_client ADD CONSTRAINT poison CHECK (name <> 'poison')`)
	p.as(t, `BEGIN; INSERT INTO oauth_client (id, name, owner) VALUES ('bad', 'poison', 'x'); DELETE FROM oauth_jwk; COMMIT`)
	if a := drain(t, r); len(a.Parked) != 2 {
		t.Fatalf("parked: %q", a.Parked)
	}
	if left, err := r.Retry(t.Context()); err != nil || len(left) != 2 || !strings.Contains(strings.Join(left, " "), "poison") {
		t.Errorf("nothing is mended: %q, %v", left, err)
	}
	exec(t, p.green, `ALTER TABLE oauth_client DROP CONSTRAINT poison`)
	if left, err := r.Retry(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("mended: %q, %v", left, err)
	}
	p.same(t, r)
}

// A large transaction that comes in parts is torn by poison in its first part: its deletes wait in the others.
func TestPoisonInALargeTransaction(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	p.settle(t)
	p.config.Batch = 5
	exec(t, p.green, `ALTER TABLE oauth_client ADD CONSTRAINT poison CHECK (name <> 'poison')`)
	p.as(t, `BEGIN; INSERT INTO oauth_client (id, name, owner) SELECT 'n' || i, CASE i WHEN 3 THEN 'poison' ELSE 'fine' END, 'x' FROM generate_series(1, 60) i;
DELETE FROM oauth_session; DELETE FROM oauth_jwk; COMMIT`)
	r := p.replayer(t)
	a := drain(t, r)
	var fine, sessions int
	if err := pgtest.Pool(t, p.green.DSN()).QueryRow(t.Context(), `SELECT (SELECT count(*) FROM oauth_client WHERE name = 'fine'), (SELECT count(*) FROM oauth_session)`).Scan(&fine, &sessions); err != nil {
		t.Fatal(err)
	}
	if fine != 59 || sessions != 2 || !strings.Contains(strings.Join(a.Parked, "\n"), `oauth_session {"id": "s1"}: came in one transaction with oauth_client (id=n3)`) {
		t.Errorf("%d clients, %d sessions, parked:\n%s", fine, sessions, strings.Join(a.Parked, "\n"))
	}
	exec(t, p.green, `ALTER TABLE oauth_client DROP CONSTRAINT poison`)
	if left, err := r.Retry(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("mended: %q, %v", left, err)
	}
	p.same(t, r)
}
