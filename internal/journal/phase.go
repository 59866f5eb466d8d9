package journal

import (
	"maps"
	"slices"
)

// Phase is where a run as a whole stands. There are two families: up to the first participant's commit blue serves and
// every way out gives blue back; from there on green serves, or is about to, and the way back is a rollback.
type Phase string

// Phases before the point of no return.
const (
	New              Phase = "new"               // no event yet
	Running          Phase = "running"           // steps go on
	Waiting          Phase = "waiting"           // at a gate
	Stopped          Phase = "stopped"           // a resume goes on
	Switching        Phase = "switching"         // a cutover has begun: requests may be held, blue may be fenced
	SwitchingStopped Phase = "switching_stopped" // the same with nobody at work: resume at once
	Undoing          Phase = "undoing"           // steps are taken back
	UndoingStopped   Phase = "undoing_stopped"
)

// Phases past the point of no return.
const (
	Committing         Phase = "committing" // some participants may have switched, others not
	CommittingStopped  Phase = "committing_stopped"
	Switched           Phase = "switched" // green serves, steps go on
	SwitchedWaiting    Phase = "switched_waiting"
	SwitchedStopped    Phase = "switched_stopped"
	RollingBack        Phase = "rolling_back"
	RollingBackStopped Phase = "rolling_back_stopped"
)

// The ends. No event follows.
const (
	Completed  Phase = "completed"
	Aborted    Phase = "aborted"     // blue serves as before
	RolledBack Phase = "rolled_back" // blue serves again
)

// Phases lists all phases in the order in which they are shown.
func Phases() []Phase {
	return []Phase{
		New, Running, Waiting, Stopped, Switching, SwitchingStopped, Undoing, UndoingStopped,
		Committing, CommittingStopped, Switched, SwitchedWaiting, SwitchedStopped, RollingBack, RollingBackStopped,
		Completed, Aborted, RolledBack,
	}
}

// Ended says that no event can follow.
func (p Phase) Ended() bool { return p == Completed || p == Aborted || p == RolledBack }

// IsStopped says that the last process put the run down in order. After a crash a run has no process and is not
// stopped: only the lease tells.
func (p Phase) IsStopped() bool {
	switch p {
	case Stopped, SwitchingStopped, UndoingStopped, CommittingStopped, SwitchedStopped, RollingBackStopped:
		return true
	}
	return false
}

// IsWaiting says that a gate waits for a person.
func (p Phase) IsWaiting() bool { return p == Waiting || p == SwitchedWaiting }

// GoesBack says that the run is on its way back, by undo or rollback.
func (p Phase) GoesBack() bool {
	switch p {
	case Undoing, UndoingStopped, RollingBack, RollingBackStopped:
		return true
	}
	return false
}

// PastPointOfNoReturn says that a participant may have committed. The ends don't tell: State does.
func (p Phase) PastPointOfNoReturn() bool {
	switch p {
	case Committing, CommittingStopped, Switched, SwitchedWaiting, SwitchedStopped, RollingBack, RollingBackStopped, RolledBack:
		return true
	}
	return false
}

// Transitions is the whole state machine: the phase that follows when an event of a kind is stored in a phase. What is
// not in it can't happen. docs/state-machine.md shows it.
var Transitions = map[Phase]map[Kind]Phase{
	New: {RunStarted: Running},
	Running: merge(stay(Running, step, aside, []Kind{RunTaken, CutoverAborted}),
		to(Switching, prepare, []Kind{CutoverAborting}),
		map[Kind]Phase{GateWaiting: Waiting, RunStopped: Stopped, RunUndoing: Undoing, RunCompleted: Completed}),
	Waiting: merge(stay(Waiting, aside),
		map[Kind]Phase{GateApproved: Running, RunTaken: Running, RunStopped: Stopped, RunUndoing: Undoing}),
	Stopped: {RunTaken: Running},
	Switching: merge(stay(Switching, prepare, aside, []Kind{StepStarted, RunTaken, CutoverAborting}),
		map[Kind]Phase{CutoverCommitting: Committing, CutoverAborted: Running, RunStopped: SwitchingStopped, RunUndoing: Undoing}),
	SwitchingStopped: {RunTaken: Switching},
	Undoing: merge(stay(Undoing, undo, aside, []Kind{RunTaken, RunUndoing, CutoverAborting, CutoverAborted}),
		map[Kind]Phase{RunStopped: UndoingStopped, RunAborted: Aborted}),
	UndoingStopped: {RunTaken: Undoing},

	// A crash can fall between the record and the first participant's commit: then recovery may still abort.
	Committing: merge(stay(Committing, prepare, commit, aside, []Kind{StepStarted, RunTaken, CutoverAborting}),
		map[Kind]Phase{CutoverReleased: Switched, CutoverAborted: Running, RunStopped: CommittingStopped, RunUndoing: RollingBack}),
	CommittingStopped: {RunTaken: Committing},
	Switched: merge(stay(Switched, step, aside, []Kind{RunTaken, CutoverReleased}),
		map[Kind]Phase{GateWaiting: SwitchedWaiting, RunStopped: SwitchedStopped, RunUndoing: RollingBack, RunCompleted: Completed}),
	SwitchedWaiting: merge(stay(SwitchedWaiting, aside),
		map[Kind]Phase{GateApproved: Switched, RunTaken: Switched, RunStopped: SwitchedStopped, RunUndoing: RollingBack}),
	SwitchedStopped: {RunTaken: Switched},
	RollingBack: merge(stay(RollingBack, undo, aside, prepare, commit,
		[]Kind{RunTaken, RunUndoing, CutoverReleased, CutoverAborting, CutoverAborted}),
		map[Kind]Phase{RunStopped: RollingBackStopped, RunRolledBack: RolledBack}),
	RollingBackStopped: {RunTaken: RollingBack},
}

// Kinds that go together in the table.
var (
	step    = []Kind{StepStarted, StepFinished}
	undo    = []Kind{StepUndoing, StepUndone}
	aside   = []Kind{StepNote, StepCheckpoint, StepFigure, StepFailed, RunAsked} // also of steps that work in the background
	prepare = []Kind{CutoverPreparing, CutoverHolding, CutoverFencing, CutoverReplaying, CutoverVerifying}
	commit  = []Kind{CutoverCommitting, CutoverSwitched}
)

func to(p Phase, kinds ...[]Kind) map[Kind]Phase {
	m := map[Kind]Phase{}
	for _, k := range slices.Concat(kinds...) {
		m[k] = p
	}
	return m
}

func stay(p Phase, kinds ...[]Kind) map[Kind]Phase { return to(p, kinds...) }

func merge(parts ...map[Kind]Phase) map[Kind]Phase {
	m := map[Kind]Phase{}
	for _, part := range parts {
		maps.Copy(m, part)
	}
	return m
}
