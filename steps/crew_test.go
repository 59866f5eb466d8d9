package steps

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
)

// watched is a step with work in the background: begun is sent to each time it begins, alive counts what runs.
type watched struct {
	*fake
	begun chan struct{}
	alive *atomic.Int32
}

func newWatched(id string) watched {
	w := watched{fake: &fake{id: id}, begun: make(chan struct{}, 10), alive: &atomic.Int32{}}
	w.background = func(ctx context.Context, p *Progress) error {
		w.alive.Add(1)
		defer w.alive.Add(-1)
		w.begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	return w
}

func TestBackgroundGoesOnUntilItIsStopped(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	replay := newWatched("replay")
	validate := &fake{id: "validate", run: func(context.Context, *Progress) error {
		<-replay.begun // it works while this step runs
		return nil
	}}
	cut := switchOver("")
	inner := cut.run
	cut.run = func(ctx context.Context, p *Progress) error {
		if n := replay.alive.Load(); n != 1 {
			t.Errorf("%d work in the background when the cutover begins", n)
		}
		if err := p.StopBackground(); err != nil {
			return err
		}
		if n := replay.alive.Load(); n != 0 {
			t.Errorf("%d work on after StopBackground", n)
		}
		return inner(ctx, p)
	}
	p := begin(t, m, "", []Step{replay, validate, cut}, nil)
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// On every way out the work in the background has ended when Run returns, and the next process begins it again, though
// its step is finished.
func TestBackgroundAfterStopAndResume(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	replay := newWatched("replay")
	fails := true
	steps := []Step{replay, &fake{id: "validate", run: func(context.Context, *Progress) error {
		<-replay.begun
		if fails {
			return errors.New("they differ")
		}
		return nil
	}}}
	p := begin(t, m, "", steps, nil)
	if err := p.Run(t.Context()); err == nil {
		t.Fatal("no error")
	}
	if n := replay.alive.Load(); n != 0 {
		t.Errorf("%d work on after a failed run", n)
	}
	p.lease.Release()
	fails = false
	q := begin(t, m, p.lease.Run(), steps, nil)
	if err := q.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := q.State()
	if st, _ := state.Step("replay"); st.Attempts != 1 || replay.alive.Load() != 0 {
		t.Errorf("replay was started %d times; %d work on", st.Attempts, replay.alive.Load())
	}
}

func TestBackgroundFails(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	broken, fails := errors.New("green is gone"), true
	validates := make(chan struct{})
	replay := &fake{id: "replay"}
	replay.background = func(ctx context.Context, p *Progress) error {
		if fails {
			<-validates // else it may end the run before the next step begins
			return broken
		}
		return nil
	}
	steps := []Step{replay, &fake{id: "validate", run: func(ctx context.Context, _ *Progress) error {
		if fails {
			close(validates)
			<-ctx.Done() // the failure behind it ends this step
			return ctx.Err()
		}
		return nil
	}}}
	p := begin(t, m, "", steps, nil)
	err := p.Run(t.Context())
	var stopped *StoppedError
	if !errors.As(err, &stopped) || stopped.Step != "replay" || !errors.Is(err, broken) || stopped.ExitCode() != 4 {
		t.Fatalf("got %v", err)
	}
	state := fold(t, m, p.lease.Run())
	if state.Steps[0].Status != journal.StepIsFailed || state.Steps[1].Status != journal.StepIsRunning {
		t.Errorf("steps are %s and %s", state.Steps[0].Status, state.Steps[1].Status)
	}
	p.lease.Release()
	fails = false
	if err := begin(t, m, p.lease.Run(), steps, nil).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Work that belongs before the switch is not begun again behind it; the cutover's own is.
func TestBackgroundPastThePointOfNoReturn(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	replay, reverse := newWatched("replay"), newWatched("cutover")
	reverse.run = func(ctx context.Context, p *Progress) error {
		if err := p.StopBackground(); err != nil {
			return err
		}
		return switchOver("").run(ctx, p)
	}
	fails := true
	steps := []Step{replay, reverse, &fake{id: "monitor", run: func(context.Context, *Progress) error {
		<-reverse.begun // in the first process too, in spite of StopBackground before
		if fails {
			return errors.New("no")
		}
		return nil
	}}}
	p := begin(t, m, "", steps, nil)
	if err := p.Run(t.Context()); err == nil {
		t.Fatal("no error")
	}
	p.lease.Release()
	for len(replay.begun) > 0 {
		<-replay.begun
	}
	fails = false
	if err := begin(t, m, p.lease.Run(), steps, nil).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(replay.begun) != 0 {
		t.Error("replay from blue was begun again after the switch")
	}
}
