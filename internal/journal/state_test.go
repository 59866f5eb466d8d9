package journal_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tideover/tideover/internal/journal"
)

// history makes numbered events of "kind[:step][=data]" lines. The steps of the run are "copy" and "cutover".
func history(t testing.TB, lines ...string) []journal.Event {
	t.Helper()
	var events []journal.Event
	for i, line := range lines {
		head, data, _ := strings.Cut(line, "=")
		kind, step, _ := strings.Cut(head, ":")
		e := journal.Event{Seq: int64(i + 1), Run: "r", Step: step, Kind: journal.Kind(kind),
			Time: time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC)}
		switch {
		case data != "":
			e.Data = json.RawMessage(data)
		case e.Kind == journal.RunStarted:
			e.Data = json.RawMessage(`{"name":"n","runbook":"n.yaml","hash":"h","steps":[{"id":"copy","kind":"snapshot"},{"id":"cutover","kind":"cutover"}]}`)
		case !strings.HasPrefix(kind, "cutover."):
			e.Data = json.RawMessage(`{}`)
		}
		events = append(events, e)
	}
	return events
}

var begun = []string{"run.started", `run.taken={"term":1,"host":"a","pid":7}`}

func after(more ...string) []string { return slices.Concat(begun, more) }

func TestFold(t *testing.T) {
	t.Parallel()
	toReleased := after("step.started:copy", "step.finished:copy", "step.started:cutover", `cutover.preparing:cutover={"participants":["router"]}`,
		"cutover.holding:cutover", "cutover.fencing:cutover", "cutover.committing:cutover", "cutover.switched:cutover", `cutover.released:cutover={"hold_ms":812}`)
	for _, tt := range []struct {
		name  string
		lines []string
		phase journal.Phase
		past  bool
		check func(journal.State) bool
	}{
		{"started", begun, journal.Running, false, func(s journal.State) bool { return s.Holder.PID == 7 && len(s.Steps) == 2 }},
		{"crash in a step", after("step.started:copy", `run.taken={"term":2}`, "step.started:copy"), journal.Running, false,
			func(s journal.State) bool { return s.Term == 2 && s.Steps[0].Attempts == 2 }},
		{"last checkpoint counts", after("step.started:copy", `step.checkpoint:copy={"key":"k","value":1}`, `step.checkpoint:copy={"key":"k","value":2}`),
			journal.Running, false, func(s journal.State) bool { return string(s.Steps[0].Checkpoints["k"]) == "2" }},
		{"waiting", after(`gate.waiting:copy={"reason":"w"}`), journal.Waiting, false,
			func(s journal.State) bool { return s.Gate.Step == "copy" && s.Steps[0].Status == journal.StepIsWaiting }},
		{"approved", after("gate.waiting:copy", `gate.approved:copy={"by":"ann"}`), journal.Running, false,
			func(s journal.State) bool { return s.Gate == nil && s.Steps[0].ApprovedBy == "ann" }},
		{"failed and stopped", after("step.started:copy", `step.failed:copy={"error":"disk"}`, `run.stopped={"next":"tideover resume"}`), journal.Stopped, false,
			func(s journal.State) bool { return s.Stopped.Next == "tideover resume" && s.Steps[0].Error == "disk" }},
		{"resumed", after("run.stopped", `run.taken={"term":2}`), journal.Running, false, func(s journal.State) bool { return s.Stopped == nil }},
		{"crash in the hold", after("step.started:cutover", "cutover.preparing:cutover", "cutover.holding:cutover", `run.taken={"term":2}`, "step.started:cutover"),
			journal.Switching, false, func(s journal.State) bool { return s.Cutover.Last == journal.CutoverHolding }},
		{"switch called off", after("step.started:cutover", "cutover.preparing:cutover", "cutover.aborting:cutover", "cutover.aborted:cutover"), journal.Running, false, nil},
		{"committing", toReleased[:9], journal.Committing, true, nil},
		{"committing, nobody had", append(slices.Clone(toReleased[:9]), "cutover.aborted:cutover"), journal.Running, false, nil},
		{"released", toReleased, journal.Switched, true, func(s journal.State) bool { return s.Cutover.HoldMS == 812 && s.Cutover.Participants[0] == "router" }},
		{"completed", append(slices.Clone(toReleased), "step.finished:cutover", "run.completed"), journal.Completed, true,
			func(s journal.State) bool { _, more := s.Current(); return !more && !s.Ended.IsZero() }},
		{"aborted", after("step.started:copy", "run.undoing", "step.undoing:copy", "step.undone:copy", "run.aborted"), journal.Aborted, false,
			func(s journal.State) bool { return s.Steps[0].Status == journal.StepIsUndone }},
		{"rolled back", append(slices.Clone(toReleased), "run.undoing", "step.undoing:cutover", "cutover.holding:cutover", "cutover.released:cutover",
			"step.undone:cutover", "step.undoing:copy", "step.undone:copy", "run.rolled_back"), journal.RolledBack, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			state, err := journal.Fold(history(t, tt.lines...))
			if err != nil {
				t.Fatal(err)
			}
			if state.Phase != tt.phase || state.PastPointOfNoReturn != tt.past || tt.check != nil && !tt.check(state) {
				b, _ := json.Marshal(state)
				t.Errorf("phase %s, past %t: %s", state.Phase, state.PastPointOfNoReturn, b)
			}
		})
	}
}

