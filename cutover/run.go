package cutover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

// preparing bounds what comes before the hold, beside the wait for logins.
const preparing = time.Minute

// Run makes the switch. The error is an *AbortedError (blue serves), a *CommittedError (past the point of no return:
// Recover completes it), or journal.ErrFenced (another process has the run; nothing was touched any more).
func (s *Switch) Run(ctx context.Context) (Figures, error) {
	s.Try++
	a := &attempt{figures: Figures{Participants: s.names()}}
	work, cancel := context.WithTimeoutCause(ctx, s.DrainLogins+preparing, ErrDeadline)
	defer cancel()
	for _, st := range stages {
		if st.kind == journal.CutoverHolding {
			var cancel context.CancelFunc
			work, cancel = context.WithTimeoutCause(ctx, s.deadline(), ErrDeadline)
			defer cancel()
		}
		if err := s.enter(work, a, st); err != nil {
			return Figures{}, s.abort(work, a, st.name, err)
		}
	}
	if err := s.record(work, a, journal.CutoverCommitting); err != nil {
		return Figures{}, s.abort(work, a, "recording the point of no return", err)
	}
	return s.forward(ctx, a)
}

// enter records a stage and does it.
func (s *Switch) enter(ctx context.Context, a *attempt, st stage) error {
	if err := s.record(ctx, a, st.kind); err != nil {
		return err
	}
	if err := st.do(s, ctx, a); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (s *Switch) record(ctx context.Context, a *attempt, kind journal.Kind) error {
	var data any
	if kind == journal.CutoverPreparing {
		data = journal.CutoverData{Participants: s.names(), DeadlineMS: s.deadline().Milliseconds()}
	}
	if err := s.Record(ctx, kind, data); err != nil {
		return fmt.Errorf("journal: %s: %w", kind, err)
	}
	a.recordedAnything = true
	return nil
}

// forward goes from the point of no return to the end, whatever becomes of ctx: each part is tried until it works.
func (s *Switch) forward(ctx context.Context, a *attempt) (Figures, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), or(s.Forward, time.Minute))
	defer cancel()
	// The journal may be out of reach while everything else works (a lost lease is not a takeover): serving comes first,
	// and Recover sees what was done.
	var unrecorded error
	for _, st := range onward {
		if st.kind != journal.CutoverCommitting {
			if err := s.recordOnce(ctx, st.kind); taken(err) {
				return Figures{}, &CommittedError{st.name, err}
			} else if err != nil {
				unrecorded = fmt.Errorf("journal: %s: %w", st.kind, err)
			}
		}
		if err := persist(ctx, func(ctx context.Context) error { return st.do(s, ctx, a) }); err != nil {
			return Figures{}, &CommittedError{st.name, err}
		}
	}
	if unrecorded == nil {
		unrecorded = persist(ctx, func(ctx context.Context) error {
			return s.Record(ctx, journal.CutoverReleased, journal.CutoverFigures{HoldMS: a.figures.HoldMS, FenceMS: a.figures.FenceMS})
		})
	}
	if unrecorded != nil {
		return Figures{}, &CommittedError{"recording that green serves", unrecorded}
	}
	return a.figures, nil
}

func (s *Switch) recordOnce(ctx context.Context, kind journal.Kind) error {
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	return s.Record(ctx, kind, nil)
}

// commit brings everything to green. Green's fence goes down before the first request can come there.
func (s *Switch) commit(ctx context.Context, a *attempt) error {
	start := time.Now()
	for _, p := range s.Participants {
		if err := p.Commit(ctx, s.ticket("commit")); err != nil {
			return fmt.Errorf("participant %q: commit: %w", p.Name(), err)
		}
	}
	if s.Green != nil {
		if err := s.Green.Lower(ctx); err != nil {
			return fmt.Errorf("green's fence: %w", err)
		}
	}
	if err := s.point(ctx, plan.Green); err != nil {
		return err
	}
	a.figures.CommitMS = time.Since(start).Milliseconds()
	if !a.fenced.IsZero() {
		a.figures.FenceMS = time.Since(a.fenced).Milliseconds()
	}
	return nil
}

