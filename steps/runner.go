package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

const (
	recordTimeout = 10 * time.Second // to store how a run ended, after its context has died
	undoTimeout   = time.Hour        // one step's Undo where Config names none
)

// Config is what a Runner works with.
type Config struct {
	Lease  journal.Lease
	Events []journal.Event // all events of the run so far, run.started and run.taken at least
	Hash   string          // of the runbook as it is now; must be the one that the run was started with
	Now    Content         // what runbook and profile say now; must be what they said then, where that is known
	Then   Content         // what the texts in the journal say, read by this program; empty: what the first event says
	Steps  []Step          // as in the runbook
	Gate   Gate            // nil: gates wait until the run is stopped
	// Approval says more of how a gate was opened, for the journal; nil: nothing is known beside who.
	Approval func(ctx context.Context, step string) (journal.ApprovedData, error)
	Sinks    []journal.Sink // each gets the events from this process's run.taken on, and progress
	Undo     time.Duration  // one step's Undo at most; 0: an hour
}

// Runner takes a run through its steps: forward with Run, back with Undo or Rollback. It goes on wherever the journal
// says that the run is, so that start and resume are the same.
//
// Forward, for each step in order: its gate → step.started → Done? → Run → step.finished. A finished step is passed by.
// One that was started before a crash is asked Done, and then run again from its checkpoints.
//
// One of its methods may be called, once.
type Runner struct {
	cfg        Config
	rec        *recorder
	background crew
	wheel      *wheel
	turning    sync.Mutex // one turn of the wheel at a time
}

// Content is what runbook and profile say, as hashes: plan.Runbook.Content and plan.Profile.Content. Empty: not known.
type Content struct{ Runbook, Profile string }

// unchanged says whether runbook and profile are those that the run was started with. A runbook of the same bytes is the same,
// whatever this program takes it to say.
func (c *Config) unchanged(state journal.State) error {
	then := Content{cmp.Or(c.Then.Runbook, state.Content), cmp.Or(c.Then.Profile, state.ProfileContent)}
	kept := c.Then.Runbook != ""
	if state.Hash != c.Hash && (then.Runbook == "" || then.Runbook != c.Now.Runbook) {
		return &ChangedError{Run: state.Run, What: "runbook", Started: state.Hash, Now: c.Hash, Kept: kept}
	}
	if then.Profile != "" && c.Now.Profile != "" && then.Profile != c.Now.Profile {
		return &ChangedError{Run: state.Run, What: "profile", Started: then.Profile, Now: c.Now.Profile, Kept: kept}
	}
	return nil
}

// NewRunner folds the events and checks that they belong to this runbook. The errors are a [*ChangedError] and an
// [*EndedError].
func NewRunner(cfg Config) (*Runner, error) {
	state, err := journal.Fold(cfg.Events)
	if err != nil {
		return nil, err
	}
	if state.Phase.Ended() {
		return nil, &EndedError{Run: state.Run, Phase: state.Phase}
	}
	if err := cfg.unchanged(state); err != nil {
		return nil, err
	}
	if len(state.Steps) != len(cfg.Steps) {
		return nil, fmt.Errorf("run %q has %d steps, the runbook %d", state.Run, len(state.Steps), len(cfg.Steps))
	}
	for i, st := range state.Steps {
		if id := cfg.Steps[i].ID(); id != st.ID {
			return nil, fmt.Errorf("run %q has step %q where the runbook has %q", state.Run, st.ID, id)
		}
	}
	if cfg.Undo <= 0 {
		cfg.Undo = undoTimeout
	}
	return &Runner{cfg: cfg, rec: &recorder{lease: cfg.Lease, sinks: cfg.Sinks, state: state}, wheel: newWheel()}, nil
}

// State is what the journal says of the run now.
func (r *Runner) State() journal.State { return r.rec.snapshot() }

// Run goes forward until every step is done, or, where the run is on its way back already, goes on there. The error is
// a [*StoppedError] where the run can be resumed, a [*RolledBackError] where a step wanted it taken back and it was.
// Cancelling ctx stops the run.
func (r *Runner) Run(ctx context.Context) error {
	r.announce()
	if state := r.State(); state.Phase.GoesBack() {
		return r.back(ctx)
	} else if state.AbortAsked != "" { // of a process that was killed before it could do it
		return r.rollback(ctx, state.AbortAsked)
	}
	step, err := r.forward(ctx)
	if err == nil {
		return nil
	}
	var rollback *RollbackError
	if !errors.As(err, &rollback) {
		return r.stopped(ctx, step, err, "resume")
	}
	if !errors.As(err, new(*askedError)) {
		if recErr := r.failed(ctx, step, err); recErr != nil {
			return r.stopped(ctx, "", errors.Join(err, recErr), "resume")
		}
	}
	past := r.State().PastPointOfNoReturn
	if backErr := r.rollback(ctx, err.Error()); backErr != nil {
		return errors.Join(backErr, err)
	}
	return &RolledBackError{Run: r.State().Run, Past: past, Err: err}
}

// announce shows the events of this process's own taking of the run, which were stored before there was a Runner.
func (r *Runner) announce() {
	first := 0
	for i, e := range r.cfg.Events {
		if e.Kind == journal.RunTaken {
			first = i
		}
	}
	if first == 1 {
		first = 0 // run.started
	}
	for _, e := range r.cfg.Events[first:] {
		for _, sink := range r.cfg.Sinks {
			sink(e)
		}
	}
}

// under is ctx that also ends with the lease.
func (r *Runner) under(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	work, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.cfg.Lease.Context(), func() { cancel(context.Cause(r.cfg.Lease.Context())) })
	return work, func(cause error) { stop(); cancel(cause) }
}

