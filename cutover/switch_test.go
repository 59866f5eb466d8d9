package cutover

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/journal"
)

var update = flag.Bool("update", false, "write the golden files")

func TestTableIsDocumented(t *testing.T) {
	t.Parallel()
	const golden = "../docs/cutover-states.md"
	if *update {
		if err := os.WriteFile(golden, []byte(Table()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(golden); err != nil || string(got) != Table() {
		t.Errorf("%s is not what the table says (%v): go test ./cutover -update", golden, err)
	}
}

// stage play: everything that a switch touches, with the rules that must hold at every moment.
type scene struct {
	t *testing.T

	sides                map[string]string
	names                []string
	router               string
	holding              bool
	until                time.Time
	blueUp, greenUp      bool // fences
	written, replayed    int  // writes of blue, and how many of them green has
	onGreen, broughtBack int
	verified             int // written when Verify last said yes
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
	return &scene{t: t, names: []string{"a", "b"}, sides: map[string]string{"a": Blue, "b": Blue}, router: Blue, greenUp: true}
}

// call is one call from outside: clients write meanwhile wherever they can, faults strike, the rules are checked.
func (w *scene) call(ctx context.Context, name string, effect func() error) error {
	n := len(w.calls)
	w.calls = append(w.calls, name)
	time.Sleep(time.Millisecond)
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
	switch {
	case kind == failsAfter:
		return errFault
	case kind == crashesAfter:
		panic(crash{})
	}
	return err
}

func (w *scene) clients() {
	if w.holding && !time.Now().Before(w.until) {
		w.holding = false
	}
	if !w.blueUp { // through the router, or past it
		w.written++
	}
	if w.router == Green && !w.holding && !w.greenUp {
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
	return p.w.call(ctx, "commit "+p.name, func() error { p.w.sides[p.name] = Green; return nil })
}
func (p fakeParticipant) Abort(ctx context.Context, _ Ticket) error {
	return p.w.call(ctx, "abort "+p.name, func() error { p.w.sides[p.name] = Blue; return nil })
}
func (p fakeParticipant) Side(ctx context.Context, _ Ticket) (side string, err error) {
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
	return 0, r.command(ctx, "drain", t, func() error { return nil })
}
func (r fakeRouter) Hold(ctx context.Context, t Ticket, d time.Duration) error {
	return r.command(ctx, "hold", t, func() error { r.w.holding, r.w.until = true, time.Now().Add(d); return nil })
}
func (r fakeRouter) Switch(ctx context.Context, t Ticket, side string) error {
	return r.command(ctx, "switch "+side, t, func() error {
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
		if side == Green && (r.w.replayed != r.w.written || r.w.verified != r.w.written || !r.w.blueUp || r.w.greenUp) {
			r.w.t.Errorf("the router turns to green: written %d, replayed %d, verified %d, fences %v %v", r.w.written, r.w.replayed, r.w.verified, r.w.blueUp, r.w.greenUp)
		}
		if side == Blue && (r.w.broughtBack != r.w.onGreen || !r.w.greenUp || r.w.blueUp) {
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
		if r.w.router == Green {
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

func (f fakeFence) Raise(ctx context.Context) error {
	err := f.w.call(ctx, "raise "+f.name, func() error { *f.up = true; return nil })
	if err != nil {
		*f.up = false // as replay.Fence does
	}
	return err
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
		Pin: func(ctx context.Context) error { return w.call(ctx, "pin", func() error { return nil }) },
		Reverse: func(ctx context.Context) error {
			return w.call(ctx, "reverse", func() error { w.broughtBack = w.onGreen; return nil })
		},
		Record: func(ctx context.Context, kind journal.Kind, _ any) error {
			return w.call(ctx, "record "+string(kind), func() error { w.events = append(w.events, kind); return nil })
		},
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
func (w *scene) onSide(side string) {
	w.t.Helper()
	w.clients()
	for name, s := range w.sides {
		if s != side {
			w.t.Errorf("participant %s is on %s, want %s", name, s, side)
		}
	}
	if w.router != side || w.holding || w.blueUp != (side == Green) || w.greenUp != (side == Blue) {
		w.t.Errorf("want all on %s: router %s, holding %v, fences blue %v green %v", side, w.router, w.holding, w.blueUp, w.greenUp)
	}
	if side == Green && w.replayed != w.written {
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

func TestSwitch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newScene(t)
		figures, err := w.cutover(1).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.onSide(Green)
		want := []journal.Kind{journal.CutoverPreparing, journal.CutoverHolding, journal.CutoverFencing, journal.CutoverReplaying,
			journal.CutoverVerifying, journal.CutoverCommitting, journal.CutoverSwitched, journal.CutoverReleased}
		if !slices.Equal(w.events, want) {
			t.Errorf("events %v", w.events)
		}
		if figures.HoldMS < figures.FenceMS || figures.FenceMS < 5 || len(figures.Participants) != 2 {
			t.Errorf("figures %+v", figures)
		}
		if done, err := w.cutover(2).Recover(t.Context(), w.last()); !done || err != nil {
			t.Errorf("recover after the end: %v %v", done, err)
		}
		w.onSide(Green)
	})
}

// callsOf is how many calls an undisturbed switch makes, and of what kind.
func callsOf(t *testing.T, f func(w *scene)) []string {
	var calls []string
	t.Run("undisturbed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newScene(t)
			f(w)
			calls = w.calls
		})
	})
	return calls
}

// Every call fails once, or crashes once, before or after its effect, or hangs. Whatever happens, after at most one
// Recover everything is on one side.
func TestSwitchWithAFaultAtEveryCall(t *testing.T) {
	t.Parallel()
	calls := callsOf(t, func(w *scene) { w.cutover(1).Run(w.t.Context()) })
	for n, name := range calls {
		for _, kind := range []faultKind{failsBefore, failsAfter, crashesBefore, crashesAfter, hangs} {
			t.Run(fmt.Sprintf("%d %s %d", n, name, kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newScene(t)
					w.fault = func(i int, _ string) faultKind {
						if i == n {
							return kind
						}
						return works
					}
					settle(t, w)
				})
			})
		}
	}
}

// settle runs the switch, recovers until it is done, and checks the end.
func settle(t *testing.T, w *scene) {
	t.Helper()
	var err error
	if !crashes(func() { _, err = w.cutover(1).Run(t.Context()) }) {
		var aborted *AbortedError
		var committed *CommittedError
		switch {
		case err == nil:
			w.onSide(Green)
			return
		case errors.As(err, &aborted) && aborted.Incomplete == nil:
			w.onSide(Blue)
			if aborted.ExitCode() != 4 {
				t.Errorf("exit code %d", aborted.ExitCode())
			}
		case errors.As(err, &aborted), errors.As(err, &committed):
		default:
			t.Fatalf("error %T: %v", err, err)
		}
	}
	w.fault = nil
	time.Sleep(time.Hour) // 4 a.m.: the router has long let go by itself
	done, err := w.cutover(2).Recover(t.Context(), w.last())
	if err != nil {
		t.Fatalf("recover after %s: %v (calls %s)", w.last(), err, strings.Join(w.calls, ", "))
	}
	if done {
		w.onSide(Green)
		return
	}
	w.onSide(Blue)
	if _, err := w.cutover(3).Run(t.Context()); err != nil {
		t.Fatalf("again: %v", err)
	}
	w.onSide(Green)
}

// The recovery crashes as well, at every call, again and again.
func TestRecoverWithACrashAtEveryCall(t *testing.T) {
	t.Parallel()
	calls := callsOf(t, func(w *scene) { w.cutover(1).Run(w.t.Context()) })
	for n, name := range calls {
		t.Run(fmt.Sprintf("%d %s", n, name), func(t *testing.T) {
			for m := range 25 {
				for _, kind := range []faultKind{crashesBefore, crashesAfter} {
					synctest.Test(t, func(t *testing.T) {
						w := newScene(t)
						w.fault = at(n, crashesAfter)
						crashes(func() { w.cutover(1).Run(t.Context()) })
						w.fault = at(len(w.calls)+m, kind)
						crashes(func() { w.cutover(2).Recover(t.Context(), w.last()) })
						w.fault = nil
						done, err := w.cutover(3).Recover(t.Context(), w.last())
						if err != nil {
							t.Fatalf("recover: %v (calls %s)", err, strings.Join(w.calls, ", "))
						}
						if done {
							w.onSide(Green)
						} else {
							w.onSide(Blue)
						}
					})
				}
			}
		})
	}
}

func at(n int, kind faultKind) func(int, string) faultKind {
	return func(i int, _ string) faultKind {
		if i == n {
			return kind
		}
		return works
	}
}

// Something is broken for good: the switch says which way things stand, and Recover ends it once it is mended.
func TestSwitchWithSomethingBroken(t *testing.T) {
	t.Parallel()
	for name, committed := range map[string]bool{
		"prepare b": false, "drain": false, "hold": false, "raise blue": false, "replay": false, "verify": false, "pin": false,
		"record cutover.preparing": false, "record cutover.committing": false, "look": false,
		"commit a": true, "commit b": true, "lower green": true, "switch green": true, "release": true,
		"record cutover.switched": true, "record cutover.released": true,
	} {
		for _, kind := range []faultKind{failsBefore, failsAfter, hangs} {
			t.Run(fmt.Sprintf("%s %d", name, kind), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newScene(t)
					w.fault = func(_ int, call string) faultKind {
						if call == name {
							return kind
						}
						return works
					}
					_, err := w.cutover(1).Run(t.Context())
					if got := errors.As(err, new(*CommittedError)); got != committed || err == nil {
						t.Errorf("committed %v: %v", got, err)
					}
					if !committed {
						w.fault = nil
						if aborted := (*AbortedError)(nil); !errors.As(err, &aborted) || aborted.Incomplete != nil {
							t.Errorf("%v", err)
						}
						w.onSide(Blue)
					}
					settleAfter(t, w)
				})
			})
		}
	}
}

func settleAfter(t *testing.T, w *scene) {
	t.Helper()
	w.fault = nil
	done, err := w.cutover(2).Recover(t.Context(), w.last())
	if err != nil {
		t.Fatal(err)
	}
	w.onSide(map[bool]string{true: Green, false: Blue}[done])
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newScene(t)
		s := w.cutover(1)
		s.Replay = func(context.Context) error { time.Sleep(11 * time.Second); return nil } // does not look at its context
		_, err := s.Run(t.Context())
		if !errors.Is(err, errDeadline) || !errors.As(err, new(*AbortedError)) {
			t.Errorf("%v", err)
		}
		w.onSide(Blue)
	})
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"replay", "commit a"} {
		synctest.Test(t, func(t *testing.T) {
			w := newScene(t)
			ctx, interrupt := context.WithCancel(t.Context())
			w.fault = func(_ int, call string) faultKind {
				if call == when {
					interrupt()
				}
				return works
			}
			_, err := w.cutover(1).Run(ctx)
			if when == "replay" {
				if !errors.Is(err, context.Canceled) || !errors.As(err, new(*AbortedError)) {
					t.Errorf("%v", err)
				}
				w.onSide(Blue)
			} else {
				if err != nil {
					t.Errorf("past the point of no return: %v", err)
				}
				w.onSide(Green)
			}
		})
	}
}

