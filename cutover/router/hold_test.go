package router

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/plan"
)

func TestHoldUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	var accepted sync.Map // id → side that took it
	take := func(w http.ResponseWriter, r *http.Request, s seen) {
		if before, twice := accepted.LoadOrStore(s.Body, s.Side); twice {
			t.Errorf("%s taken by %s and %s", s.Body, before, s.Side)
		}
		time.Sleep(time.Millisecond) // a server takes time, so that requests overlap
		fmt.Fprint(w, s.Side)
	}
	b.blue.answers(take)
	b.green.answers(take)

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var sent, failed atomic.Int64
	for n := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("%d-%d", n, i)
				sent.Add(1)
				a := do(context.Background(), "POST", b.public+"/oauth2/token", id)
				if side, _ := accepted.Load(id); a.err != nil || a.status != 200 || a.body != side {
					failed.Add(1)
					t.Errorf("%s: %+v, taken by %v", id, a, side)
				}
			}
		})
	}
	for i, side := range []plan.Side{plan.Green, plan.Blue, plan.Green} {
		await.That(t, "load", func() bool { return b.router.State().Requests > int64(100*(i+1)) })
		b.hold(run1, 5*time.Second)
		old := len(b.blue.requests()) + len(b.green.requests())
		b.heldNow(8)
		if now := len(b.blue.requests()) + len(b.green.requests()); now != old {
			t.Errorf("%d writes were forwarded in the hold", now-old)
		}
		b.switchTo(run1, side)
		b.release(run1)
	}
	stop()
	wg.Wait()
	st := b.router.State()
	if failed.Load() > 0 || st.Errors > 0 || st.HeldTotal < 24 || st.Held != 0 || st.InFlight != 0 {
		t.Errorf("%d sent, state %+v", sent.Load(), st)
	}
}

func TestReadsGoOnInAHold(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.hold(run1, 5*time.Second)
	for _, target := range []string{"/.well-known/jwks.json", "/userinfo", "/health/ready"} {
		if s := do(t.Context(), "GET", b.public+target, "").seen(t); s.Side != "blue" {
			t.Errorf("%s: %+v", target, s)
		}
	}
	if s := do(t.Context(), "POST", b.admin+"/oauth2/introspect", "token=x").seen(t); s.Body != "token=x" {
		t.Errorf("introspection: %+v", s)
	}
	if st := b.router.State(); st.HeldTotal != 0 {
		t.Errorf("held %d", st.HeldTotal)
	}
}

func TestDeadlineReleases(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.hold(run1, 300*time.Millisecond)
	if s := do(t.Context(), "POST", b.public+"/oauth2/token", "a").seen(t); s.Side != "blue" {
		t.Errorf("released to %s", s.Side)
	}
	if err := b.control.Switch(t.Context(), run1, plan.Green); !errors.Is(err, ErrNotHolding) {
		t.Errorf("a switch after the deadline: %v", err)
	}
	if st := b.router.State(); st.Side != plan.Blue || st.Phase != Open || st.ExpiredHolds != 1 || st.LongestHoldMS < 100 {
		t.Errorf("state %+v", st)
	}
	b.move(run1, plan.Green) // held again, it works
	if s := do(t.Context(), "POST", b.public+"/x", "").seen(t); s.Side != "green" {
		t.Errorf("after the second hold: %s", s.Side)
	}
}

func TestDeadlineAfterSwitchReleasesToTheNewSide(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.hold(run1, 300*time.Millisecond)
	held := later(t.Context(), "POST", b.public+"/x", "")
	b.switchTo(run1, plan.Green) // and the tideover dies
	if s := (<-held).seen(t); s.Side != "green" {
		t.Errorf("released to %s", s.Side)
	}
}

