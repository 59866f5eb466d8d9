package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/quick"
)

// dies kills a process that has met errCrash: its lock goes with its connection, nothing is unlocked in order.
func (s store) dies(t *testing.T, p process, err error) {
	t.Helper()
	if !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	for _, e := range *p.shown {
		if e.Seq > 0 && !slices.ContainsFunc(load(t, s, p.lease.Run()), func(stored journal.Event) bool { return stored.Seq == e.Seq && stored.Kind == e.Kind }) {
			t.Errorf("event %d %s was shown and is not stored", e.Seq, e.Kind)
		}
	}
	s.Kill(t, p.lease)
}

// Whatever the moment of the crash: the next process ends the run with every effect in place once.
func TestCrashAtEveryAppend(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	s := newStore(t)
	steps := []Step{s.inParts("copy"), s.looked("gate-mark"), s.inParts("apply")}
	want := []string{"apply/1", "apply/2", "apply/3", "copy/1", "copy/2", "copy/3", "gate-mark/1"}
	moments := 0
	for n := 1; ; n++ {
		if _, err := s.db.Pool().Exec(t.Context(), `TRUNCATE public.effect`); err != nil {
			t.Fatal(err)
		}
		p := begin(t, s, "", steps, crashAt(n))
		err := p.Run(t.Context())
		if err == nil {
			moments = n - 1
			p.lease.Release()
			break
		}
		s.dies(t, p, err)
		if !fold(t, s, p.lease.Run()).Phase.Ended() { // the last moment is after run.completed
			next := begin(t, s, p.lease.Run(), steps, nil)
			if err := next.Run(t.Context()); err != nil {
				t.Fatalf("resume after a crash at moment %d: %v", n, err)
			}
			next.lease.Release()
		}
		if got := s.effects(t); !slices.Equal(got, want) {
			t.Errorf("crash at moment %d: effects %v", n, got)
		}
		state := fold(t, s, p.lease.Run())
		if state.Phase != journal.Completed || string(state.Figures["rows.copy"]) != "3" {
			t.Errorf("crash at moment %d: phase %s, figures %v", n, state.Phase, state.Figures)
		}
	}
	// started and finished of three steps, 2 × (3 checkpoints and a figure), a note, a gate's two, completed.
	if events := 3*2 + 2*4 + 1 + 2 + 1; moments != 2*events {
		t.Errorf("crashed at %d moments, want before and after each of %d events", moments, events)
	}
}

// The same on the way back, which Undo, Rollback and Run go on with alike. Afterwards a new run gets through.
func TestCrashAtEveryAppendOfUndo(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	s := newStore(t)
	broken := &fake{id: "broken", run: func(context.Context, *Progress) error { return errors.New("disk full") }}
	steps := []Step{s.inParts("copy"), s.looked("mark"), broken, s.looked("never")}
	for n := 1; ; n++ {
		p := begin(t, s, "", steps, nil)
		err := p.Run(t.Context())
		var stopped *StoppedError
		if !errors.As(err, &stopped) || stopped.Step != "broken" || stopped.ExitCode() != 4 || stopped.Next != "tideover resume test.yaml" {
			t.Fatalf("got %v", err)
		}
		p.lease.Release()
		back := begin(t, s, p.lease.Run(), steps, crashAt(n))
		err = back.Undo(t.Context(), "test")
		crashed := err != nil
		if crashed {
			s.dies(t, back, err)
		}
		if !fold(t, s, p.lease.Run()).Phase.Ended() {
			next := begin(t, s, p.lease.Run(), steps, nil)
			again := []func() error{
				func() error { return next.Undo(t.Context(), "test") },
				func() error { return next.Rollback(t.Context(), "test") },
				func() error {
					if next.State().Phase.GoesBack() {
						return next.Run(t.Context())
					}
					return next.Undo(t.Context(), "test")
				},
			}[n%3]
			if err := again(); err != nil {
				t.Fatalf("after a crash at moment %d: %v", n, err)
			}
			next.lease.Release()
		}
		if got := s.effects(t); len(got) != 0 {
			t.Errorf("crash at moment %d: left behind %v", n, got)
		}
		state := fold(t, s, p.lease.Run())
		if never, _ := state.Step("never"); state.Phase != journal.Aborted || never.Status != journal.StepIsPending {
			t.Errorf("crash at moment %d: phase %s, step never started is %s", n, state.Phase, never.Status)
		}
		back.lease.Release()
		if !crashed {
			if want := 2 * (1 + 3*2 + 1); n-1 != want {
				t.Errorf("crashed at %d moments, want %d", n-1, want)
			}
			break
		}
	}
	there := begin(t, s, "", []Step{s.inParts("copy"), s.looked("mark")}, nil)
	if err := there.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.effects(t)); got != "[copy/1 copy/2 copy/3 mark/1]" {
		t.Errorf("there again: %s", got)
	}
}

// A lease that is lost in the middle of a step ends the step, and the process that takes over goes on.
func TestLostLease(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var p process
	first := true
	steps := []Step{s.inParts("copy"), &fake{id: "long", run: func(ctx context.Context, _ *Progress) error {
		if !first {
			return nil
		}
		first = false
		s.Kill(t, p.lease)
		<-ctx.Done()
		return ctx.Err()
	}}}
	p = begin(t, s, "", steps, nil)
	err := p.Run(t.Context())
	var stopped *StoppedError
	if !errors.As(err, &stopped) || !errors.Is(err, journal.ErrLeaseLost) || stopped.ExitCode() != 1 {
		t.Fatalf("got %v", err)
	}
	if state := fold(t, s, p.lease.Run()); state.Phase != journal.Stopped {
		t.Errorf("phase %s", state.Phase)
	}
	if err := begin(t, s, p.lease.Run(), steps, nil).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.effects(t)); got != "[copy/1 copy/2 copy/3]" {
		t.Errorf("effects %s", got)
	}
}

// A process that was replaced while it slept stores nothing more, not even that it stops.
func TestReplacedProcess(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var p process
	var next process
	var steps []Step
	steps = []Step{&fake{id: "sleeper", run: func(ctx context.Context, q *Progress) error {
		s.Kill(t, p.lease)
		<-ctx.Done()
		next = begin(t, s, p.lease.Run(), steps, nil)
		return q.Checkpoint(context.WithoutCancel(ctx), "late", 1)
	}}}
	p = begin(t, s, "", steps, nil)
	err := p.Run(t.Context())
	var stopped *StoppedError
	if !errors.As(err, &stopped) || !errors.Is(err, journal.ErrFenced) || stopped.ExitCode() != 3 {
		t.Fatalf("got %v (%T)", err, err)
	}
	state := fold(t, s, p.lease.Run())
	if st, _ := state.Step("sleeper"); state.Seq != next.State().Seq || len(st.Checkpoints) != 0 || state.Term != 2 {
		t.Errorf("the stale process has stored something: %+v", state)
	}
}
