// Package journal is the event stream of a run. Everything that resumes, shows or reports a run reads the same events:
// State is folded from them and stored nowhere else.
//
// The package is pure: it knows no database, no clock and no goroutine. internal/postgres stores the events.
package journal

import (
	"encoding/json"
	"time"
)

// Event is one thing that happened in a run. Seq counts from 1 without gaps; Seq 0 is progress, which is shown and
// never stored. Time is the database server's for a stored event. Step is empty for events of the run as a whole.
type Event struct {
	Seq  int64           `json:"seq"`
	Time time.Time       `json:"time"`
	Run  string          `json:"run"`
	Step string          `json:"step,omitempty"`
	Kind Kind            `json:"kind"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Kind names what happened. The names are a contract with programs that read --json (docs/events.md).
type Kind string

// Events of a run as a whole.
const (
	RunStarted    Kind = "run.started"     // data: RunStartedData
	RunTaken      Kind = "run.taken"       // a process took the run over; data: RunTakenData
	RunStopped    Kind = "run.stopped"     // stopped where resume can go on; data: StoppedData
	RunUndoing    Kind = "run.undoing"     // the way back has begun; data: ReasonData
	RunCompleted  Kind = "run.completed"   // every step is done
	RunAborted    Kind = "run.aborted"     // undone before the point of no return: blue is as it was
	RunRolledBack Kind = "run.rolled_back" // blue serves again after the point of no return
	RunAsked      Kind = "run.asked"       // a person asked the process for something; data: AskedData
	RunReport     Kind = "run.report"      // not stored; the last line of --json
)

// Events of one step.
const (
	StepStarted    Kind = "step.started"
	StepProgress   Kind = "step.progress"   // Seq 0; data: ProgressData
	StepNote       Kind = "step.note"       // something that a person should know; data: NoteData
	StepCheckpoint Kind = "step.checkpoint" // where Run goes on after a crash; data: CheckpointData
	StepFigure     Kind = "step.figure"     // a number for the report; data: FigureData
	StepFinished   Kind = "step.finished"   // data: FinishedData
	StepFailed     Kind = "step.failed"     // data: FailedData
	StepUndoing    Kind = "step.undoing"
	StepUndone     Kind = "step.undone"
	GateWaiting    Kind = "gate.waiting"  // data: ReasonData
	GateApproved   Kind = "gate.approved" // data: ApprovedData
)

// Events of the switch, each stored before the thing is done.
const (
	CutoverPreparing  Kind = "cutover.preparing"  // data: CutoverData
	CutoverHolding    Kind = "cutover.holding"    // the router begins to hold
	CutoverFencing    Kind = "cutover.fencing"    // the database of the serving side begins to refuse writes
	CutoverReplaying  Kind = "cutover.replaying"  // the last replay
	CutoverVerifying  Kind = "cutover.verifying"  //
	CutoverCommitting Kind = "cutover.committing" // the point of no return: stored before the first participant's commit
	CutoverSwitched   Kind = "cutover.switched"   // every participant has committed and the router points at green
	CutoverReleased   Kind = "cutover.released"   // held requests go on; data: CutoverFigures
	CutoverAborting   Kind = "cutover.aborting"   // data: ReasonData
	CutoverAborted    Kind = "cutover.aborted"    // blue serves, nothing is held, nothing is fenced
)

// RunStartedData is the data of RunStarted. Hash is the runbook's SHA-256 in hex; Steps are its steps in order.
type RunStartedData struct {
	Name    string    `json:"name"`
	Runbook string    `json:"runbook"` // path as the user gave it
	Hash    string    `json:"hash"`
	Steps   []StepRef `json:"steps"`
	Version string    `json:"version"` // tideover's

	// Content and ProfileContent are the hashes of what runbook and profile say (plan.Runbook.Content).
	Content        string `json:"content,omitempty"`
	Profile        string `json:"profile,omitempty"` // as the runbook names it
	ProfileContent string `json:"profile_content,omitempty"`
}

// StepRef names a step of the runbook. Undoable is false for a point of no return.
type StepRef struct {
	ID       string `json:"id"`
	Kind     string `json:"kind"`
	Undoable bool   `json:"undoable"`
	Gate     bool   `json:"gate,omitempty"`
}

// RunTakenData is the data of RunTaken. Term counts up with each process that takes the run.
type RunTakenData struct {
	Term int64  `json:"term"`
	Host string `json:"host"`
	PID  int    `json:"pid"`
	User string `json:"user,omitempty"`
}

// StoppedData is the data of RunStopped. Next is the command to type next.
type StoppedData struct {
	Reason string `json:"reason"`
	Next   string `json:"next"`
}

// Verbs of AskedData.
const (
	Pause    = "pause"
	Continue = "continue"
	Throttle = "throttle"
	Abort    = "abort"
	Deny     = "deny"
)

// AskedData is what a person asked the process at work for, from another terminal, and how it answered.
type AskedData struct {
	Command int64  `json:"command"` // its number in the control database
	Verb    string `json:"verb"`
	Step    string `json:"step,omitempty"` // of Deny
	By      string `json:"by"`
	Host    string `json:"host"`
	Reason  string `json:"reason,omitempty"`
	Limits
	Done   bool   `json:"done"` // false: refused
	Answer string `json:"answer"`
}

// Limits slow a run down. 0: no limit but the runbook's.
type Limits struct {
	MaxRate    int64 `json:"max_rate,omitempty"`    // of the copy, MB/s
	MaxChanges int64 `json:"max_changes,omitempty"` // of the replay, changes/s
}

// ReasonData says why.
type ReasonData struct {
	Reason string `json:"reason"`
}

// ApprovedData says who opened a gate.
type ApprovedData struct {
	By     string `json:"by"`
	Host   string `json:"host,omitempty"` // from where
	Reason string `json:"reason,omitempty"`
}

// ProgressData is how far a step is. Total is 0 where it is not known. Unit is "rows", "bytes", "changes" or "steps".
type ProgressData struct {
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"`
	Unit  string `json:"unit,omitempty"`
	Note  string `json:"note,omitempty"`

	Rows  int64          `json:"rows,omitempty"`   // that are behind Done, where Unit is "bytes"
	LeftS int64          `json:"left_s,omitempty"` // seconds until Total, at the pace so far
	Parts []PartProgress `json:"parts,omitempty"`  // what is under way: tables

	Backlog *Backlog `json:"backlog,omitempty"` // of a replay
}

