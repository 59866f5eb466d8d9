package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// StepStatus is where one step stands.
type StepStatus string

const (
	StepIsPending  StepStatus = "pending"
	StepIsWaiting  StepStatus = "waiting" // at its gate
	StepIsRunning  StepStatus = "running" // or was, when a process crashed
	StepIsFinished StepStatus = "finished"
	StepIsFailed   StepStatus = "failed"
	StepIsUndoing  StepStatus = "undoing"
	StepIsUndone   StepStatus = "undone"
)

// StepState is what the events say of one step.
type StepState struct {
	StepRef
	Status      StepStatus                 `json:"status"`
	Attempts    int                        `json:"attempts"`           // times that it was started
	Started     time.Time                  `json:"started,omitzero"`   // the first time
	Finished    time.Time                  `json:"finished,omitzero"`  // or undone
	Seconds     float64                    `json:"seconds,omitempty"`  // of the last attempt, once it is finished
	ApprovedBy  string                     `json:"approved,omitempty"` // who opened its gate
	AlreadyDone bool                       `json:"already_done,omitempty"`
	Error       string                     `json:"error,omitempty"`
	Hint        string                     `json:"hint,omitempty"`
	Checkpoints map[string]json.RawMessage `json:"checkpoints,omitempty"` // the last of each key
	Progress    ProgressData               `json:"progress,omitzero"`     // seen by this process only
}

// Begun says that the step has, or may have, an effect that is not taken back.
func (st StepState) Begun() bool {
	switch st.Status {
	case StepIsRunning, StepIsFinished, StepIsFailed, StepIsUndoing:
		return true
	}
	return false
}

// fold puts what an event says into the state. It changes nothing when it returns an error.
func (s *State) fold(e Event) error {
	if e.Step == "" {
		return s.foldRun(e)
	}
	st, err := s.step(e.Step)
	if err != nil {
		return err
	}
	if strings.HasPrefix(string(e.Kind), "cutover.") {
		return s.foldCutover(e)
	}
	return s.foldStep(e, st)
}

func (s *State) foldRun(e Event) error {
	switch e.Kind {
	case RunStarted:
		var d RunStartedData
		if err := read(e, &d); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, ref := range d.Steps {
			if ref.ID == "" || seen[ref.ID] {
				return fmt.Errorf("step id %q is empty or there twice", ref.ID)
			}
			seen[ref.ID] = true
		}
		s.Name, s.Runbook, s.Hash, s.Version, s.Started = d.Name, d.Runbook, d.Hash, d.Version, e.Time
		s.Content, s.Profile, s.ProfileContent = d.Content, d.Profile, d.ProfileContent
		for _, ref := range d.Steps {
			s.Steps = append(s.Steps, StepState{StepRef: ref, Status: StepIsPending})
		}
	case RunTaken:
		var d RunTakenData
		if err := read(e, &d); err != nil {
			return err
		}
		if d.Term <= s.Term {
			return fmt.Errorf("term %d does not follow %d", d.Term, s.Term)
		}
		s.Term = d.Term
		s.Paused, s.Limits, s.Denied = nil, Limits{}, nil // who took it has asked for it to go on
		s.Holder = Holder{Run: e.Run, Term: d.Term, Host: d.Host, PID: d.PID, User: d.User, Since: e.Time}
	case RunStopped:
		var d StoppedData
		if err := read(e, &d); err != nil {
			return err
		}
		s.Stopped = &d
	case RunUndoing:
		var d ReasonData
		if err := read(e, &d); err != nil {
			return err
		}
		s.Reason, s.AbortAsked = d.Reason, ""
	case RunAsked:
		return s.foldAsked(e)
	case RunCompleted:
		for _, st := range s.Steps {
			if st.Status != StepIsFinished {
				return fmt.Errorf("step %q is %s", st.ID, st.Status)
			}
		}
	case RunAborted, RunRolledBack:
		for _, st := range s.Steps {
			if st.Begun() {
				return fmt.Errorf("step %q is %s", st.ID, st.Status)
			}
		}
	default:
		return errors.New("it names no step")
	}
	return nil
}

func (s *State) foldAsked(e Event) error {
	var d AskedData
	if err := read(e, &d); err != nil {
		return err
	}
	if !d.Done {
		return nil
	}
	switch d.Verb {
	case Pause:
		s.Paused = &Paused{Since: e.Time, By: d.By, Reason: d.Reason}
	case Continue:
		s.Paused = nil
	case Throttle:
		s.Limits = d.Limits
	case Abort:
		if s.PastPointOfNoReturn {
			return errPast
		}
		s.AbortAsked, s.Paused = d.Why(), nil
	case Deny:
		if s.Gate != nil && s.Gate.Step == d.Step {
			s.Denied = &Denied{Step: d.Step, Why: d.Why()}
		}
	default:
		return fmt.Errorf("the verb %q is unknown", d.Verb)
	}
	return nil
}