func TestTermsFence(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.hold(Order{Run: "r", Term: 3}, 5*time.Second)
	stale := Order{Run: "r", Term: 2}
	for name, err := range map[string]error{
		"hold":    b.control.Hold(t.Context(), stale, time.Second, time.Second),
		"switch":  b.control.Switch(t.Context(), stale, plan.Green),
		"release": b.control.Release(t.Context(), stale),
		"drain":   second(b.control.Drain(t.Context(), stale, 0, time.Second)),
	} {
		if !errors.Is(err, ErrStale) {
			t.Errorf("%s of an older term: %v", name, err)
		}
	}
	if err := b.control.Release(t.Context(), Order{Run: "other", Term: 9}); !errors.Is(err, ErrBusy) {
		t.Errorf("another run: %v", err)
	}
	if st := b.router.State(); !st.Holding || st.Side != plan.Blue {
		t.Errorf("state %+v", st)
	}
	next := Order{Run: "r", Term: 4} // a successor takes the hold over
	b.switchTo(next, plan.Green)
	b.release(next)
	if err := b.control.Release(t.Context(), Order{Run: "r", Term: 3}); !errors.Is(err, ErrStale) {
		t.Errorf("the predecessor: %v", err)
	}
	b.stop()
	b.start() // terms survive
	if err := b.control.Hold(t.Context(), Order{Run: "r", Term: 3}, time.Second, time.Second); !errors.Is(err, ErrStale) {
		t.Errorf("the predecessor, after a restart: %v", err)
	}
	b.hold(Order{Run: "other", Term: 1}, time.Second)
}

// A command that was on its way while its sender ordered something else is not carried out any more.
func TestLateCommandIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	call := func(n int64) Order { return Order{Run: "r", Term: 1, Call: n} }
	b.hold(call(3), 5*time.Second)
	b.hold(call(3), 5*time.Second) // twice
	b.release(call(5))
	if err := b.control.Hold(t.Context(), call(4), time.Second, time.Second); !errors.Is(err, ErrLate) {
		t.Errorf("a late hold: %v", err)
	}
	if st := b.router.State(); st.Holding {
		t.Errorf("state %+v", st)
	}
	b.hold(Order{Run: "r", Term: 2, Call: 1}, time.Second) // another process counts anew
	b.release(Order{Run: "r", Term: 2})                    // a person does not count
}

func second[A any](_ A, err error) error { return err }

func TestQueueLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Limits.Queue = 2 })
	b.hold(run1, 5*time.Second)
	one, two := later(t.Context(), "POST", b.public+"/x", "1"), later(t.Context(), "POST", b.public+"/x", "2")
	b.heldNow(2)
	a := do(t.Context(), "POST", b.public+"/x", "3")
	if a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "temporarily_unavailable") {
		t.Errorf("over the limit: %+v", a)
	}
	b.release(run1)
	if (<-one).status != 200 || (<-two).status != 200 {
		t.Error("a held request failed")
	}
	if n := len(b.blue.requests()); n != 2 {
		t.Errorf("%d forwarded, want 2", n)
	}
	if st := b.router.State(); st.Refused != 1 || st.Errors != 1 {
		t.Errorf("state %+v", st)
	}
}

func TestQueueBytes(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Limits.QueueBytes, c.Limits.Body = 1000, 800 })
	b.hold(run1, 5*time.Second)
	one := later(t.Context(), "POST", b.public+"/x", strings.Repeat("x", 700))
	b.heldNow(1)
	if a := do(t.Context(), "POST", b.public+"/x", strings.Repeat("x", 400)); a.status != 503 {
		t.Errorf("over the bytes: %+v", a)
	}
	if a := do(t.Context(), "POST", b.public+"/x", strings.Repeat("x", 801)); a.status != 413 {
		t.Errorf("over the body: %+v", a)
	}
	b.release(run1)
	if (<-one).status != 200 {
		t.Error("a held request failed")
	}
}

func TestWaitLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Limits.Wait = 150 * time.Millisecond })
	b.hold(run1, 5*time.Second)
	a := do(t.Context(), "POST", b.public+"/x", "")
	if a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("%+v", a)
	}
	b.release(run1)
	if n := len(b.blue.requests()); n != 0 {
		t.Errorf("%d forwarded", n)
	}
}

