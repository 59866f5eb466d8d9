package report_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

// recorded reads the recorded run that all ways to show a run are tested with.
func recorded(t *testing.T) []journal.Event {
	t.Helper()
	b, err := os.ReadFile("testdata/run.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, b)
}

func decode(t *testing.T, b []byte) []journal.Event {
	t.Helper()
	var events []journal.Event
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		var e journal.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		events = append(events, e)
	}
	return events
}

func show(sink journal.Sink, events []journal.Event) {
	for _, e := range events {
		sink(e)
	}
}

func TestJSONLinesCarryEverything(t *testing.T) {
	t.Parallel()
	events := recorded(t)
	var b bytes.Buffer
	show(report.JSONLines(&b), events)
	if diff := cmp.Diff(events, decode(t, b.Bytes())); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	events := recorded(t)
	var b bytes.Buffer
	show(report.Lines(&b), events)
	golden(t, "lines.golden", b.String())

	s, err := journal.Fold(events)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range s.Steps {
		want := fmt.Sprintf("  %s: done in %.2f s\n", st.ID, st.Seconds)
		if !strings.Contains(b.String(), want) {
			t.Errorf("no line %q", want)
		}
	}
	for _, n := range s.Notes {
		if !strings.Contains(b.String(), n.Text) {
			t.Errorf("no note %q", n.Text)
		}
	}
}

// Every kind that is stored and that people care about has words of its own.
func TestDescribeEveryKind(t *testing.T) {
	t.Parallel()
	forMachines := map[journal.Kind]bool{journal.RunReport: true, journal.StepProgress: true, journal.StepCheckpoint: true, journal.StepFigure: true}
	for _, info := range journal.Kinds() {
		text := report.Describe(journal.Event{Kind: info.Kind, Step: "one", Run: "r1"})
		if (text == "") != forMachines[info.Kind] {
			t.Errorf("%s: %q", info.Kind, text)
		}
	}
}

func TestTee(t *testing.T) {
	t.Parallel()
	var a, b int
	show(report.Tee(func(journal.Event) { a++ }, nil, func(journal.Event) { b++ }), recorded(t)[:7])
	if a != 7 || b != 7 {
		t.Errorf("%d and %d events, want 7 each", a, b)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	events := recorded(t)
	ben := &journal.Holder{Host: "ops2", PID: 30771, User: "ben", Since: time.Date(2026, 3, 8, 4, 3, 55, 0, time.UTC)}
	for _, tt := range []struct {
		name  string
		until journal.Kind
		nth   int
		held  *journal.Holder
	}{
		{"nothing", "", 0, nil},
		{"running", journal.StepFinished, 5, ben},
		{"stopped", journal.RunStopped, 1, nil},
		{"crashed-in-cutover", journal.CutoverFencing, 1, nil},
		{"gate", journal.GateWaiting, 1, ben},
		{"committing", journal.CutoverCommitting, 1, ben},
		{"completed", journal.RunCompleted, 1, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := foldUntil(t, events, tt.until, tt.nth)
			var b bytes.Buffer
			report.Status(&b, &s, tt.held, "")
			golden(t, "status-"+tt.name+".golden", b.String())
		})
	}
}

func TestStatusSaysTheGivenCommand(t *testing.T) {
	t.Parallel()
	s := foldUntil(t, recorded(t), journal.RunStopped, 1)
	var b bytes.Buffer
	report.Status(&b, &s, nil, "tideover resume --run r1 other.yaml")
	if !strings.HasSuffix(b.String(), "\ntype next  tideover resume --run r1 other.yaml\n") {
		t.Error(b.String())
	}
}

// foldUntil folds up to the nth event of a kind.
func foldUntil(t *testing.T, events []journal.Event, kind journal.Kind, nth int) journal.State {
	t.Helper()
	for i, e := range events {
		if nth == 0 {
			return journal.State{}
		}
		if e.Kind == kind {
			nth--
		}
		if nth == 0 {
			s, err := journal.Fold(events[:i+1])
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Fatalf("no %s", kind)
	return journal.State{}
}

// Each phase has a sentence, and none before the point of no return speaks of green serving.
func TestStandingOfEveryPhase(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range journal.Phases() {
		text := report.Standing(&journal.State{Phase: p, PastPointOfNoReturn: p.PastPointOfNoReturn()})
		if text == "" || strings.HasPrefix(text, "the run is ") {
			t.Errorf("%s: %q", p, text)
		}
		if !p.PastPointOfNoReturn() && strings.Contains(text, "green serves") {
			t.Errorf("%s: %q", p, text)
		}
		if p.PastPointOfNoReturn() && strings.Contains(text, "gives blue back") {
			t.Errorf("%s: %q", p, text)
		}
		seen[text] = true
	}
	inPlace := journal.State{Phase: journal.Stopped, Steps: []journal.StepState{
		{StepRef: journal.StepRef{ID: "migrate"}, Status: journal.StepIsFailed}}}
	if text := report.Standing(&inPlace); strings.Contains(text, "gives blue back") || !strings.Contains(text, `"migrate"`) {
		t.Errorf("a step without a way back: %q", text)
	}
}