// A process that has lost the run touches nothing any more.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	for _, kind := range []journal.Kind{journal.CutoverHolding, journal.CutoverReplaying, journal.CutoverCommitting, journal.CutoverSwitched} {
		synctest.Test(t, func(t *testing.T) {
			w := newScene(t)
			s := w.cutover(1)
			store := s.Record
			after := 0
			s.Record = func(ctx context.Context, k journal.Kind, data any) error {
				if k == kind || after > 0 {
					after = len(w.calls)
					return journal.ErrFenced
				}
				return store(ctx, k, data)
			}
			_, err := s.Run(t.Context())
			if !errors.Is(err, journal.ErrFenced) || len(w.calls) != after {
				t.Errorf("%s: %v, calls after it: %v", kind, err, w.calls[after:])
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // the router knows better than the journal, which is out of reach
		w := newScene(t)
		w.fault = func(_ int, call string) faultKind {
			if call == "replay" {
				w.deadline = 2
				return failsBefore
			}
			return works
		}
		s := w.cutover(1)
		s.Record = func(_ context.Context, k journal.Kind, _ any) error {
			if k == journal.CutoverAborting {
				return journal.ErrLeaseLost
			}
			return nil
		}
		if _, err := s.Run(t.Context()); !errors.Is(err, journal.ErrFenced) || !w.blueUp {
			t.Errorf("%v, fence %v", err, w.blueUp)
		}
	})
}

