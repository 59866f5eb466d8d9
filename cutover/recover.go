package cutover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

// world is where everything is, as it says itself.
type world struct {
	sides   map[string]plan.Side // participant → side
	green   int                  // participants on green
	unknown int
	routing Routing
}

func (w world) untouched() bool { return w.green == 0 && w.unknown == 0 && w.routing.Green == 0 }

func (s *Switch) look(ctx context.Context) (world, error) {
	w := world{sides: map[string]plan.Side{}}
	var err error
	if w.routing, err = s.Router.Look(ctx, s.ticket("look")); err != nil {
		return w, err
	}
	if w.routing.Newer {
		return w, journal.ErrFenced
	}
	for _, p := range s.Participants {
		side, err := p.Side(ctx, s.ticket("status"))
		if err != nil {
			return w, fmt.Errorf("participant %q: status: %w", p.Name(), err)
		}
		w.sides[p.Name()] = side
		switch side {
		case plan.Green:
			w.green++
		case plan.Blue:
		default:
			w.unknown++
		}
	}
	return w, nil
}

// Recover brings a switch that was cut off to one side. last is the last cutover event in the journal. It is true when
// green serves, and false when blue does and Run may be called again. With an error nothing is decided yet that
// calling it again could not bring to an end.
func (s *Switch) Recover(ctx context.Context, last journal.Kind) (done bool, err error) {
	var w world
	looking, cancel := context.WithTimeout(ctx, or(s.GiveBack, 30*time.Second))
	defer cancel()
	if err := persist(looking, func(ctx context.Context) (err error) { w, err = s.look(ctx); return err }); err != nil {
		return false, fmt.Errorf("cutover: the last event is %s, and where things are can't be seen: %w", last, err)
	}
	committed := last == journal.CutoverCommitting || last == journal.CutoverSwitched || last == journal.CutoverReleased
	switch {
	case last == journal.CutoverReleased && w.routing.Green == w.routing.Replicas && w.routing.Busy == 0 &&
		w.green == len(s.Participants):
		return true, nil
	case last == "" || last == journal.CutoverAborted:
		return false, nil
	case !committed && w.routing.Green > 0:
		return false, &StrangeError{Last: last, Green: w.routing.Green, Replicas: w.routing.Replicas}
	case !committed:
		return false, s.takeBackAfterCrash(ctx, fmt.Errorf("cut off after %s", last), last == journal.CutoverAborting)
	}
	return s.complete(ctx, last, w)
}

// complete goes on from the point of no return. While no router points at green, nobody has written there: the fence,
// the replay and the proof are done once more, because nobody knows how long the run has lain still. If that fails and
// nothing at all is on green, blue is given back.
func (s *Switch) complete(ctx context.Context, last journal.Kind, w world) (bool, error) {
	a := &attempt{figures: Figures{Participants: s.names()}, recordedAnything: true}
	if w.routing.Green == 0 && last != journal.CutoverReleased {
		work, cancel := context.WithTimeoutCause(ctx, s.deadline(), ErrDeadline)
		defer cancel()
		if err := s.proveAgain(work, a); err != nil {
			if taken(err) {
				return false, err
			}
			if reason := context.Cause(work); reason != nil && !errors.Is(err, reason) {
				err = fmt.Errorf("%w (%w)", reason, err)
			}
			if w.untouched() && w.routing.Replicas+len(s.Participants) > 0 {
				if incomplete := s.takeBackAfterCrash(ctx, err, true); incomplete != nil {
					return false, incomplete
				}
				return false, &AbortedError{Stage: "going on after a crash", Cause: err}
			}
			return false, &CommittedError{"going on after a crash", err}
		}
	}
	if _, err := s.forward(ctx, a); err != nil {
		return false, err
	}
	return true, nil
}

func (s *Switch) proveAgain(ctx context.Context, a *attempt) error {
	for _, st := range stages {
		if st.kind == journal.CutoverPreparing {
			continue // participants have prepared, and some may have committed
		}
		if st.kind == journal.CutoverFencing {
			// A Raise that fails lowers the fence, and green may be open by now: raise only what is down.
			if raised, err := s.Fence.Raised(ctx); err != nil {
				return fmt.Errorf("blue's fence: %w", err)
			} else if raised {
				continue
			}
		}
		if err := st.do(s, ctx, a); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *Switch) takeBackAfterCrash(ctx context.Context, cause error, fenceGreen bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), or(s.GiveBack, 30*time.Second))
	defer cancel()
	err := s.takeBack(ctx, cause, fenceGreen)
	if err == nil || taken(err) {
		return err
	}
	return &AbortedError{Stage: "giving back after a crash", Cause: cause, Incomplete: err}
}

// StrangeError is a router that points at green although the journal knows of no commit: not the doing of this run.
type StrangeError struct {
	Last            journal.Kind
	Green, Replicas int
}

func (e *StrangeError) Error() string {
	return fmt.Sprintf("cutover: the last event is %s, but %d of %d routers point at green", e.Last, e.Green, e.Replicas)
}

// Hint says what to do about it.
func (e *StrangeError) Hint() string {
	return "another run, or a person, has switched the router: find out which side has the newest writes, point every router there, then type \"tideover resume\""
}
