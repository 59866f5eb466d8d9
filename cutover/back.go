package cutover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

// Back brings a switch that went through back to blue, with what happened on green: the router holds, green is fenced,
// its changes are brought to blue, blue is opened, participants and router return. The error is a *BackError. Called
// again it goes on where it stopped: it looks at the fences.
func (s *Switch) Back(ctx context.Context) error {
	looking, cancel := context.WithTimeout(ctx, or(s.GiveBack, 30*time.Second))
	defer cancel()
	if err := s.Record(looking, journal.CutoverAborting, journal.ReasonData{Reason: "the way back to blue"}); err != nil {
		return fmt.Errorf("journal: %s: %w", journal.CutoverAborting, err)
	}
	raised, err := s.Fence.Raised(looking)
	if err != nil {
		return &BackError{Green: true, Err: fmt.Errorf("blue's fence: %w", err)}
	}
	// Blue is open: an earlier call came past the point where green may be opened again.
	if err := s.leaveGreen(ctx, !raised); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), or(s.Forward, time.Minute))
	defer stop()
	if err := persist(ctx, s.enterBlue); err != nil {
		if taken(err) {
			return err
		}
		return &BackError{Err: err}
	}
	if err := s.Record(ctx, journal.CutoverAborted, nil); err != nil {
		return fmt.Errorf("journal: %s: %w", journal.CutoverAborted, err)
	}
	return nil
}

// leaveGreen stops writes on green and brings its changes over. On failure green goes on, unless blue is open already.
func (s *Switch) leaveGreen(ctx context.Context, blueOpen bool) error {
	looking, enough := context.WithTimeoutCause(ctx, s.deadline(), ErrDeadline)
	defer enough()
	greenOpen, err := s.greenOpen(looking)
	if err == nil && greenOpen && s.Approach != nil {
		err = s.approach(ctx)
	}
	if taken(err) {
		return err
	}
	work, cancel := context.WithTimeoutCause(ctx, s.deadline(), ErrDeadline)
	defer cancel()
	if err == nil {
		err = s.Router.Hold(work, s.ticket("back-hold"), s.deadline())
	}
	if err == nil && s.Green != nil {
		if err = s.Green.Raise(work, 0); err != nil {
			err = fmt.Errorf("green's fence: %w", err)
		}
	}
	if err == nil && s.Reverse != nil {
		err = s.Reverse(work)
	}
	if err == nil && work.Err() != nil {
		err = context.Cause(work)
	}
	if err == nil || taken(err) {
		return err
	}
	if reason := context.Cause(work); reason != nil && !errors.Is(err, reason) {
		err = fmt.Errorf("%w (%w)", reason, err)
	}
	if blueOpen {
		return &BackError{Err: err}
	}
	undo, stop := context.WithTimeout(context.WithoutCancel(ctx), or(s.GiveBack, 30*time.Second))
	defer stop()
	var left error
	if greenOpen {
		left = persist(undo, s.Green.Lower)
	}
	left = errors.Join(left, persist(undo, func(ctx context.Context) error { return s.Router.Release(ctx, s.ticket("back-release")) }))
	return &BackError{Green: left == nil && (greenOpen || s.Green == nil), Err: errors.Join(err, left)}
}

// approachTime bounds what is done before anybody waits.
const approachTime = time.Hour

func (s *Switch) approach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, approachTime)
	defer cancel()
	if err := s.Approach(ctx); err != nil {
		return fmt.Errorf("before anybody waits: %w", err)
	}
	return nil
}

// greenOpen is false where green was fenced before the way back began: the switch never came so far, or an earlier call
// stopped in the middle. It must then not be opened on the way out.
func (s *Switch) greenOpen(ctx context.Context) (bool, error) {
	if s.Green == nil {
		return false, nil
	}
	raised, err := s.Green.Raised(ctx)
	if err != nil {
		return false, fmt.Errorf("green's fence: %w", err)
	}
	return !raised, nil
}

// enterBlue opens blue and brings everything there. Every part may be done again.
func (s *Switch) enterBlue(ctx context.Context) error {
	if err := s.Fence.Lower(ctx); err != nil {
		return fmt.Errorf("blue's fence: %w", err)
	}
	for i := len(s.Participants) - 1; i >= 0; i-- {
		p := s.Participants[i]
		if err := p.Abort(ctx, s.ticket("abort")); err != nil {
			return fmt.Errorf("participant %q: abort: %w", p.Name(), err)
		}
	}
	if err := s.point(ctx, plan.Blue); err != nil {
		return err
	}
	return s.Router.Release(ctx, s.ticket("back-release"))
}
