package steps

import (
	"fmt"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

// Stage is where a run is, as far as it matters to who wants something of its process.
type Stage string

// The stages.
const (
	StageSteps      Stage = "before the switch"
	StageGate       Stage = "at a gate before the switch"
	StagePreparing  Stage = "in the switch, before the hold"
	StageHold       Stage = "in the hold"
	StageCommitting Stage = "past the point of no return"
	StageServing    Stage = "green serves"
	StageLastGate   Stage = "at a gate, green serves"
	StageBack       Stage = "on the way back"
)

// Stages lists them in a run's order.
func Stages() []Stage {
	return []Stage{StageSteps, StageGate, StagePreparing, StageHold, StageCommitting, StageServing, StageLastGate, StageBack}
}

// StageOf is the stage of a run that has a process.
func StageOf(s *journal.State) Stage {
	switch {
	case s.Phase.GoesBack() || s.AbortAsked != "":
		return StageBack
	case s.Phase == journal.Committing || s.Phase == journal.CommittingStopped:
		return StageCommitting
	case s.Phase == journal.SwitchedWaiting:
		return StageLastGate
	case s.PastPointOfNoReturn:
		return StageServing
	case s.Phase == journal.Waiting:
		return StageGate
	case s.Phase == journal.Switching || s.Phase == journal.SwitchingStopped:
		if s.Cutover.Last == journal.CutoverPreparing {
			return StagePreparing
		}
		return StageHold
	}
	if st, ok := s.Current(); ok && st.Kind == string(plan.Cutover) && st.Begun() {
		return StagePreparing
	}
	return StageSteps
}

// Verbs lists what can be asked of the process at work on a run.
func Verbs() []string {
	return []string{journal.Pause, journal.Continue, journal.Throttle, journal.Abort, journal.Deny}
}

// Refusal is why something that was asked for is not done at a stage; "": it is done.
func Refusal(verb string, stage Stage) string {
	back := "the run is on its way back: that goes on to its end"
	switch verb {
	case journal.Pause:
		switch stage {
		case StagePreparing, StageHold:
			return "the switch has begun, and clients would wait for as long: abort calls it off"
		case StageCommitting:
			return "past the point of no return the switch is completed: writes are refused until it is"
		case StageServing, StageLastGate:
			return "green serves: nothing is under way that burdens anybody"
		case StageBack:
			return back
		}
	case journal.Continue:
		if stage != StageSteps && stage != StageGate {
			return "nothing is paused"
		}
	case journal.Throttle:
		switch stage {
		case StagePreparing, StageHold:
			return "the switch has begun: slower, it would have clients wait for longer"
		case StageCommitting, StageServing, StageLastGate:
			return "copy and replay are over"
		case StageBack:
			return back
		}
	case journal.Abort:
		switch stage {
		case StageCommitting:
			return "the run is past the point of no return: the switch is completed first; \"tideover rollback\" then switches back, and brings revocations made on green along"
		case StageServing, StageLastGate:
			return "green serves: stop the run (Ctrl-C), then \"tideover rollback\" switches back, and brings revocations made on green along"
		case StageBack:
			return "the run is on its way back already"
		}
	case journal.Deny:
		switch stage {
		case StagePreparing, StageHold:
			return "the switch has begun: abort calls it off"
		case StageCommitting:
			return "past the point of no return the switch is completed"
		case StageBack:
			return back
		}
	default:
		return fmt.Sprintf("the verb %q is unknown to this tideover", verb)
	}
	return ""
}

// refusal is Refusal with what only the state tells.
func refusal(d journal.AskedData, s *journal.State) string {
	if d.Verb == journal.Continue {
		if s.Paused == nil {
			return "nothing is paused"
		}
		return ""
	}
	if reason := Refusal(d.Verb, StageOf(s)); reason != "" {
		return reason
	}
	switch d.Verb {
	case journal.Pause:
		if s.Paused != nil {
			return "the run is paused already, by " + s.Paused.By
		}
	case journal.Deny:
		st, ok := s.Step(d.Step)
		switch {
		case !ok || !st.Gate:
			return fmt.Sprintf("the run has no gate before a step %q", d.Step)
		case st.ApprovedBy != "":
			return fmt.Sprintf("the gate of %s was opened by %s, and the run went through it", d.Step, st.ApprovedBy)
		case st.Attempts > 0:
			return fmt.Sprintf("step %s has begun", d.Step)
		}
	}
	return ""
}

// consent says what follows.
func consent(d journal.AskedData, s *journal.State) string {
	current, _ := s.Current()
	switch d.Verb {
	case journal.Pause:
		switch plan.StepKind(current.Kind) {
		case plan.Snapshot:
			return "the copy waits from its next piece on, and replay, where it is on; the copy's snapshot on blue stays open meanwhile"
		case plan.Replay, plan.Validate, plan.Monitor:
			return "replay waits after the batch under way, and the run before its next step; what is captured on blue waits in the queue"
		}
		return fmt.Sprintf("the run waits when step %s is through", current.ID)
	case journal.Continue:
		return "the run goes on"
	case journal.Throttle:
		if d.Limits == (journal.Limits{}) {
			return "only the runbook's limits count again"
		}
		return fmt.Sprintf("the copy takes at most %s MB/s, the replay %s changes/s", limit(d.MaxRate), limit(d.MaxChanges))
	case journal.Abort:
		return "the run is being taken back; blue serves"
	case journal.Deny:
		if s.Gate != nil && s.Gate.Step == d.Step {
			return fmt.Sprintf("the run stops before %s; resume has it wait there again", d.Step)
		}
		return fmt.Sprintf("the gate of %s stays shut; the run goes on up to it", d.Step)
	}
	return ""
}

func limit(n int64) string {
	if n == 0 {
		return "any number of"
	}
	return fmt.Sprint(n)
}
