package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/report"
)

// cutover is a step that switches, as far as the journal can tell.
func switchOver(until journal.Kind) *fake {
	kinds := []journal.Kind{
		journal.CutoverPreparing, journal.CutoverHolding, journal.CutoverFencing, journal.CutoverReplaying,
		journal.CutoverVerifying, journal.CutoverCommitting, journal.CutoverSwitched, journal.CutoverReleased,
	}
	return &fake{id: "cutover", run: func(ctx context.Context, p *Progress) error {
		for _, kind := range kinds {
			if err := p.Event(ctx, kind, nil); err != nil {
				return err
			}
			if kind == until {
				return errors.New("cut short")
			}
		}
		return nil
	}}
}

func TestEventsInOrder(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	p := begin(t, m, "", []Step{&fake{id: "one"}, &fake{id: "gate", done: func(context.Context) (bool, error) { return true, nil }}}, nil)
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"run.started ", "run.taken ", "step.started one", "step.finished one",
		"gate.waiting gate", "gate.approved gate", "step.started gate", "step.finished gate", "run.completed "}
	if got := kindsOf(*p.shown); !slices.Equal(got, want) {
		t.Errorf("shown: %q", got)
	}
	if got := kindsOf(load(t, m, p.lease.Run())); !slices.Equal(got, want) {
		t.Errorf("stored: %q", got)
	}
	state := p.State()
	if st, _ := state.Step("gate"); st.ApprovedBy != "test" || !st.AlreadyDone {
		t.Errorf("step: %+v", st)
	}
	if _, err := NewRunner(Config{Events: load(t, m, p.lease.Run()), Hash: "h"}); err == nil || !strings.Contains(err.Error(), "completed") {
		t.Errorf("a run that has ended gives %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"step", "gate"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			m := journaltest.NewMemory()
			ctx, cancel := context.WithCancel(t.Context())
			steps := []Step{&fake{id: "gate", run: func(ctx context.Context, _ *Progress) error {
				cancel()
				<-ctx.Done()
				return fmt.Errorf("query: %w", ctx.Err())
			}}}
			p := begin(t, m, "", steps, func(c *Config) {
				if where == "gate" {
					c.Gate = nil
					c.Sinks = append(c.Sinks, func(e journal.Event) {
						if e.Kind == journal.GateWaiting {
							cancel()
						}
					})
				}
			})
			err := p.Run(ctx)
			var stopped *StoppedError
			if !errors.As(err, &stopped) || stopped.ExitCode() != 130 || !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			state := fold(t, m, p.lease.Run())
			if state.Phase != journal.Stopped || state.Stopped.Next != "tideover resume test.yaml" || state.Steps[0].Error != "" {
				t.Errorf("state %+v", state)
			}
		})
	}
}

// What the state machine refuses is not stored: nobody could fold the journal any more.
func TestImpossibleEventIsNotStored(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	p := begin(t, m, "", []Step{&fake{id: "one", run: func(ctx context.Context, p *Progress) error {
		return p.Event(ctx, journal.CutoverReleased, nil)
	}}}, nil)
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "can't happen while the run is running") {
		t.Errorf("got %v", err)
	}
	if state := fold(t, m, p.lease.Run()); state.Phase != journal.Stopped || state.Steps[0].Status != journal.StepIsFailed {
		t.Errorf("phase %s, step %s", state.Phase, state.Steps[0].Status)
	}
}

func TestChangedRunbookIsRefused(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	steps := []Step{&fake{id: "one"}}
	p := begin(t, m, "", steps, nil)
	_, err := NewRunner(Config{Lease: p.lease, Events: load(t, m, p.lease.Run()), Hash: "other", Steps: steps})
	var changed *ChangedError
	if !errors.As(err, &changed) || changed.Hint() == "" {
		t.Errorf("got %v", err)
	}
	for _, other := range [][]Step{{}, {&fake{id: "two"}}, {steps[0], steps[0]}} {
		if _, err := NewRunner(Config{Lease: p.lease, Events: load(t, m, p.lease.Run()), Hash: "h", Steps: other}); err == nil {
			t.Errorf("steps %v were accepted", other)
		}
	}
}