// point makes the router point at a side. Where its hold is over by now (it has restarted, or the commits took long) it
// is made to hold once more first, so that no write is under way when it turns.
func (s *Switch) point(ctx context.Context, side plan.Side) error {
	err := s.Router.Switch(ctx, s.ticket("switch"), side)
	if errors.Is(err, router.ErrNotHolding) || errors.Is(err, router.ErrNotQuiet) {
		if err = s.Router.Hold(ctx, s.ticket("hold"), s.deadline()); err == nil {
			err = s.Router.Switch(ctx, s.ticket("switch"), side)
		}
	}
	return err
}

func (s *Switch) release(ctx context.Context, a *attempt) error {
	if err := s.Router.Release(ctx, s.ticket("release")); err != nil {
		return err
	}
	if !a.held.IsZero() {
		a.figures.HoldMS = time.Since(a.held).Milliseconds()
	}
	return nil
}

// abort gives blue back, and says why.
func (s *Switch) abort(ctx context.Context, a *attempt, stage string, cause error) error {
	if reason := context.Cause(ctx); reason != nil && !errors.Is(cause, reason) {
		cause = fmt.Errorf("%w (%w)", reason, cause)
	}
	if taken(cause) {
		return cause
	}
	aborted := &AbortedError{Stage: stage, Cause: cause}
	if !a.recordedAnything {
		return aborted // nothing has been done
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), or(s.GiveBack, 30*time.Second))
	defer cancel()
	err := s.takeBack(ctx, cause, false)
	if taken(err) {
		return err
	}
	aborted.Incomplete = err
	return aborted
}

// takeBack records an abort and carries it out. The journal may be out of reach: blue's service comes first.
func (s *Switch) takeBack(ctx context.Context, cause error, fenceGreen bool) error {
	recording, cancel := context.WithTimeout(ctx, or(s.GiveBack, 30*time.Second)/6)
	unrecorded := s.Record(recording, journal.CutoverAborting, journal.ReasonData{Reason: cause.Error()})
	cancel()
	if taken(unrecorded) {
		return unrecorded
	}
	if err := s.giveBack(ctx, fenceGreen); err != nil {
		return errors.Join(err, unrecorded)
	}
	if unrecorded == nil {
		unrecorded = persist(ctx, func(ctx context.Context) error { return s.Record(ctx, journal.CutoverAborted, nil) })
	}
	return unrecorded
}

// giveBack brings everything to blue: green is fenced again where it may have been opened, and only then blue opened.
// Blue's fence goes down before the router lets go, so that no write meets it.
func (s *Switch) giveBack(ctx context.Context, fenceGreen bool) error {
	looking, cancel := context.WithTimeout(ctx, or(s.GiveBack, 30*time.Second)/6)
	defer cancel()
	if routing, err := s.Router.Look(looking, s.ticket("look")); err == nil && routing.Newer {
		return journal.ErrFenced
	}
	if fenceGreen && s.Green != nil {
		if err := persist(ctx, func(ctx context.Context) error { return s.Green.Raise(ctx, 0) }); err != nil {
			return fmt.Errorf("green's fence: %w", err)
		}
	}
	var errs []error
	// A third of the time for blue's database; then the rest is given back all the same.
	lowering, cancel := context.WithTimeout(ctx, or(s.GiveBack, 30*time.Second)/3)
	defer cancel()
	if err := persist(lowering, s.Fence.Lower); err != nil {
		errs = append(errs, fmt.Errorf("blue's fence: %w", err))
	}
	releasing, cancel := context.WithTimeout(ctx, or(s.GiveBack, 30*time.Second)/6)
	defer cancel()
	if err := persist(releasing, func(ctx context.Context) error { return s.Router.Release(ctx, s.ticket("release")) }); err != nil {
		errs = append(errs, err)
	}
	for i := len(s.Participants) - 1; i >= 0; i-- {
		p := s.Participants[i]
		if err := p.Abort(ctx, s.ticket("abort")); err != nil {
			errs = append(errs, fmt.Errorf("participant %q: abort: %w", p.Name(), err))
		}
	}
	return errors.Join(errs...)
}
