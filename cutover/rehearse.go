package cutover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

// Rehearse does everything up to the point of no return, and takes it back: what the hold would have cost is then known,
// because it has been paid. Clients wait for as long as the figures say. Nothing is recorded: a process that dies here
// leaves nothing that does not open by itself at the deadline, since blue's fence is not made to stay. The error is an
// *AbortedError.
func (s *Switch) Rehearse(ctx context.Context) (Figures, error) {
	s.ticket("rehearse") // numbers begin before the copy is made
	r := *s
	released := &timedRouter{Router: s.Router}
	r.Router, r.Fence, r.Pin = released, unkept{s.Fence}, nil
	r.Record = func(context.Context, journal.Kind, any) error { return nil }

	a := &attempt{figures: Figures{Participants: s.names()}, recordedAnything: true}
	work, cancel := context.WithTimeoutCause(ctx, s.DrainLogins+preparing, ErrDeadline)
	defer cancel()
	for _, st := range stages {
		if st.kind == journal.CutoverHolding {
			var cancel context.CancelFunc
			work, cancel = context.WithTimeoutCause(ctx, s.deadline(), ErrDeadline)
			defer cancel()
		}
		if err := r.enter(work, a, st); err != nil {
			return Figures{}, r.abort(work, a, "rehearsing: "+st.name, err)
		}
	}
	back, stop := context.WithTimeout(context.WithoutCancel(ctx), or(s.GiveBack, 30*time.Second))
	defer stop()
	if err := r.giveBack(back, false); err != nil {
		if taken(err) {
			return Figures{}, err
		}
		return Figures{}, &AbortedError{Stage: "giving back after the rehearsal", Cause: errors.New("the rehearsal is over"), Incomplete: err}
	}
	a.figures.HoldMS = released.at.Sub(a.held).Milliseconds()
	a.figures.FenceMS = released.at.Sub(a.fenced).Milliseconds()
	return a.figures, nil
}

// timedRouter remembers when it was released.
type timedRouter struct {
	Router
	at time.Time
}

func (r *timedRouter) Release(ctx context.Context, t Ticket) error {
	err := r.Router.Release(ctx, t)
	r.at = time.Now()
	return err
}

// unkept is a fence that opens by itself: where it would be made to stay it is only looked at.
type unkept struct{ Fencer }

func (f unkept) Keep(ctx context.Context) error {
	up, err := f.Raised(ctx)
	if err == nil && !up {
		err = fmt.Errorf("it has been open for a moment")
	}
	return err
}