func TestRecoverRefusesWhatItCanNotHaveDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newScene(t)
		w.router = Green
		_, err := w.cutover(2).Recover(t.Context(), journal.CutoverVerifying)
		if strange := (*StrangeError)(nil); !errors.As(err, &strange) || strange.Hint() == "" {
			t.Errorf("%v", err)
		}
	})
}

// The journal says that the point of no return was passed, but nothing was committed, and green can't be verified any
// more: blue is given back.
func TestRecoverGivesBackWhatCanNotBeVerified(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]faultKind{"verify": failsBefore, "replay": hangs, "raised blue": failsBefore} {
		for _, committed := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newScene(t)
				w.fault = func(_ int, call string) faultKind {
					switch {
					case call == "record cutover.committing" && !committed, call == "commit a" && committed:
						return crashesAfter
					}
					return works
				}
				crashes(func() { w.cutover(1).Run(t.Context()) })
				w.fault = func(_ int, call string) faultKind {
					if call == name {
						return kind
					}
					return works
				}
				_, err := w.cutover(2).Recover(t.Context(), w.last())
				if committed {
					if !errors.As(err, new(*CommittedError)) || !w.blueUp || !w.greenUp || w.sides["a"] != Green {
						t.Errorf("%s: %v, fences %v %v", name, err, w.blueUp, w.greenUp)
					}
					return
				}
				if !errors.As(err, new(*AbortedError)) {
					t.Errorf("%s: %v", name, err)
				}
				w.fault = nil
				w.onSide(Blue)
			})
		}
	}
}

