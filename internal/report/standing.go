package report

import (
	"fmt"

	"github.com/tideover/tideover/internal/journal"
)

// Standing says in plain words what a person can rely on while a run stands as it does: which side serves, and what a
// failure would lead to. Every phase has its sentence, since it is what a tired person looks for first.
func Standing(s *journal.State) string {
	switch s.Phase {
	case "", journal.New:
		return "nothing has been changed; blue serves"
	case journal.Running, journal.Waiting, journal.Stopped:
		return beforeSwitch(s)
	case journal.Switching, journal.SwitchingStopped:
		switch s.Cutover.Last {
		case journal.CutoverHolding, journal.CutoverFencing, journal.CutoverReplaying, journal.CutoverVerifying:
			return "requests wait for the switch; every failure gives blue back"
		case journal.CutoverAborting:
			return "the switch is being called off; blue serves"
		}
		return beforeSwitch(s)
	case journal.Undoing, journal.UndoingStopped:
		return "blue serves; the run is being taken back"
	case journal.Committing, journal.CommittingStopped:
		return "past the point of no return: green is about to serve; the only way is forward"
	case journal.Switched, journal.SwitchedWaiting, journal.SwitchedStopped:
		if id, ok := OneWay(s); ok {
			return fmt.Sprintf("past the point of no return: green serves; step %q can't be taken back, so the only way is forward", id)
		}
		return "past the point of no return: green serves; \"tideover rollback\" is the way back"
	case journal.RollingBack, journal.RollingBackStopped:
		return "on the way back from green to blue; the only way is to finish it"
	case journal.Aborted:
		return "blue serves, as it did before the run"
	case journal.RolledBack:
		return "blue serves again; revocations made on green hold on blue"
	case journal.Completed:
		if s.PastPointOfNoReturn {
			return "green serves; blue is kept, read-only"
		}
		return "every step is done; the side in use is the same as before"
	}
	return fmt.Sprintf("the run is %s", s.Phase)
}

// beforeSwitch names a step that has begun and can't be taken back, such as migrations in place: then a failure does
// not give everything back, though blue serves.
func beforeSwitch(s *journal.State) string {
	if id, ok := OneWay(s); ok {
		return fmt.Sprintf("blue serves; step %q can't be taken back, so a failure goes forward by resume", id)
	}
	return "blue serves; every failure gives blue back"
}

// OneWay finds a step that has begun and has no way back.
func OneWay(s *journal.State) (string, bool) {
	for _, st := range s.Steps {
		if !st.Undoable && st.Begun() {
			return st.ID, true
		}
	}
	return "", false
}

// Doing says in a word or two what the run does: "running", "waits for approval", "stopped".
func Doing(s *journal.State) string {
	switch s.Phase {
	case "", journal.New:
		return "not started"
	case journal.Waiting, journal.SwitchedWaiting:
		return "waits for approval"
	case journal.Switching:
		return "switching"
	case journal.Committing:
		return "committing"
	case journal.Undoing:
		return "being taken back"
	case journal.RollingBack:
		return "rolling back"
	case journal.Completed:
		return "completed"
	case journal.Aborted:
		return "aborted"
	case journal.RolledBack:
		return "rolled back"
	}
	if s.Phase.IsStopped() {
		return "stopped"
	}
	if s.Paused != nil {
		return "paused"
	}
	return "running"
}

// Sign is one character for a step's status. The signs differ in shape, so that nothing depends on colour.
func Sign(status journal.StepStatus) string {
	switch status {
	case journal.StepIsWaiting:
		return "?"
	case journal.StepIsRunning:
		return "▸"
	case journal.StepIsFinished:
		return "✓"
	case journal.StepIsFailed:
		return "✗"
	case journal.StepIsUndoing:
		return "◂"
	case journal.StepIsUndone:
		return "○"
	}
	return "·"
}