var errPast = errors.New("the run is past the point of no return")

// Why says who asked, and the reason.
func (d AskedData) Why() string {
	why := fmt.Sprintf("%s asked for by %s on %s", d.Verb, d.By, d.Host)
	if d.Reason != "" {
		why += ": " + d.Reason
	}
	return why
}

func (s *State) foldStep(e Event, st *StepState) error {
	switch e.Kind {
	case StepStarted:
		if st.Status == StepIsFinished || st.Status == StepIsUndone {
			return fmt.Errorf("step %q is %s", e.Step, st.Status)
		}
		if st.Attempts == 0 {
			st.Started = e.Time
		}
		st.Attempts++
		st.Status, st.Error, st.Hint, st.Progress = StepIsRunning, "", "", ProgressData{}
	case StepFinished:
		var d FinishedData
		if err := read(e, &d); err != nil {
			return err
		}
		if st.Status != StepIsRunning {
			return fmt.Errorf("step %q is %s", e.Step, st.Status)
		}
		st.Status, st.Finished, st.Seconds, st.AlreadyDone = StepIsFinished, e.Time, d.Seconds, d.AlreadyDone
	case StepFailed:
		var d FailedData
		if err := read(e, &d); err != nil {
			return err
		}
		if !st.Begun() {
			return fmt.Errorf("step %q is %s", e.Step, st.Status)
		}
		if st.Status != StepIsUndoing { // one whose undo failed is still to be undone
			st.Status = StepIsFailed
		}
		st.Error, st.Hint = d.Error, d.Hint
	case StepUndoing:
		if !st.Begun() {
			return fmt.Errorf("step %q is %s", e.Step, st.Status)
		}
		st.Status, st.Error, st.Hint = StepIsUndoing, "", ""
	case StepUndone:
		if st.Status != StepIsUndoing {
			return fmt.Errorf("step %q is %s", e.Step, st.Status)
		}
		st.Status, st.Finished, st.Checkpoints = StepIsUndone, e.Time, nil
	case StepNote:
		var d NoteData
		if err := read(e, &d); err != nil {
			return err
		}
		s.Notes = append(s.Notes, Note{Time: e.Time, Step: e.Step, Level: d.Level, Text: d.Text})
	case StepCheckpoint:
		var d CheckpointData
		if err := read(e, &d); err != nil {
			return err
		}
		st.Checkpoints = with(st.Checkpoints, d.Key, d.Value)
	case StepFigure:
		var d FigureData
		if err := read(e, &d); err != nil {
			return err
		}
		s.Figures = with(s.Figures, d.Name, d.Value)
	case GateWaiting:
		var d ReasonData
		if err := read(e, &d); err != nil {
			return err
		}
		if st.Status == StepIsPending {
			st.Status = StepIsWaiting
		}
		s.Gate = &Gate{Step: e.Step, Since: e.Time, Reason: d.Reason}
	case GateApproved:
		var d ApprovedData
		if err := read(e, &d); err != nil {
			return err
		}
		if s.Gate == nil || s.Gate.Step != e.Step {
			return fmt.Errorf("step %q does not wait", e.Step)
		}
		if s.Denied != nil && s.Denied.Step == e.Step {
			return fmt.Errorf("step %q was denied", e.Step)
		}
		st.ApprovedBy = d.By
		if st.Status == StepIsWaiting {
			st.Status = StepIsPending
		}
	default:
		return errors.New("it names a step")
	}
	return nil
}

func (s *State) foldCutover(e Event) error {
	c := s.Cutover
	switch e.Kind {
	case CutoverPreparing:
		var d CutoverData
		if err := readOptional(e, &d); err != nil {
			return err
		}
		c.Participants, c.DeadlineMS = slices.Clone(d.Participants), d.DeadlineMS
		c.Tries++
	case CutoverReleased:
		var d CutoverFigures
		if err := readOptional(e, &d); err != nil {
			return err
		}
		c.HoldMS, c.FenceMS = d.HoldMS, d.FenceMS
	case CutoverCommitting:
		if s.AbortAsked != "" && !s.PastPointOfNoReturn {
			return fmt.Errorf("the run is to be taken back: %s", s.AbortAsked)
		}
	}
	c.Step, c.Last, c.At = e.Step, e.Kind, e.Time
	s.Cutover = c
	return nil
}

// with is m with one more entry.
func with(m map[string]json.RawMessage, key string, value json.RawMessage) map[string]json.RawMessage {
	if m == nil {
		m = map[string]json.RawMessage{}
	}
	m[key] = value
	return m
}
