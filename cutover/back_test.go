package cutover

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tideover/tideover/plan"
)

func TestBackWithAFaultAtEveryCall(t *testing.T) {
	t.Parallel()
	start := 0
	calls := callsOf(t, func(w *scene) {
		w.cutover(1).Run(w.t.Context())
		start = len(w.calls)
		if err := w.cutover(1).Back(w.t.Context()); err != nil {
			w.t.Error(err)
		}
		w.onSide(plan.Blue)
		if w.onGreen == 0 {
			w.t.Error("nobody wrote on green: the test says nothing")
		}
	})
	for n := start; n < len(calls); n++ {
		for _, kind := range []faultKind{failsBefore, failsAfter, crashesBefore, crashesAfter, hangs} {
			t.Run(fmt.Sprintf("%s %d", calls[n], kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newScene(t)
					if _, err := w.cutover(1).Run(t.Context()); err != nil {
						t.Fatal(err)
					}
					w.fault = at(n, kind)
					var err error
					crashed := crashes(func() { err = w.cutover(1).Back(t.Context()) })
					w.fault = nil
					if back := (*BackError)(nil); errors.As(err, &back) && back.Green {
						w.onSide(plan.Green)
					}
					if crashed || err != nil {
						time.Sleep(time.Hour) // of a synctest bubble: every deadline passes
						if err := w.cutover(2).Back(t.Context()); err != nil {
							t.Fatalf("again: %v", err)
						}
					}
					w.onSide(plan.Blue)
				})
			})
		}
	}
}

// The way back from a switch that is stuck past the point of no return.
func TestBackFromAStuckSwitch(t *testing.T) {
	t.Parallel()
	for _, stuck := range []string{"commit a", "commit b", "lower green", "switch green", "release"} {
		synctest.Test(t, func(t *testing.T) {
			w := newScene(t)
			w.fault = func(_ int, call string) faultKind {
				if call == stuck {
					return failsBefore
				}
				return works
			}
			if _, err := w.cutover(1).Run(t.Context()); !errors.As(err, new(*CommittedError)) {
				t.Fatal(err)
			}
			w.fault = nil
			if err := w.cutover(2).Back(t.Context()); err != nil {
				t.Errorf("%s: %v", stuck, err)
			}
			w.onSide(plan.Blue)
		})
	}
}

// The way back fails where green must not be opened on the way out: it never was, or blue is open already.
func TestBackDoesNotOpenGreen(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(w *scene){
		"green was never opened": func(w *scene) {
			w.fault = func(_ int, call string) faultKind { return map[string]faultKind{"commit a": failsBefore}[call] }
			w.cutover(1).Run(w.t.Context())
		},
		"blue is open": func(w *scene) {
			w.cutover(1).Run(w.t.Context())
			w.fault = func(_ int, call string) faultKind { return map[string]faultKind{"lower blue": crashesAfter}[call] }
			crashes(func() { w.cutover(1).Back(w.t.Context()) })
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newScene(t)
			before(w)
			w.fault = func(_ int, call string) faultKind { return map[string]faultKind{"reverse": failsBefore}[call] }
			err := w.cutover(2).Back(t.Context())
			if back := (*BackError)(nil); !errors.As(err, &back) || back.Green || !w.greenUp {
				t.Errorf("%s: %v, green's fence %v", name, err, w.greenUp)
			}
			w.fault = nil
			if err := w.cutover(3).Back(t.Context()); err != nil {
				t.Errorf("%s: again: %v", name, err)
			}
			w.onSide(plan.Blue)
		})
	}
}
