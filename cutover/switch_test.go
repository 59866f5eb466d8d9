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

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
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

func TestSwitch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newScene(t)
		figures, err := w.cutover(1).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.onSide(plan.Green)
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
		w.onSide(plan.Green)
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

// The replay is brought near before new logins wait. Where those under way took long it is again, before all writes wait.
func TestSettlesBeforeAnybodyWaits(t *testing.T) {
	t.Parallel()
	for logins, want := range map[time.Duration]string{0: "settle drain hold", longDrain: "settle drain settle hold"} {
		var seen []string
		for _, name := range callsOf(t, func(w *scene) { w.logins = logins; w.cutover(1).Run(w.t.Context()) }) {
			if name == "settle" || name == "drain" || name == "hold" {
				seen = append(seen, name)
			}
		}
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("logins take %s: %s, want %s", logins, got, want)
		}
	}
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
			w.onSide(plan.Green)
			return
		case errors.As(err, &aborted) && aborted.Incomplete == nil:
			w.onSide(plan.Blue)
			if aborted.ExitCode() != 4 {
				t.Errorf("exit code %d", aborted.ExitCode())
			}
		case errors.As(err, &aborted), errors.As(err, &committed):
		default:
			t.Fatalf("error %T: %v", err, err)
		}
	}
	w.fault = nil
	time.Sleep(time.Hour) // of a synctest bubble; 4 a.m.: the router has long let go by itself
	if w.clients(); w.blueUp && !slices.Contains(w.calls, "keep blue") {
		t.Errorf("an hour after the end of the process (%s) blue still refuses writes", w.last())
	}
	done, err := w.cutover(2).Recover(t.Context(), w.last())
	if err != nil {
		t.Fatalf("recover after %s: %v (calls %s)", w.last(), err, strings.Join(w.calls, ", "))
	}
	if done {
		w.onSide(plan.Green)
		return
	}
	w.onSide(plan.Blue)
	if _, err := w.cutover(3).Run(t.Context()); err != nil {
		t.Fatalf("again: %v", err)
	}
	w.onSide(plan.Green)
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
							w.onSide(plan.Green)
						} else {
							w.onSide(plan.Blue)
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
		"prepare b": false, "drain": false, "hold": false, "raise blue": false, "replay": false, "verify": false, "wake": false, "pin": false,
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
						w.onSide(plan.Blue)
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
	w.onSide(map[bool]plan.Side{true: plan.Green, false: plan.Blue}[done])
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newScene(t)
		s := w.cutover(1)
		s.Replay = func(context.Context) error { time.Sleep(11 * time.Second); return nil } // of a synctest bubble; does not look at its context
		_, err := s.Run(t.Context())
		if !errors.Is(err, ErrDeadline) || !errors.As(err, new(*AbortedError)) {
			t.Errorf("%v", err)
		}
		w.onSide(plan.Blue)
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
				w.onSide(plan.Blue)
			} else {
				if err != nil {
					t.Errorf("past the point of no return: %v", err)
				}
				w.onSide(plan.Green)
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
		w.router = plan.Green
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
					if !errors.As(err, new(*CommittedError)) || !w.blueUp || !w.greenUp || w.sides["a"] != plan.Green {
						t.Errorf("%s: %v, fences %v %v", name, err, w.blueUp, w.greenUp)
					}
					return
				}
				if !errors.As(err, new(*AbortedError)) {
					t.Errorf("%s: %v", name, err)
				}
				w.fault = nil
				w.onSide(plan.Blue)
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
			w.onSide(plan.Blue)
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
		w.onSide(plan.Blue)
	})
}
