package replay

import (
	"context"
	"errors"
	"fmt"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Source is what brings blue's changes into its queue, the table tideover.change. [Capture] does it by triggers, in the
// transaction of the change; [Logical] reads them out of blue's write-ahead log; [Outbox] takes them from a table that the
// server writes itself. What comes after the queue is the same for all: claim, judgement, delta, ledger.
type Source interface {
	// Able says what keeps the source from working on blue, before anything is changed there.
	Able(ctx context.Context) error
	// Install begins to record. It may be called again.
	Install(ctx context.Context, budget postgres.Budget) error
	// Installed says whether every table's changes are recorded.
	Installed(ctx context.Context) (bool, error)
	// Remove stops recording and drops all that Install made. It may be called again.
	Remove(ctx context.Context, budget postgres.Budget) error
	// Run brings changes until ctx ends, which is no error.
	Run(ctx context.Context) error
	// Sync returns when what was committed on blue before the call is in the queue.
	Sync(ctx context.Context) error
	// Refused lists changes that the source has and can't bring. They stop a cutover as parked changes do.
	Refused(ctx context.Context) ([]string, error)
	// Finish ends the recording once nothing can come any more: blue is fenced, and all of it is on green.
	Finish(ctx context.Context) error
}

// Able knows of nothing that could be in the way.
func (c *Capture) Able(context.Context) error { return nil }

// Refused is always empty: what can't be recorded fails.
func (c *Capture) Refused(context.Context) ([]string, error) { return nil, nil }

// Finish has nothing to do: on a fenced blue no trigger fires.
func (c *Capture) Finish(context.Context) error { return nil }

// LostError says that changes of blue can't be had any more. Green can't become complete in this run.
type LostError struct {
	Side  string
	Cause string
}

func (e *LostError) Error() string {
	return fmt.Sprintf("changes of %s are lost to the capture: %s", e.Side, e.Cause)
}

// Hint says what a person can do.
func (e *LostError) Hint() string {
	return "the side that serves has lost nothing; take the run back with tideover rollback, mend the cause, and begin a new run"
}

// sync has the source bring what is committed by now: triggers where none is named.
func (r *Replayer) sync(ctx context.Context) error {
	if r.Source == nil {
		return NewCapture(r.Blue, r.Profile, plan.Blue).Sync(ctx)
	}
	return r.Source.Sync(ctx)
}

// stuck lists what is parked, and what the source can't bring.
func (r *Replayer) stuck(ctx context.Context) ([]string, error) {
	parked, err := r.parked(ctx)
	if err != nil || r.Source == nil {
		return parked, err
	}
	refused, err := r.Source.Refused(ctx)
	return append(parked, refused...), err
}

// noSource joins what an installation lacks into one error with a hint.
type noSource struct {
	what string
	hint string
}

func (e *noSource) Error() string { return e.what }
func (e *noSource) Hint() string  { return e.hint }

// LagOf reads the queue after the source has brought what was committed by now.
func LagOf(ctx context.Context, s Source, c *Capture) (Lag, error) {
	if err := s.Sync(ctx); err != nil {
		return Lag{}, err
	}
	return c.Lag(ctx)
}

var errTaken = errors.New("another process reads the changes of this database")

// RecordsWhatIsWanted says whether a source records more of a change than the profile keeps, where replay wants it: our triggers do.
func RecordsWhatIsWanted(s Source) bool {
	_, triggers := s.(*Capture)
	return triggers
}