// Backlog is what a replay has before it, and how far the audit beside it is.
type Backlog struct {
	Changes int64   `json:"changes"`  // captured, and not replayed yet
	OldestS float64 `json:"oldest_s"` // seconds since the oldest of them was made
	Parked  int64   `json:"parked"`   // set aside, since they can't be applied
	Audited int64   `json:"audited"`  // rows that the audit has held against green
}

// PartProgress is how far a part of a step is, in the step's unit.
type PartProgress struct {
	Name  string `json:"name"`
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"`
	Rows  int64  `json:"rows,omitempty"`
	LeftS int64  `json:"left_s,omitempty"`
}

// NoteData is a line for people. Level is "info" or "warn". About says for machines what it is about, one of the About… below;
// most are about nothing that machines count.
type NoteData struct {
	Level string `json:"level"`
	Text  string `json:"text"`
	About string `json:"about,omitempty"`
}

// What a note can be about.
const (
	AboutWait     = "wait"     // one of our sessions waits for a lock, or for another session
	AboutRetry    = "retry"    // something is tried again
	AboutOverride = "override" // a person has gone past a guardrail
	AboutUntold   = "untold"   // one whom the runbook names could not be told something
)

// CheckpointData is a position: Run reads the last one of its key after a crash.
type CheckpointData struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// FigureData is one number (or a small object) of the report, by its dotted path there, such as "rows.copied".
type FigureData struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// StatementTime is how long a statement of a migration took; a whole file where its statements weren't timed.
type StatementTime struct {
	Step    string  `json:"step"`
	File    string  `json:"file"`
	Line    int     `json:"line,omitempty"`
	What    string  `json:"what,omitempty"`
	Seconds float64 `json:"seconds"`
}

// FinishedData is the data of StepFinished. AlreadyDone is true where Done found the effect in place.
type FinishedData struct {
	Seconds     float64 `json:"seconds"`
	AlreadyDone bool    `json:"already_done,omitempty"`
}

// FailedData is the data of StepFailed.
type FailedData struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// CutoverData is the data of CutoverPreparing.
type CutoverData struct {
	Participants []string `json:"participants"`
	DeadlineMS   int64    `json:"deadline_ms"`
}

// CutoverFigures is the data of CutoverReleased.
type CutoverFigures struct {
	HoldMS  int64 `json:"hold_ms"`
	FenceMS int64 `json:"fence_ms"`
}
