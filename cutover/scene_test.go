package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

// scene is a stage play: everything that a switch touches, with the rules that must hold at every moment.
type scene struct {
	t *testing.T

	sides                map[string]plan.Side
	names                []string
	router               plan.Side
	holding              bool
	until                time.Time
	blueUp, greenUp      bool      // fences
	blueUntil            time.Time // when blue's opens by itself; zero: never
	written, replayed    int       // writes of blue, and how many of them green has
	onGreen, broughtBack int
	verified             int           // written when Verify last said yes
	logins               time.Duration // how long those under way take
	events               []journal.Kind

	calls    []string
	fault    func(n int, call string) faultKind
	deadline int // newest term that the router has heard
}

type faultKind int

const (
	works faultKind = iota
	failsBefore
	failsAfter // the effect is there, but the answer is an error
	crashesBefore
	crashesAfter
	hangs
)

type crash struct{}

var errFault = errors.New("fault")

func newScene(t *testing.T) *scene {
	return &scene{t: t, names: []string{"a", "b"}, sides: map[string]plan.Side{"a": plan.Blue, "b": plan.Blue}, router: plan.Blue, greenUp: true}
}

// call is one call from outside: clients write meanwhile wherever they can, faults strike, the rules are checked.
func (w *scene) call(ctx context.Context, name string, effect func() error) error {
	n := len(w.calls)
	w.calls = append(w.calls, name)
	time.Sleep(time.Millisecond) // of a synctest bubble: each call takes time
	w.clients()
	kind := works
	if w.fault != nil {
		kind = w.fault(n, name)
	}
	switch kind {
	case failsBefore:
		return errFault
	case crashesBefore:
		panic(crash{})
	case hangs:
		<-ctx.Done()
		w.clients()
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := effect()
	if !w.blueUp && !w.greenUp {
		w.t.Errorf("after %s: both sides accept writes", name)
	}
	w.clients()
	switch kind {
	case failsAfter:
		return errFault
	case crashesAfter:
		panic(crash{})
	}
	return err
}

func (w *scene) clients() {
	if w.holding && !time.Now().Before(w.until) {
		w.holding = false
	}
	if w.blueUp && !w.blueUntil.IsZero() && !time.Now().Before(w.blueUntil) {
		w.blueUp = false
	}
	if !w.blueUp { // through the router, or past it
		w.written++
	}
	if w.router == plan.Green && !w.holding && !w.greenUp {
		w.onGreen++
	}
}

type fakeParticipant struct {
	w    *scene
	name string
}

func (p fakeParticipant) Name() string { return p.name }
func (p fakeParticipant) Prepare(ctx context.Context, _ Ticket) error {
	return p.w.call(ctx, "prepare "+p.name, func() error { return nil })
}
func (p fakeParticipant) Commit(ctx context.Context, _ Ticket) error {
	return p.w.call(ctx, "commit "+p.name, func() error { p.w.sides[p.name] = plan.Green; return nil })
}
func (p fakeParticipant) Abort(ctx context.Context, _ Ticket) error {
	return p.w.call(ctx, "abort "+p.name, func() error { p.w.sides[p.name] = plan.Blue; return nil })
}
func (p fakeParticipant) Side(ctx context.Context, _ Ticket) (side plan.Side, err error) {
	err = p.w.call(ctx, "status "+p.name, func() error { side = p.w.sides[p.name]; return nil })
	return side, err
}

type fakeRouter struct{ w *scene }

func (r fakeRouter) command(ctx context.Context, name string, t Ticket, effect func() error) error {
	return r.w.call(ctx, name, func() error {
		if int(t.Term) < r.w.deadline {
			return router.ErrStale
		}
		r.w.deadline = int(t.Term)
		return effect()
	})
}
func (r fakeRouter) Drain(ctx context.Context, t Ticket, _, _ time.Duration) (int, error) {
	return 0, r.command(ctx, "drain", t, func() error { time.Sleep(r.w.logins); return nil }) // of a synctest bubble
}
func (r fakeRouter) Hold(ctx context.Context, t Ticket, d time.Duration) error {
	return r.command(ctx, "hold", t, func() error { r.w.holding, r.w.until = true, time.Now().Add(d); return nil })
}
func (r fakeRouter) Switch(ctx context.Context, t Ticket, side plan.Side) error {
	return r.command(ctx, "switch "+string(side), t, func() error {
		if r.w.router == side {
			return nil
		}
		if !r.w.holding {
			return router.ErrNotHolding
		}
		for _, p := range r.w.names {
			if r.w.sides[p] != side {
				r.w.t.Errorf("the router turns to %s, participant %s is on %s", side, p, r.w.sides[p])
			}
		}
		if side == plan.Green && (r.w.replayed != r.w.written || r.w.verified != r.w.written || !r.w.blueUp || r.w.greenUp) {
			r.w.t.Errorf("the router turns to green: written %d, replayed %d, verified %d, fences %v %v", r.w.written, r.w.replayed, r.w.verified, r.w.blueUp, r.w.greenUp)
		}
		if side == plan.Blue && (r.w.broughtBack != r.w.onGreen || !r.w.greenUp || r.w.blueUp) {
			r.w.t.Errorf("the router turns to blue: %d on green, %d brought back", r.w.onGreen, r.w.broughtBack)
		}
		r.w.router = side
		return nil
	})
}
func (r fakeRouter) Release(ctx context.Context, t Ticket) error {
	return r.command(ctx, "release", t, func() error { r.w.holding = false; return nil })
}
func (r fakeRouter) Look(ctx context.Context, t Ticket) (l Routing, err error) {
	err = r.w.call(ctx, "look", func() error {
		l = Routing{Replicas: 1, Newer: r.w.deadline > int(t.Term)}
		if r.w.router == plan.Green {
			l.Green = 1
		}
		if r.w.holding {
			l.Busy, l.Quiet = 1, 1
		}
		return nil
	})
	return l, err
}

type fakeFence struct {
	w    *scene
	name string
	up   *bool
}

func (f fakeFence) Raise(ctx context.Context, d time.Duration) error {
	err := f.w.call(ctx, "raise "+f.name, func() error {
		if *f.up = true; f.name == "blue" {
			f.w.blueUntil = time.Now().Add(d)
		}
		return nil
	})
	if err != nil {
		*f.up = false // as replay.Fence does
	}
	return err
}
func (f fakeFence) Keep(ctx context.Context) error {
	return f.w.call(ctx, "keep "+f.name, func() error {
		if !*f.up {
			return errors.New("open")
		}
		f.w.blueUntil = time.Time{}
		return nil
	})
}
func (f fakeFence) Lower(ctx context.Context) error {
	return f.w.call(ctx, "lower "+f.name, func() error { *f.up = false; return nil })
}
func (f fakeFence) Raised(ctx context.Context) (up bool, err error) {
	err = f.w.call(ctx, "raised "+f.name, func() error { up = *f.up; return nil })
	return up, err
}

func (w *scene) cutover(term int64) *Switch {
	s := &Switch{
		Ticket: Ticket{Run: "r", Term: term}, Router: fakeRouter{w},
		Fence: fakeFence{w, "blue", &w.blueUp}, Green: fakeFence{w, "green", &w.greenUp},
		Replay: func(ctx context.Context) error {
			return w.call(ctx, "replay", func() error { w.replayed = w.written; return nil })
		},
		Verify: func(ctx context.Context) error {
			return w.call(ctx, "verify", func() error {
				if w.replayed != w.written {
					return fmt.Errorf("%d written, %d replayed", w.written, w.replayed)
				}
				w.verified = w.written
				return nil
			})
		},
		Wake: func(ctx context.Context) error { return w.call(ctx, "wake", func() error { return nil }) },
		Pin:  func(ctx context.Context) error { return w.call(ctx, "pin", func() error { return nil }) },
		Reverse: func(ctx context.Context) error {
			return w.call(ctx, "reverse", func() error { w.broughtBack = w.onGreen; return nil })
		},
		Approach: func(ctx context.Context) error { return w.call(ctx, "approach", func() error { return nil }) },
		Record: func(ctx context.Context, kind journal.Kind, _ any) error {
			return w.call(ctx, "record "+string(kind), func() error { w.events = append(w.events, kind); return nil })
		},
		Settle:      func(ctx context.Context) error { return w.call(ctx, "settle", func() error { return nil }) },
		DrainLogins: time.Second,
	}
	for _, name := range w.names {
		s.Participants = append(s.Participants, fakeParticipant{w, name})
	}
	return s
}

func (w *scene) last() journal.Kind {
	for _, k := range slices.Backward(w.events) {
		return k
	}
	return ""
}

// onSide checks that everything is on one side, and that nothing was forgotten.
func (w *scene) onSide(side plan.Side) {
	w.t.Helper()
	w.clients()
	for name, s := range w.sides {
		if s != side {
			w.t.Errorf("participant %s is on %s, want %s", name, s, side)
		}
	}
	if w.router != side || w.holding || w.blueUp != (side == plan.Green) || w.greenUp != (side == plan.Blue) {
		w.t.Errorf("want all on %s: router %s, holding %v, fences blue %v green %v", side, w.router, w.holding, w.blueUp, w.greenUp)
	}
	if side == plan.Green && w.replayed != w.written {
		w.t.Errorf("%d written on blue, %d replayed", w.written, w.replayed)
	}
	if w.t.Failed() {
		w.t.Logf("calls: %s", strings.Join(w.calls, ", "))
	}
}

// crashes runs f and says whether it crashed.
func crashes(f func()) (crashed bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}
			crashed = true
		}
	}()
	f()
	return false
}