// forward returns the id of the step that an error belongs to.
func (r *Runner) forward(ctx context.Context) (string, error) {
	work, cancel := r.under(ctx)
	defer cancel(nil)
	r.background.begin(work, cancel)
	defer func() { _ = r.background.stop() }() // its error has ended the work, or no longer matters
	r.wheel.bind(cancel)
	defer r.wheel.bind(nil)
	for i, step := range r.cfg.Steps {
		st := r.State().Steps[i]
		if st.Status != journal.StepIsFinished {
			if err := r.step(work, step, st); err != nil {
				return r.blame(ctx, work, step.ID(), err)
			}
		}
		r.leave(i, step)
	}
	// What still runs has no later step to end it.
	if err := r.background.stop(); err != nil {
		return r.blame(ctx, work, "", err)
	}
	if err := r.rec.append(work, "", journal.RunCompleted, nil); err != nil {
		return r.blame(ctx, work, "", err)
	}
	return "", nil
}

// step takes one step through gate, Done and Run.
func (r *Runner) step(ctx context.Context, step Step, st journal.StepState) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := r.gate(ctx, st); err != nil {
		return err
	}
	if err := r.pass(ctx); err != nil {
		return err
	}
	id := step.ID()
	if err := r.rec.append(ctx, id, journal.StepStarted, nil); err != nil {
		return err
	}
	if err := r.pass(ctx); err != nil { // a pause that came between the two
		return err
	}
	began := time.Now()
	done, err := step.Done(ctx)
	if err != nil {
		return err
	}
	if !done {
		if err := step.Run(ctx, r.progress(id)); err != nil {
			return err
		}
	}
	return r.rec.append(ctx, id, journal.StepFinished,
		journal.FinishedData{Seconds: time.Since(began).Seconds(), AlreadyDone: done})
}

func (r *Runner) progress(id string) *Progress { return &Progress{r: r, rec: r.rec, step: id} }

// gate waits before a step's first start. A crash after the approval does not ask for it again.
func (r *Runner) gate(ctx context.Context, st journal.StepState) error {
	if !st.Gate || st.ApprovedBy != "" || st.Attempts > 0 {
		return nil
	}
	reason := fmt.Sprintf("step %q waits for approval", st.ID)
	if err := r.rec.append(ctx, st.ID, journal.GateWaiting, journal.ReasonData{Reason: reason}); err != nil {
		return err
	}
	gate := r.cfg.Gate
	if gate == nil {
		gate = Any{}
	}
	by, err := gate.Wait(ctx, st.ID)
	if err != nil {
		return err
	}
	approved := journal.ApprovedData{By: by}
	if r.cfg.Approval != nil {
		if more, err := r.cfg.Approval(ctx, st.ID); err != nil {
			return err
		} else if more.By == by {
			approved = more
		}
	}
	return r.rec.append(ctx, st.ID, journal.GateApproved, approved)
}

// leave lets a finished step's work go on in the background, unless the point of no return lies between.
func (r *Runner) leave(i int, step Step) {
	b, ok := step.(Background)
	if !ok {
		return
	}
	state := r.State()
	if state.PastPointOfNoReturn {
		for k, st := range state.Steps {
			if st.ID == state.Cutover.Step && i < k {
				return
			}
		}
	}
	r.background.start(step.ID(), func(ctx context.Context) error { return b.Background(ctx, r.progress(step.ID())) })
}

// blame finds the cause behind a cancelled context: the lease, work in the background, or the caller.
func (r *Runner) blame(ctx, work context.Context, step string, err error) (string, error) {
	if work.Err() == nil {
		return step, err
	}
	cause := context.Cause(work)
	var behind *backgroundError
	switch {
	case errors.As(cause, &behind):
		return behind.step, cause
	case errors.As(cause, new(*askedError)):
		return step, cause
	case errors.Is(cause, journal.ErrLeaseLost), errors.Is(err, journal.ErrFenced):
		return step, errors.Join(cause, err)
	case ctx.Err() != nil:
		return step, errInterrupted
	}
	return step, errors.Join(cause, err)
}

// failed records a step's error.
func (r *Runner) failed(ctx context.Context, step string, err error) error {
	state := r.State()
	if st, ok := state.Step(step); !ok || !st.Begun() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return r.rec.append(ctx, step, journal.StepFailed, journal.FailedData{Error: err.Error(), Hint: hintOf(err)})
}

// stopped records that the run stops here, where it still may, and returns the error that says so.
func (r *Runner) stopped(ctx context.Context, step string, err error, command string) error {
	state := r.State()
	e := &StoppedError{
		Run: state.Run, Step: step, Past: state.PastPointOfNoReturn, Err: err,
		Next: "tideover " + command + " " + state.Runbook,
	}
	if e.Past && r.wayBack(ctx, state) == nil {
		e.Back = "tideover rollback " + state.Runbook
	}
	if errors.Is(err, journal.ErrFenced) || errors.Is(err, journal.ErrReleased) {
		return e
	}
	if !errors.Is(err, errInterrupted) && !errors.Is(err, journal.ErrLeaseLost) && !errors.As(err, new(*askedError)) {
		if recErr := r.failed(ctx, step, err); recErr != nil {
			e.Err = errors.Join(e.Err, recErr)
			return e
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if recErr := r.rec.append(ctx, "", journal.RunStopped, journal.StoppedData{Reason: err.Error(), Next: e.Next}); recErr != nil {
		e.Err = errors.Join(e.Err, recErr)
	}
	return e
}
