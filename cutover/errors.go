package cutover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/journal"
)

// AbortedError is a switch that was taken back before the point of no return: blue serves. Where Incomplete is set,
// something could not be given back yet.
type AbortedError struct {
	Stage      string // where it failed
	Cause      error
	Incomplete error
}

func (e *AbortedError) Error() string {
	if e.Incomplete != nil {
		return fmt.Sprintf("cutover: called off while %s: %v; and not all could be given back to blue: %v", e.Stage, e.Cause, e.Incomplete)
	}
	return fmt.Sprintf("cutover: called off while %s, blue serves: %v", e.Stage, e.Cause)
}

func (e *AbortedError) Unwrap() []error {
	if e.Incomplete != nil {
		return []error{e.Cause, e.Incomplete}
	}
	return []error{e.Cause}
}

// Hint says what to do about it.
func (e *AbortedError) Hint() string {
	if e.Incomplete != nil {
		return "writes may be refused until it is complete: type \"tideover resume\" now"
	}
	return "nothing was lost; mend the cause, then \"tideover resume\" tries the switch again"
}

// ExitCode is 4: stopped safely before the point of no return; 1 where that is not complete.
func (e *AbortedError) ExitCode() int {
	if e.Incomplete != nil {
		return 1
	}
	return 4
}

// CommittedError is a switch that passed the point of no return and could not be completed in time.
type CommittedError struct {
	Stage string
	Err   error
}

func (e *CommittedError) Error() string {
	return fmt.Sprintf("cutover: past the point of no return, stuck while %s: %v", e.Stage, e.Err)
}

func (e *CommittedError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *CommittedError) Hint() string {
	return "blue refuses writes and nothing is lost; \"tideover resume\" completes the switch, \"tideover rollback\" goes back to blue"
}

// BackError is a way back that could not be completed. With Green, green goes on serving as if nothing had been tried;
// else the way back has begun and must be completed.
type BackError struct {
	Green bool
	Err   error
}

func (e *BackError) Error() string {
	if e.Green {
		return fmt.Sprintf("cutover: the way back was called off, green serves: %v", e.Err)
	}
	return fmt.Sprintf("cutover: the way back has begun and is not complete: %v", e.Err)
}

func (e *BackError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *BackError) Hint() string {
	if e.Green {
		return "mend the cause, then type \"tideover rollback\" again"
	}
	return "writes are refused until it is complete: type \"tideover rollback\" again now"
}

// ErrDeadline is the cause of a switch that took too long.
var ErrDeadline = errors.New("the cutover's deadline has passed")

// taken reports whether an error says that another process has the run. This one must then touch nothing any more.
func taken(err error) bool {
	return errors.Is(err, journal.ErrFenced) || errors.Is(err, router.ErrStale)
}

// oneTry bounds one attempt of persist, so that one lost answer does not use up all the time.
const oneTry = 10 * time.Second

// persist tries f until it works, ctx ends, or another process has the run.
func persist(ctx context.Context, f func(context.Context) error) error {
	pause := 50 * time.Millisecond
	for {
		try, cancel := context.WithTimeout(ctx, oneTry)
		err := f(try)
		cancel()
		if err == nil || taken(err) {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
		pause = min(2*pause, time.Second)
	}
}