// Before the point of no return Undo aborts; from there on only Rollback goes back, and the run ends as rolled back.
func TestPointOfNoReturn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		until journal.Kind // the last event of the cutover before it fails; "": it succeeds
		past  bool
		exit  int
	}{
		{journal.CutoverPreparing, false, 4}, {journal.CutoverVerifying, false, 4},
		{journal.CutoverCommitting, true, 1}, {journal.CutoverSwitched, true, 1}, {"", true, 1},
	} {
		t.Run("until "+string(tt.until), func(t *testing.T) {
			t.Parallel()
			m := journaltest.NewMemory()
			var undone []string
			undo := func(id string) func(context.Context, *Progress) error {
				return func(_ context.Context, p *Progress) error {
					undone = append(undone, id)
					if got := p.State().PastPointOfNoReturn; got != tt.past {
						t.Errorf("undo of %s sees past = %t", id, got)
					}
					return nil
				}
			}
			cut := switchOver(tt.until)
			cut.undo = undo("cutover")
			steps := []Step{&fake{id: "copy", undo: undo("copy")}, cut,
				&fake{id: "after", undo: undo("after"), run: func(context.Context, *Progress) error { return errors.New("errors on green") }}}
			p := begin(t, m, "", steps, nil)
			var stopped *StoppedError
			if err := p.Run(t.Context()); !errors.As(err, &stopped) || stopped.ExitCode() != tt.exit || stopped.Past != tt.past {
				t.Fatalf("got %v", err)
			}
			p.lease.Release()
			end := journal.Aborted
			if tt.past {
				end = journal.RolledBack
				q := begin(t, m, p.lease.Run(), steps, nil)
				var past *PastError
				if err := q.Undo(t.Context(), "test"); !errors.As(err, &past) || !strings.Contains(past.Hint(), "tideover rollback") {
					t.Errorf("undo past the point of no return: %v", err)
				}
				if len(undone) != 0 {
					t.Errorf("undone in spite of the refusal: %v", undone)
				}
				q.lease.Release()
			}
			q := begin(t, m, p.lease.Run(), steps, nil)
			if err := q.Rollback(t.Context(), "test"); err != nil {
				t.Fatal(err)
			}
			want := []string{"cutover", "copy"}
			if tt.until == "" {
				want = []string{"after", "cutover", "copy"}
			}
			state := fold(t, m, p.lease.Run())
			if !slices.Equal(undone, want) || state.Phase != end || state.PastPointOfNoReturn != tt.past {
				t.Errorf("undone %v, phase %s, past %t", undone, state.Phase, state.PastPointOfNoReturn)
			}
		})
	}
}

func TestNoWayBack(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	undone := false
	steps := []Step{
		&fake{id: "copy", undo: func(context.Context, *Progress) error { undone = true; return nil }},
		noWayBack{&fake{id: "retire", run: func(context.Context, *Progress) error { return errors.New("half") }}},
	}
	p := begin(t, m, "", steps, nil)
	if err := p.Run(t.Context()); err == nil {
		t.Fatal("no error")
	}
	p.lease.Release()
	q := begin(t, m, p.lease.Run(), steps, nil)
	var e *NoWayBackError
	if err := q.Rollback(t.Context(), "test"); !errors.As(err, &e) || e.Step != "retire" || undone {
		t.Errorf("got %v, undone %t", err, undone)
	}
	if state := fold(t, m, p.lease.Run()); state.Phase != journal.Running {
		t.Errorf("the refusal was stored: phase %s", state.Phase)
	}
}

// withdrawn is a step without a way back that has, or has not, done anything.
type withdrawn struct {
	noWayBack
	touched bool
	gone    *bool
}

func (withdrawn) Irreversible()                                        {}
func (w withdrawn) Untouched(context.Context, *Progress) (bool, error) { return !w.touched, nil }
func (w withdrawn) Withdraw(context.Context, *Progress) error          { *w.gone = true; return nil }

// A step without a way back is taken back for as long as it has not done anything.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	for _, touched := range []bool{true, false} {
		m := journaltest.NewMemory()
		undone, gone := false, false
		steps := []Step{
			&fake{id: "views", undo: func(context.Context, *Progress) error { undone = true; return nil }},
			withdrawn{noWayBack{&fake{id: "migrate", run: func(context.Context, *Progress) error { return errors.New("a hazard") }}}, touched, &gone},
		}
		p := begin(t, m, "", steps, nil)
		if err := p.Run(t.Context()); err == nil {
			t.Fatal("no error")
		}
		p.lease.Release()
		q := begin(t, m, p.lease.Run(), steps, nil)
		err := q.Rollback(t.Context(), "test")
		if refused := errors.As(err, new(*NoWayBackError)); refused != touched || !touched && err != nil || undone == touched || gone == touched {
			t.Errorf("touched %t: %v; undone %t, withdrawn %t", touched, err, undone, gone)
		}
	}
}

