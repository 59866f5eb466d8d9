// Package cutover is the moment of the switch: everything that must change sides together does, or nothing does.
//
// The protocol (Switch) goes through stages, each recorded in the journal before it is done: participants are asked to
// prepare, logins under way are let out, the router holds, blue's database refuses writes, the last changes are
// replayed and verified, and then, past the point of no return, the participants commit, the router points at green and
// lets go. Before that point every failure gives blue back; after it a failure is tried again until it goes through.
// After a crash, Recover looks at the participants, the router and the fences rather than trusting what was recorded
// last, and completes or takes back. docs/cutover.md tells it at length; docs/cutover-states.md is the table.
package cutover

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

// Ticket goes with every call to a participant or router. A call with an older Term of the same Run comes from a
// process that has lost the run. Calls of one term are numbered: one with a lower number than was seen has been on its
// way for too long, such as a commit that arrives after the abort. Key is equal for calls that mean the same thing
// again.
type Ticket struct {
	Run  string
	Term int64
	Call int64 // 0: not numbered
	Key  string
}

// Participant is something that switches together with the rest. Every call may come again, and late.
type Participant interface {
	Name() string
	// Prepare asks whether Commit would work, and makes ready for it. Nothing that clients see changes.
	Prepare(ctx context.Context, t Ticket) error
	// Commit brings the participant to green.
	Commit(ctx context.Context, t Ticket) error
	// Abort brings the participant to blue, from wherever it is: prepared, committed, or neither.
	Abort(ctx context.Context, t Ticket) error
	// Side says where the participant is: "blue", "green", or "" if it can't tell. It changes nothing.
	Side(ctx context.Context, t Ticket) (plan.Side, error)
}

// Router holds and moves the traffic (Routers: all replicas of cutover/router). Every call may come again.
type Router interface {
	// Drain makes new logins wait, deadline at most, and returns when no login is under way, or when wait has passed.
	Drain(ctx context.Context, t Ticket, wait, deadline time.Duration) (left int, err error)
	// Hold makes writes wait, deadline at most, and returns when all that were forwarded have been answered.
	Hold(ctx context.Context, t Ticket, deadline time.Duration) error
	// Switch points at a side. The error is router.ErrNotHolding where the hold is over.
	Switch(ctx context.Context, t Ticket, side plan.Side) error
	Release(ctx context.Context, t Ticket) error
	Look(ctx context.Context, t Ticket) (Routing, error)
}

// Routing is where a router's replicas are.
type Routing struct {
	Replicas int
	Green    int  // point at green
	Busy     int  // drain or hold
	Quiet    int  // hold, and no forwarded write is unanswered
	Newer    bool // one has heard of a newer term of the run: another process has taken it over
}

// Fencer makes a side's database refuse writes (replay.Fence).
type Fencer interface {
	// Raise returns when writers under way are done; on error the fence is down. After d it opens by itself, unless
	// Keep comes first; with 0 it stays.
	Raise(ctx context.Context, d time.Duration) error
	Keep(ctx context.Context) error // makes it stay; an error where it is down, or was since Raise
	Lower(ctx context.Context) error
	Raised(ctx context.Context) (bool, error)
}

// Switch is one cutover. Router may be an empty Routers where there is none.
type Switch struct {
	Ticket       Ticket        // Run and Term; Key is filled in
	Try          int           // the switches that the run has begun so far; Run adds one
	Calls        *atomic.Int64 // numbers the calls of the term; shared by all Switches of a process; nil: its own
	Participants []Participant // committed in this order, aborted in reverse
	Router       Router
	Fence        Fencer // blue's
	Green        Fencer // green's, raised until the switch; nil: none

	Settle  func(context.Context) error // what can be done before anybody waits, so that the hold is short, and again where logins were long in leaving; nil: nothing
	Replay  func(context.Context) error // the last changes; blue is fenced
	Verify  func(context.Context) error // that all of it is in force on green
	Wake    func(context.Context) error // switches on what green does by itself, such as its triggers; nil: nothing
	Pin     func(context.Context) error // remembers green's state at the switch, for the oracle; nil: nothing
	Reverse func(context.Context) error // Back: green's changes to blue; green is fenced

	Approach func(context.Context) error // Back: what of it can be done before anybody waits; nil: nothing

	Deadline    time.Duration // from the first hold to the point of no return; default 10s
	DrainLogins time.Duration // how long logins under way may finish; 0: they are not waited for
	GiveBack    time.Duration // how long taking back is tried; default 30s
	Forward     time.Duration // how long going forward is tried after the point of no return; default 1m

	// Record stores an event of the journal. An error that is journal.ErrFenced stops everything at once: another
	// process has the run.
	Record func(ctx context.Context, kind journal.Kind, data any) error
}

// Figures are the measured times of a switch that went through.
type Figures struct {
	HoldMS       int64    `json:"hold_ms"`  // from the router's first hold to its release
	FenceMS      int64    `json:"fence_ms"` // from blue's first refusal to green's first acceptance
	DrainMS      int64    `json:"drain_ms"`
	ReplayMS     int64    `json:"replay_ms"`
	VerifyMS     int64    `json:"verify_ms"`
	CommitMS     int64    `json:"commit_ms"`
	LoginsLeft   int      `json:"logins_left"` // under way when the hold began
	Participants []string `json:"participants"`
}

func (s *Switch) ticket(action string) Ticket {
	if s.Calls == nil {
		s.Calls = &atomic.Int64{}
	}
	return Ticket{Run: s.Ticket.Run, Term: s.Ticket.Term, Call: s.Calls.Add(1), Key: fmt.Sprintf("%s/%d/%s", s.Ticket.Run, s.Try, action)}
}

func (s *Switch) deadline() time.Duration { return or(s.Deadline, 10*time.Second) }

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func (s *Switch) names() []string {
	names := []string{}
	for _, p := range s.Participants {
		names = append(names, p.Name())
	}
	if routers, ok := s.Router.(Routers); ok && len(routers) > 0 {
		names = append(names, "router")
	}
	return names
}
