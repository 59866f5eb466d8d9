package journal

// KindInfo describes a kind of event for programs that read --json.
type KindInfo struct {
	Kind   Kind
	Stored bool // false: shown with Seq 0, and in no journal
	Data   any  // a zero value of the data's type; nil: the event has none
	Text   string
}

// Kinds lists every kind of event. docs/events.md is made of it.
func Kinds() []KindInfo {
	return []KindInfo{
		{RunStarted, true, RunStartedData{}, "The first event. `hash` is the SHA-256 of the runbook's bytes, `content` and `profile_content` of what runbook and profile say: comments, white space and the order of keys don't count. A resume with others is refused."},
		{RunTaken, true, RunTakenData{}, "A process took the run: the first time, or after a stop or a crash."},
		{RunStopped, true, StoppedData{}, "The process put the run down in order. `next` is the command to type."},
		{RunUndoing, true, ReasonData{}, "The way back has begun."},
		{RunCompleted, true, nil, "Every step is done."},
		{RunAborted, true, nil, "Undone before the point of no return: blue is as it was."},
		{RunRolledBack, true, nil, "Blue serves again after the point of no return."},
		{RunAsked, true, AskedData{}, "A person asked the process at work for something, from another terminal: `verb` is pause, continue, throttle, abort or deny. `done` is false where it was refused; `answer` says why."},
		{RunReport, false, nil, "The last line of a run with --json, after the run has ended. See below."},
		{StepStarted, true, nil, "The step begins, or begins again after a stop or a crash."},
		{StepProgress, false, ProgressData{}, "How far the step is. Several times a second at most. `backlog` is there while changes are replayed."},
		{StepNote, true, NoteData{}, "Something that a person should know. `about` is wait (one of our sessions waits for a lock or another session), retry, override (of a guardrail) or untold (of `notify`), or absent."},
		{StepCheckpoint, true, CheckpointData{}, "Where the step goes on after a crash: the last one of a key counts. The value belongs to the step."},
		{StepFigure, true, FigureData{}, "A number of the report, under its dotted path there. The last one of a name counts."},
		{StepFinished, true, FinishedData{}, "The step's effect is in place. `already_done` is true where it was found so. `seconds` are the last attempt's."},
		{StepFailed, true, FailedData{}, "The step has met an error. `run.stopped` follows."},
		{StepUndoing, true, nil, "The step is being taken back."},
		{StepUndone, true, nil, "The step's effect is gone."},
		{GateWaiting, true, ReasonData{}, "The run waits until a person approves the step."},
		{GateApproved, true, ApprovedData{}, "A person approved the step."},
		{CutoverPreparing, true, CutoverData{}, "Every participant is asked whether it can switch."},
		{CutoverHolding, true, nil, "The router begins to hold writes and new logins."},
		{CutoverFencing, true, nil, "The database of the serving side begins to refuse writes."},
		{CutoverReplaying, true, nil, "The last changes are brought over."},
		{CutoverVerifying, true, nil, "What was captured is compared with what is in force on the other side."},
		{CutoverCommitting, true, nil, "The point of no return: stored before the first participant's commit."},
		{CutoverSwitched, true, nil, "Every participant has committed, and the router points at the other side."},
		{CutoverReleased, true, CutoverFigures{}, "The held requests go on."},
		{CutoverAborting, true, ReasonData{}, "The switch is called off."},
		{CutoverAborted, true, nil, "The side that served before serves; nothing is held, nothing is fenced."},
	}
}

// Known says whether a kind exists.
func (k Kind) Known() bool {
	for _, info := range Kinds() {
		if info.Kind == k {
			return true
		}
	}
	return false
}