// Without participants, green can be open before anything else shows it: giving back fences it first.
func TestGivingBackFencesGreenAgain(t *testing.T) {
	t.Parallel()
	for _, crashAgain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newScene(t)
			w.names, w.sides = nil, nil
			w.fault = func(_ int, call string) faultKind {
				return map[string]faultKind{"lower green": crashesAfter}[call]
			}
			crashes(func() { w.cutover(1).Run(t.Context()) })
			w.fault = func(_ int, call string) faultKind {
				if crashAgain && call == "record cutover.aborting" {
					return crashesAfter
				}
				return map[string]faultKind{"verify": failsBefore}[call]
			}
			crashes(func() { w.cutover(2).Recover(t.Context(), w.last()) })
			w.fault = nil
			if crashAgain {
				if done, err := w.cutover(3).Recover(t.Context(), w.last()); done || err != nil {
					t.Errorf("%v %v", done, err)
				}
			}
			w.onSide(Blue)
		})
	}
}

func TestRouterThatRestartsInTheHoldCallsItOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newScene(t)
		w.fault = func(_ int, call string) faultKind {
			if call == "pin" {
				w.holding = false
			}
			return works
		}
		if _, err := w.cutover(1).Run(t.Context()); !errors.As(err, new(*AbortedError)) {
			t.Errorf("%v", err)
		}
		w.onSide(Blue)
	})
}
