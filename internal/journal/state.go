package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// State is what the events of a run say, folded. Everything that shows, resumes or reports a run reads it. The zero
// value is a run without events.
type State struct {
	Run     string `json:"run"`
	Name    string `json:"name"`    // of the runbook
	Runbook string `json:"runbook"` // its path as the user gave it
	Hash    string `json:"hash"`
	Version string `json:"version"` // of the tideover that started the run

	Content        string `json:"content,omitempty"` // what the runbook says, as a hash; "" in runs of older versions
	Profile        string `json:"profile,omitempty"` // as the runbook names it
	ProfileContent string `json:"profile_content,omitempty"`

	Phase   Phase     `json:"phase"`
	Seq     int64     `json:"seq"` // of the last stored event
	Started time.Time `json:"started"`
	Updated time.Time `json:"updated"`          // time of the last stored event
	Ended   time.Time `json:"ended,omitzero"`   // zero until the run has ended
	Holder  Holder    `json:"holder"`           // who took it last; the lease tells whether that process still lives
	Term    int64     `json:"term"`             // of the holder
	Reason  string    `json:"reason,omitempty"` // why the way back was begun

	Stopped *StoppedData `json:"stopped,omitempty"` // set while the phase is a stopped one
	Gate    *Gate        `json:"gate,omitempty"`    // set while a gate waits

	Paused *Paused `json:"paused,omitempty"` // set while the process at work was asked to wait
	Limits Limits  `json:"limits,omitzero"`  // that the process at work was asked to keep
	// AbortAsked is why a person wants the run taken back, from when its process has agreed until the way back begins.
	AbortAsked string `json:"abort_asked,omitempty"`

	Denied *Denied `json:"denied,omitempty"` // set from when a person has shut the gate that the run waits at, until it is taken again

	// PastPointOfNoReturn says that a participant may have committed. It stays true in a run that has completed or was
	// rolled back past that point.
	PastPointOfNoReturn bool    `json:"past_point_of_no_return"`
	Cutover             Cutover `json:"cutover"`

	Steps   []StepState                `json:"steps"`
	Figures map[string]json.RawMessage `json:"figures,omitempty"` // by dotted path
	Notes   []Note                     `json:"notes,omitempty"`
}

// Gate is a step that waits for a person.
type Gate struct {
	Step   string    `json:"step"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Paused says who has the run wait.
type Paused struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// Denied is a gate that a person has shut.
type Denied struct {
	Step string `json:"step"`
	Why  string `json:"why"`
}

// Note is a line for people.
type Note struct {
	Time  time.Time `json:"time"`
	Step  string    `json:"step"`
	Level string    `json:"level"`
	Text  string    `json:"text"`
}

// Cutover is where the switch stands.
type Cutover struct {
	Step         string    `json:"step,omitempty"`
	Tries        int       `json:"tries,omitempty"` // switches that the run has begun
	Last         Kind      `json:"last,omitempty"`  // the last cutover.* event; "" before the first
	At           time.Time `json:"at,omitzero"`
	Participants []string  `json:"participants,omitempty"`
	DeadlineMS   int64     `json:"deadline_ms,omitempty"`
	HoldMS       int64     `json:"hold_ms,omitempty"`
	FenceMS      int64     `json:"fence_ms,omitempty"`
}

// Apply adds one event. On an error the state is as it was: a gap in Seq, an unknown kind or step, an event that can't
// happen in this phase or after the end, data that can't be read. Progress (Seq 0) needs no order.
func (s *State) Apply(e Event) error {
	if err := s.apply(e); err != nil {
		return fmt.Errorf("event %d %q of run %q: %w", e.Seq, e.Kind, e.Run, err)
	}
	return nil
}

func (s *State) apply(e Event) error {
	if !e.Kind.Known() {
		return errors.New("the kind is unknown; was it written by a newer tideover?")
	}
	if s.Run != "" && e.Run != s.Run {
		return fmt.Errorf("it belongs to another run than %q", s.Run)
	}
	if e.Seq == 0 {
		return s.progress(e)
	}
	if e.Seq != s.Seq+1 {
		return fmt.Errorf("want number %d", s.Seq+1)
	}
	from := s.Phase
	if from == "" {
		from = New
	}
	next, ok := Transitions[from][e.Kind]
	if !ok {
		if from.Ended() {
			return fmt.Errorf("the run has ended (%s)", from)
		}
		return fmt.Errorf("it can't happen while the run is %s", from)
	}
	if err := s.fold(e); err != nil {
		return err
	}
	s.Run, s.Seq, s.Updated, s.Phase = e.Run, e.Seq, e.Time, next
	if next.Ended() {
		s.Ended = e.Time
	} else {
		s.PastPointOfNoReturn = next.PastPointOfNoReturn()
	}
	if !next.IsStopped() {
		s.Stopped = nil
	}
	if !next.IsWaiting() {
		s.Gate = nil
	}
	return nil
}

// progress takes what is shown and not stored.
func (s *State) progress(e Event) error {
	switch e.Kind {
	case RunReport:
		return nil
	case StepProgress:
		st, err := s.step(e.Step)
		if err != nil {
			return err
		}
		var d ProgressData
		if err := read(e, &d); err != nil {
			return err
		}
		st.Progress = d
		return nil
	}
	return errors.New("it has no number")
}

func read(e Event, into any) error {
	if err := json.Unmarshal(e.Data, into); err != nil {
		return fmt.Errorf("its data: %w", err)
	}
	return nil
}

// readOptional is read for data that an event may lack.
func readOptional(e Event, into any) error {
	if len(e.Data) == 0 {
		return nil
	}
	return read(e, into)
}

// Step returns the state of a step by its id.
func (s *State) Step(id string) (StepState, bool) {
	i := slices.IndexFunc(s.Steps, func(st StepState) bool { return st.ID == id })
	if i < 0 {
		return StepState{}, false
	}
	return s.Steps[i], true
}

// Current is the step that is under way, waits, or would be next; false when every step is finished or undone.
func (s *State) Current() (StepState, bool) {
	for _, st := range s.Steps {
		if st.Status != StepIsFinished && st.Status != StepIsUndone {
			return st, true
		}
	}
	return StepState{}, false
}

func (s *State) step(id string) (*StepState, error) {
	for i := range s.Steps {
		if s.Steps[i].ID == id {
			return &s.Steps[i], nil
		}
	}
	return nil, fmt.Errorf("the run has no step %q", id)
}

// Clone is a copy that shares nothing that Apply changes.
func (s *State) Clone() State {
	c := *s
	c.Steps = slices.Clone(s.Steps)
	for i := range c.Steps {
		c.Steps[i].Checkpoints = maps.Clone(c.Steps[i].Checkpoints)
	}
	c.Figures = maps.Clone(s.Figures)
	c.Notes = slices.Clone(s.Notes)
	return c
}

// Fold applies events in order to a new state.
func Fold(events []Event) (State, error) {
	var s State
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			return s, err
		}
	}
	return s, nil
}