func TestStepRollsBackByItself(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	sick := errors.New("error rate 12%")
	steps := []Step{switchOver(""), &fake{id: "monitor", run: func(context.Context, *Progress) error { return &RollbackError{Err: sick} }}}
	p := begin(t, m, "", steps, nil)
	err := p.Run(t.Context())
	var back *RolledBackError
	if !errors.As(err, &back) || !errors.Is(err, sick) || !back.Past {
		t.Fatalf("got %v", err)
	}
	state := fold(t, m, p.lease.Run())
	if state.Phase != journal.RolledBack || state.Reason != sick.Error() {
		t.Errorf("phase %s, reason %q", state.Phase, state.Reason)
	}
}

// An undo that fails can be tried again, and a cancelled context does not stop one half way.
func TestUndoFailsThenSucceeds(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	tries := 0
	steps := []Step{&fake{id: "copy", undo: func(ctx context.Context, _ *Progress) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if tries++; tries == 1 {
			return errors.New("green is down")
		}
		return nil
	}}}
	p := begin(t, m, "", append(steps, &fake{id: "bad", run: func(context.Context, *Progress) error { return errors.New("no") }}), nil)
	_ = p.Run(t.Context())
	p.lease.Release()
	steps = p.cfg.Steps
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q := begin(t, m, p.lease.Run(), steps, nil)
	var stopped *StoppedError
	if err := q.Undo(ctx, "test"); !errors.As(err, &stopped) || stopped.Next != "tideover rollback test.yaml" {
		t.Fatalf("got %v", err)
	}
	q.lease.Release()
	if state := fold(t, m, p.lease.Run()); state.Phase != journal.UndoingStopped || state.Steps[0].Error != "green is down" {
		t.Errorf("state %+v", state)
	}
	r := begin(t, m, p.lease.Run(), steps, nil)
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if phase := fold(t, m, p.lease.Run()).Phase; phase != journal.Aborted || tries != 2 {
		t.Errorf("phase %s after %d tries", phase, tries)
	}
}

// What a runbook and its profile say counts, not how it is written; of runs that began before that was kept, the bytes.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		state   journal.State
		cfg     Config
		refused string
	}{
		{"the same bytes", journal.State{Hash: "h"}, Config{Hash: "h"}, ""},
		{"other bytes, of an older run", journal.State{Hash: "h"}, Config{Hash: "i", Now: Content{Runbook: "c"}}, "runbook"},
		{"another comment", journal.State{Hash: "h", Content: "c"}, Config{Hash: "i", Now: Content{Runbook: "c"}}, ""},
		{"another meaning", journal.State{Hash: "h", Content: "c"}, Config{Hash: "i", Now: Content{Runbook: "d"}}, "runbook"},
		{"another version, with other defaults", journal.State{Hash: "h", Content: "c"}, Config{Hash: "i", Now: Content{Runbook: "d"}, Then: Content{Runbook: "d"}}, ""},
		{"another profile", journal.State{Hash: "h", ProfileContent: "p"}, Config{Hash: "h", Now: Content{Profile: "q"}}, "profile"},
		{"the same profile", journal.State{Hash: "h", ProfileContent: "p"}, Config{Hash: "h", Now: Content{Profile: "p"}}, ""},
		{"a profile of an older run", journal.State{Hash: "h"}, Config{Hash: "h", Now: Content{Profile: "q"}}, ""},
	} {
		err := tt.cfg.unchanged(tt.state)
		var changed *ChangedError
		if errors.As(err, &changed) != (tt.refused != "") || changed != nil && (changed.What != tt.refused || !strings.Contains(err.Error(), tt.refused)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Somebody who does not read what the run says holds nothing up.
func TestSinkThatStandsForEver(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	stand := make(chan struct{})
	defer close(stand)
	inbox := report.NewInbox(func(journal.Event) { <-stand })
	p := begin(t, m, "", []Step{&fake{id: "one"}, switchOver("")}, func(c *Config) { c.Sinks = append(c.Sinks, inbox.Put) })
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state := fold(t, m, p.lease.Run()); state.Phase != journal.Completed {
		t.Errorf("the run is %s", state.Phase)
	}
}