// Each of these is refused, and leaves the state as it was.
func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before []string
		event  string
		edit   func(*journal.Event)
		says   string
	}{
		{"a gap", begun, "run.undoing", func(e *journal.Event) { e.Seq++ }, "want number 3"},
		{"a repeat", begun, "run.undoing", func(e *journal.Event) { e.Seq-- }, "want number 3"},
		{"an unknown kind", begun, "run.paused", nil, "newer tideover"},
		{"an unknown step", begun, "step.started:nowhere", nil, `no step "nowhere"`},
		{"another run", begun, "run.undoing", func(e *journal.Event) { e.Run = "q" }, "another run"},
		{"a first event that is none", nil, "run.taken", nil, "while the run is new"},
		{"a second start", begun, "run.started", nil, "while the run is running"},
		{"after the end", after("run.undoing", "run.aborted"), "step.started:copy", nil, "has ended"},
		{"work while stopped", after("run.stopped"), "step.started:copy", nil, "while the run is stopped"},
		{"an older term", begun, `run.taken={"term":1}`, nil, "does not follow"},
		{"data that is none", begun, `run.taken={`, nil, "its data"},
		{"finished without a start", begun, "step.finished:copy", nil, "is pending"},
		{"completed with steps left", begun, "run.completed", nil, "is pending"},
		{"aborted with steps standing", after("step.started:copy", "run.undoing"), "run.aborted", nil, "is running"},
		{"aborted past the point of no return", after("step.started:cutover", "cutover.preparing:cutover", "cutover.committing:cutover", "run.undoing"), "run.aborted", nil, "rolling_back"},
		{"finished while switching", after("step.started:cutover", "cutover.holding:cutover"), "step.finished:cutover", nil, "while the run is switching"},
		{"a step's event without a step", begun, "step.note", nil, "names no step"},
		{"a run's event with a step", begun, "run.undoing:copy", nil, "names a step"},
		{"approval of what does not wait", after("gate.waiting:copy"), "gate.approved:cutover", nil, "does not wait"},
		{"a number on progress", begun, "step.progress:copy", nil, "can't happen"},
		{"no number on a note", begun, "step.note:copy", func(e *journal.Event) { e.Seq = 0 }, "has no number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			events := history(t, append(slices.Clone(tt.before), tt.event)...)
			last := len(events) - 1
			state, err := journal.Fold(events[:last])
			if err != nil {
				t.Fatal(err)
			}
			was := state.Clone()
			if tt.edit != nil {
				tt.edit(&events[last])
			}
			if err := state.Apply(events[last]); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			if diff := cmp.Diff(was, state); diff != "" {
				t.Errorf("the state has changed: %s", diff)
			}
		})
	}
}

func TestProgressIsShownAndNotCounted(t *testing.T) {
	t.Parallel()
	state, err := journal.Fold(history(t, after("step.started:copy")...))
	if err != nil {
		t.Fatal(err)
	}
	e := journal.Event{Run: "r", Step: "copy", Kind: journal.StepProgress, Data: json.RawMessage(`{"done":3,"total":9,"unit":"rows"}`)}
	if err := state.Apply(e); err != nil || state.Seq != 3 || state.Steps[0].Progress.Done != 3 {
		t.Errorf("%v: seq %d, %+v", err, state.Seq, state.Steps[0].Progress)
	}
}

// A clone shares nothing that Apply changes.
func TestClone(t *testing.T) {
	t.Parallel()
	state, err := journal.Fold(history(t, after("step.started:copy", `step.checkpoint:copy={"key":"k","value":1}`, `step.figure:copy={"name":"f","value":1}`)...))
	if err != nil {
		t.Fatal(err)
	}
	clone := state.Clone()
	for _, e := range history(t, after("x", "x", "x", `step.checkpoint:copy={"key":"k","value":2}`, `step.figure:copy={"name":"f","value":2}`, "step.note:copy")...)[5:] {
		if err := state.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprintf("%s %s %d %d", clone.Steps[0].Checkpoints["k"], clone.Figures["f"], len(clone.Notes), clone.Seq); got != "1 1 0 5" {
		t.Errorf("the clone has become %s", got)
	}
}
