package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/tideover/tideover/internal/journal"
)

// Exit codes that a run can end with; cmd uses them.
const (
	exitFailed      = 1
	exitHeld        = 3
	exitStopped     = 4
	exitInterrupted = 130
)

// StoppedError says that a run was put down where a resume can go on, or, after a lost lease or a crashed database,
// that it had to be dropped there.
type StoppedError struct {
	Run  string
	Step string // "" where no step was under way
	Past bool   // past the point of no return
	Next string // the command to type next
	Back string // past the point of no return: the command that goes back to blue, "" where there is no way back
	Err  error
}

func (e *StoppedError) Error() string {
	if e.Step == "" {
		return fmt.Sprintf("run %q stopped: %v", e.Run, e.Err)
	}
	return fmt.Sprintf("run %q stopped at step %q: %v", e.Run, e.Step, e.Err)
}

func (e *StoppedError) Unwrap() error { return e.Err }

// Hint says what to type next, after the cause's own hint.
func (e *StoppedError) Hint() string {
	where := "blue serves; this is before the point of no return"
	if e.Past {
		where = "this is past the point of no return"
	}
	s := fmt.Sprintf("%s; go on with %q", where, e.Next)
	if e.Back != "" && e.Back != e.Next {
		s += fmt.Sprintf(", or back to blue with %q", e.Back)
	}
	if hint := hintOf(e.Err); hint != "" {
		s = hint + "; then: " + s
	}
	return s
}

// ExitCode is 130 after an interruption, 3 when another process has the run, 4 when it stopped safely before the point
// of no return, else 1.
func (e *StoppedError) ExitCode() int {
	switch {
	case errors.Is(e.Err, journal.ErrFenced), errors.Is(e.Err, journal.ErrHeld):
		return exitHeld
	case errors.Is(e.Err, errInterrupted):
		return exitInterrupted
	case errors.Is(e.Err, journal.ErrLeaseLost), e.Past:
		return exitFailed
	}
	return exitStopped
}

// errInterrupted says that the caller's context was cancelled. It is context.Canceled.
var errInterrupted = fmt.Errorf("interrupted: %w", context.Canceled)

// RollbackError is what a step's Run returns when the run shall be rolled back without asking a person, such as monitor
// with "rollback: true".
type RollbackError struct{ Err error }

func (e *RollbackError) Error() string { return e.Err.Error() }
func (e *RollbackError) Unwrap() error { return e.Err }

// RolledBackError says that a run took itself back because of an error. ExitCode is 4 when blue never stopped serving,
// else 1.
type RolledBackError struct {
	Run  string
	Past bool
	Err  error
}

func (e *RolledBackError) Error() string {
	return fmt.Sprintf("run %q was taken back, blue serves: %v", e.Run, e.Err)
}

func (e *RolledBackError) Unwrap() error { return e.Err }

// ExitCode is 4 before the point of no return, else 1.
func (e *RolledBackError) ExitCode() int {
	if e.Past {
		return exitFailed
	}
	return exitStopped
}

// PastError refuses an undo: participants may have switched to green already.
type PastError struct{ Run string }

func (e *PastError) Error() string {
	return fmt.Sprintf("run %q is past the point of no return: green serves, or is about to", e.Run)
}

// Hint says what would be another way back.
func (e *PastError) Hint() string {
	return "\"tideover rollback\" switches back to blue and brings revocations made on green along; sessions that only green knows are counted and named, and end"
}

// NoWayBackError refuses the way back because of a step that can't be taken back.
type NoWayBackError struct{ Run, Step string }

func (e *NoWayBackError) Error() string {
	return fmt.Sprintf("run %q can't be taken back: step %q has begun, and has no way back", e.Run, e.Step)
}

// Hint says what is left.
func (e *NoWayBackError) Hint() string { return "go forward with \"tideover resume\"" }

// ChangedError refuses to go on with another runbook or profile than the run was started with.
type ChangedError struct {
	Run          string
	What         string // "runbook" or "profile"
	Started, Now string
	Kept         bool // the journal has what the run was started with
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("the %s has changed since run %q was started: its SHA-256 was %.12s, now it is %.12s", e.What, e.Run, e.Started, e.Now)
}

// Hint says what to do.
func (e *ChangedError) Hint() string {
	if e.Kept {
		return fmt.Sprintf("the journal has what the run was started with: \"tideover resume --control DSN --run %s\" goes on with that, \"tideover rollback --control DSN --run %s\" takes it back; what was changed needs a new run", e.Run, e.Run)
	}
	return "bring back the " + e.What + " as it was, then resume or roll back; a changed one needs a new run"
}

// EndedError says that there is nothing to do for a run that has ended.
type EndedError struct {
	Run   string
	Phase journal.Phase
}

func (e *EndedError) Error() string { return fmt.Sprintf("run %q has ended: it is %s", e.Run, e.Phase) }