func TestClientThatLeavesIsNotForwarded(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.hold(run1, 5*time.Second)
	ctx, leave := context.WithCancel(t.Context())
	gone := later(ctx, "POST", b.public+"/x", "gone")
	stays := later(t.Context(), "POST", b.public+"/x", "stays")
	b.heldNow(2)
	leave()
	<-gone
	b.heldNow(1)
	b.release(run1)
	<-stays
	if got := b.blue.requests(); len(got) != 1 || got[0].Body != "stays" {
		t.Errorf("forwarded %+v", got)
	}
	await.That(t, "counted as gone", func() bool { return b.router.State().Gone == 1 })
}

func TestHoldWaitsForForwardedWrites(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	let := make(chan struct{})
	b.blue.answers(func(w http.ResponseWriter, _ *http.Request, s seen) {
		if s.Body == "slow" {
			<-let
		}
		w.WriteHeader(http.StatusCreated)
	})
	ctx, leave := context.WithCancel(t.Context())
	slow := later(ctx, "POST", b.public+"/x", "slow")
	await.That(t, "forwarded", func() bool { return b.router.State().InFlight == 1 })
	leave() // the write is still under way at the server, whatever its client does
	<-slow
	held := make(chan error, 1)
	go func() { held <- b.control.Hold(t.Context(), run1, 5*time.Second, 5*time.Second) }()
	await.That(t, "holding", func() bool { return b.router.State().Holding })
	if err := b.control.Switch(t.Context(), run1, plan.Green); !errors.Is(err, ErrNotQuiet) {
		t.Errorf("switch before the writes are answered: %v", err)
	}
	select {
	case err := <-held:
		t.Fatalf("hold returned (%v) with a write under way", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(let)
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	if st := b.router.State(); !st.Quiet || st.InFlight != 0 {
		t.Errorf("state %+v", st)
	}
	b.switchTo(run1, plan.Green)
}

func TestHoldGivesUpOnAStuckWrite(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	let := make(chan struct{})
	b.blue.answers(func(w http.ResponseWriter, _ *http.Request, s seen) {
		if s.Body == "stuck" {
			<-let
		}
	})
	stuck := later(t.Context(), "POST", b.public+"/x", "stuck")
	await.That(t, "forwarded", func() bool { return b.router.State().InFlight == 1 })
	if err := b.control.Hold(t.Context(), run1, 5*time.Second, 100*time.Millisecond); !errors.Is(err, ErrNotQuiet) {
		t.Errorf("hold: %v", err)
	}
	if a := do(t.Context(), "POST", b.public+"/x", "next"); a.status != 200 {
		t.Errorf("after the failed hold: %+v", a)
	}
	close(let)
	<-stuck
}

func TestRestartKeepsTheSideAndHoldsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.move(run1, plan.Green)
	b.hold(run1, 30*time.Second)
	b.stop()
	b.start()
	if s := do(t.Context(), "POST", b.public+"/x", "").seen(t); s.Side != "green" {
		t.Errorf("served by %s", s.Side)
	}
	if _, err := New(b.config); err == nil {
		t.Error("two routers share a state file")
	}
}

func TestStateFile(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.stop()
	for name, content := range map[string]string{"empty": "", "torn": `{"version":1,"si`, "side": `{"version":1,"side":"red"}`, "version": `{"version":2,"side":"blue"}`} {
		if err := os.WriteFile(b.config.StatePath, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := New(b.config)
		if bad := (*StateError)(nil); !errors.As(err, &bad) || bad.Hint() == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	os.Remove(b.config.StatePath)
	b.start()
	if err := os.Remove(b.config.StatePath); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	b.hold(run1, 5*time.Second)
	// The file can't be written any more: the side must stay.
	if err := os.Remove(b.config.StatePath); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(b.config.StatePath+"/in/the/way", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.control.Switch(t.Context(), run1, plan.Green); err == nil {
		t.Error("switched without a trace")
	}
	if st := b.router.State(); st.Side != plan.Blue || !st.Holding {
		t.Errorf("state %+v", st)
	}
}
