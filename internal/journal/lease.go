package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Lease is the right of one process to work on a run. It is held by a lock that ends with the process and by a term
// that every append is checked against, so that a process which only believes that it still holds the run is refused.
type Lease interface {
	// Context dies, with ErrLeaseLost as its cause, when the right is gone. Work is done under it; putting things back
	// in order and releasing are not.
	Context() context.Context
	// Append stores an event and returns it with its Seq and the server's Time; Run is filled in. The error is ErrFenced
	// after a takeover, and ErrReleased after Release.
	Append(ctx context.Context, e Event) (Event, error)
	// Release gives the right back. Context is dead afterwards. Further calls do nothing.
	Release()
}

// Sink takes events as they happen, in order: stored ones after they are stored, and progress. It must be quick, and
// must not append.
type Sink func(Event)

// Holder is who holds, or held, a run.
type Holder struct {
	Run   string    `json:"run,omitempty"`
	Term  int64     `json:"term,omitempty"`
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	User  string    `json:"user,omitempty"`
	Since time.Time `json:"since"`
}

// Conditions that end a process's work on a run. Tell them apart with errors.Is.
var (
	ErrHeld            = errors.New("held by another process")
	ErrFenced    error = fenced{}
	ErrLeaseLost       = errors.New("the lease on the run is lost: its connection to the control database has ended")
	ErrReleased        = errors.New("the lease on the run has been released")
)

// HeldError says who holds the run. It is ErrHeld.
type HeldError struct{ Holder Holder }

func (e *HeldError) Error() string {
	h := e.Holder
	if h.Host == "" {
		return "the control database is held by another process"
	}
	return fmt.Sprintf("run %q is held by process %d on %s since %s", h.Run, h.PID, h.Host, h.Since.Format(time.DateTime+" MST"))
}

func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// Hint says what a person can do.
func (e *HeldError) Hint() string {
	return "watch it with \"tideover status --watch\"; to take over, end that process first (a lost one frees the run within half a minute)"
}

// ExitCode is 3: held by another process.
func (e *HeldError) ExitCode() int { return 3 }

type fenced struct{}

func (fenced) Error() string {
	return "another process has taken the run over; this one must not go on"
}
func (fenced) Hint() string {
	return "see who with \"tideover status\"; this process has changed nothing since"
}
func (fenced) ExitCode() int { return 3 }
