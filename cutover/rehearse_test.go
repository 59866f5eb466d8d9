package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tideover/tideover/plan"
)

func TestRehearse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newScene(t)
		figures, err := w.cutover(1).Rehearse(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.onSide(plan.Blue)
		if figures.HoldMS < figures.FenceMS || figures.FenceMS < 4 || len(w.events) != 0 {
			t.Errorf("figures %+v, events %v", figures, w.events)
		}
		for _, never := range []string{"commit a", "switch green", "lower green", "keep blue", "pin"} {
			if slices.Contains(w.calls, never) {
				t.Errorf("%s was called", never)
			}
		}
		if _, err := w.cutover(1).Run(t.Context()); err != nil {
			t.Errorf("the switch after it: %v", err)
		}
		w.onSide(plan.Green)
	})
}

// Whatever befalls a rehearsal, blue serves: at once, or when the hold's and the fence's own time is up.
func TestRehearseWithAFaultAtEveryCall(t *testing.T) {
	t.Parallel()
	calls := callsOf(t, func(w *scene) { w.cutover(1).Rehearse(w.t.Context()) })
	for n, name := range calls {
		for _, kind := range []faultKind{failsBefore, failsAfter, crashesBefore, crashesAfter, hangs} {
			t.Run(fmt.Sprintf("%d %s %d", n, name, kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newScene(t)
					w.fault = at(n, kind)
					var err error
					crashed := crashes(func() { _, err = w.cutover(1).Rehearse(t.Context()) })
					var aborted *AbortedError
					if err != nil && !errors.As(err, &aborted) {
						t.Errorf("%T: %v", err, err)
					}
					if crashed || aborted != nil && aborted.Incomplete != nil {
						time.Sleep(time.Hour) // of a synctest bubble: every deadline passes
					}
					w.fault = nil
					w.onSide(plan.Blue)
				})
			})
		}
	}
}

func TestRehearseKeepsToTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newScene(t)
		s := w.cutover(1)
		s.Replay = func(context.Context) error { time.Sleep(11 * time.Second); return nil } // of a synctest bubble
		if _, err := s.Rehearse(t.Context()); !errors.Is(err, ErrDeadline) {
			t.Errorf("%v", err)
		}
		w.onSide(plan.Blue)
	})
}
