package tui

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// recorded reads the run that all ways to show a run are tested with.
func recorded(t testing.TB) []journal.Event {
	t.Helper()
	b, err := os.ReadFile("../report/testdata/run.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var events []journal.Event
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		var e journal.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// upTo is the events up to the nth of a kind.
func upTo(t testing.TB, kind journal.Kind, nth int) []journal.Event {
	t.Helper()
	events := recorded(t)
	for i, e := range events {
		if e.Kind == kind {
			nth--
		}
		if nth == 0 && e.Kind == kind {
			return events[:i+1]
		}
	}
	t.Fatalf("no %s", kind)
	return nil
}

// shown is a model after events, each taken at its own time, and then some.
func shown(o Options, events []journal.Event, then time.Duration, width, height int) model {
	o.NoColor = true
	m := newModel(o)
	m.width, m.height = width, height
	for _, e := range events {
		m = m.take([]journal.Event{e}, e.Time)
	}
	m.now = m.now.Add(then)
	return m
}

type moment struct {
	name    string
	kind    journal.Kind
	nth     int
	traffic bool
}

func moments() []moment {
	return []moment{
		{"begin", journal.RunStarted, 1, false},
		{"mid-run", journal.StepProgress, 5, true},
		{"failed", journal.RunStopped, 1, false},
		{"replay", journal.StepProgress, 11, true},
		{"gate", journal.GateWaiting, 1, true},
		{"cutover", journal.CutoverReplaying, 1, true},
		{"committing", journal.CutoverCommitting, 1, true},
		{"finished", journal.RunCompleted, 1, true},
	}
}

func TestScreens(t *testing.T) {
	t.Parallel()
	for _, at := range moments() {
		for _, size := range [][2]int{{80, 24}, {120, 40}, {60, 12}} {
			name := fmt.Sprintf("%s-%d", at.name, size[0])
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m := shown(Options{Title: "upgrade.yaml"}, upTo(t, at.kind, at.nth), 200*time.Millisecond, size[0], size[1])
				if at.traffic {
					m.traffic = &Traffic{Requests: 184233, Rate: 511.6, P95: 12140 * time.Microsecond, Held: 34}
				}
				golden(t, name+".golden", m.screen()+"\n")
			})
		}
	}
}

// The screen fits into every terminal, and colours change no word of it.
func TestEverySizeFits(t *testing.T) {
	t.Parallel()
	for _, at := range moments() {
		events := upTo(t, at.kind, at.nth)
		for _, width := range []int{1, 5, 20, 60, 61, 79, 80, 133, 200} {
			for _, height := range []int{1, 2, 3, 5, 12, 13, 24, 60} {
				for _, ask := range []asking{nothing, whetherToStop, help} {
					m := shown(Options{Stop: func() {}}, events, 0, width, height)
					m.traffic, m.asking = &Traffic{Requests: 1 << 60, Failed: 3}, ask
					screen := m.screen()
					lines := strings.Split(screen, "\n")
					if len(lines) > height {
						t.Fatalf("%s at %dx%d: %d lines", at.name, width, height, len(lines))
					}
					for _, l := range lines {
						if lipgloss.Width(l) > width {
							t.Fatalf("%s at %dx%d: too wide: %q", at.name, width, height, l)
						}
					}
					if height >= 12 && width >= 60 {
						if !strings.Contains(screen, "safe: ") {
							t.Fatalf("%s at %dx%d: nothing says what is safe:\n%s", at.name, width, height, screen)
						}
						if last := lines[len(lines)-1]; !strings.Contains(last, "stop") {
							t.Fatalf("%s at %dx%d: nothing says what can be typed: %q", at.name, width, height, last)
						}
					}
					m.paint = colours()
					if got := stripSGR(m.screen()); got != screen {
						t.Fatalf("%s at %dx%d: colours change the words:\n%s\n%s", at.name, width, height, screen, got)
					}
				}
			}
		}
	}
}

func stripSGR(s string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		_, s, _ = strings.Cut(rest, "m")
	}
}

// One recorded run, the same facts on the screen as in the log and the JSON lines.
func TestSameFactsAsLinesAndJSON(t *testing.T) {
	t.Parallel()
	events := recorded(t)
	var lines, jsonLines strings.Builder
	sink := report.Tee(report.Lines(&lines), report.JSONLines(&jsonLines))
	for _, e := range events {
		sink(e)
	}
	m := shown(Options{}, events, 0, 200, 100)
	screen, static := m.screen(), m.static("")

	facts := []struct{ screen, line, json string }{
		{"1.2s  writes waited 842 ms", "writes waited 842 ms", `"hold_ms":842`},
		{"approved by ben", "approved by ben", `"by":"ben"`},
		{"pid 30771 on ops2", "pid 30771 on ops2", `"pid":30771`},
		{"waited 3s for a lock on public.flow held by pid 4410", "waited 3s for a lock on public.flow held by pid 4410", "waited 3s for a lock on public.flow held by pid 4410"},
		{"completed", "completed", "run.completed"},
	}
	for _, st := range m.state.Steps {
		took := report.Took(time.Duration(st.Seconds * float64(time.Second)))
		facts = append(facts, struct{ screen, line, json string }{
			fmt.Sprintf("✓ %-9s  %6s", st.ID, took), fmt.Sprintf("%s: done in %.2f s", st.ID, st.Seconds), fmt.Sprintf(`"seconds":%v`, st.Seconds)})
		if !strings.Contains(static, fmt.Sprintf("✓ %-9s  %6s", st.ID, took)) {
			t.Errorf("step %q is not left on the normal screen:\n%s", st.ID, static)
		}
	}
	for _, n := range m.state.Notes {
		facts = append(facts, struct{ screen, line, json string }{n.Text, n.Text, n.Text})
	}
	for _, f := range facts {
		if !strings.Contains(screen, f.screen) {
			t.Errorf("the screen lacks %q:\n%s", f.screen, screen)
		}
		if !strings.Contains(lines.String(), f.line) {
			t.Errorf("the log lacks %q", f.line)
		}
		if !strings.Contains(jsonLines.String(), f.json) {
			t.Errorf("the JSON lines lack %q", f.json)
		}
	}
}

func TestStatic(t *testing.T) {
	t.Parallel()
	golden(t, "static-finished.golden", shown(Options{}, recorded(t), 0, 80, 24).static("COMPLETED\n"))
	golden(t, "static-failed.golden", shown(Options{}, upTo(t, journal.RunStopped, 1), 0, 80, 24).static(""))
	golden(t, "static-nothing.golden", shown(Options{Title: "upgrade.yaml"}, nil, 0, 80, 24).static(""))
}

// A run that is resumed begins with the journal's state, and the sink repeats events that are in it.
func TestBeginsInTheMiddle(t *testing.T) {
	t.Parallel()
	events := recorded(t)
	before := upTo(t, journal.RunTaken, 2)
	state, err := journal.Fold(before)
	if err != nil {
		t.Fatal(err)
	}
	m := shown(Options{State: state}, events[len(before)-1:], 0, 100, 50)
	want, _ := journal.Fold(events)
	if diff := cmp.Diff(want, m.state); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if screen := m.screen(); strings.Contains(screen, "missed") || !strings.Contains(screen, "triggers on 9 tables") {
		t.Errorf("the notes of before, and nothing missing:\n%s", screen)
	}
}

// Events are missing: the screen says so and goes on.
func TestSaysWhatItMissed(t *testing.T) {
	t.Parallel()
	events := recorded(t)
	m := shown(Options{}, append(append([]journal.Event(nil), events[:5]...), events[8:]...), 0, 100, 60)
	if screen := m.screen(); !strings.Contains(screen, "missed events 6 to 8") || !strings.Contains(screen, "✓ validate") {
		t.Error(screen)
	}
	alone := shown(Options{}, events[20:], 0, 100, 60)
	if screen := alone.screen(); !strings.Contains(screen, "missed events 1 to") || !strings.Contains(screen, "can't tell") || strings.Contains(screen, "serves") {
		t.Error(screen)
	}
}

func TestHostileText(t *testing.T) {
	t.Parallel()
	events := upTo(t, journal.StepStarted, 1)
	last := events[len(events)-1]
	data, _ := json.Marshal(journal.NoteData{Level: "warn", Text: "\x1b[2J\x1b]0;x\a" + strings.Repeat("long ", 5000) + "\n\nq"})
	failed, _ := json.Marshal(journal.FailedData{Error: "\x1b[31m" + strings.Repeat("語", 3000), Hint: "\r\x1b[H"})
	events = append(events[:len(events):len(events)],
		journal.Event{Seq: last.Seq + 1, Run: last.Run, Time: last.Time, Step: last.Step, Kind: journal.StepNote, Data: data},
		journal.Event{Seq: last.Seq + 2, Run: last.Run, Time: last.Time, Step: last.Step, Kind: journal.StepFailed, Data: failed})
	m := shown(Options{}, events, 0, 70, 20)
	for _, screen := range []string{m.screen(), m.static("")} {
		if strings.ContainsAny(screen, "\x1b\a\r") {
			t.Errorf("control characters reach the terminal: %q", screen)
		}
	}
	for _, l := range strings.Split(m.screen(), "\n") {
		if lipgloss.Width(l) > 70 {
			t.Errorf("too wide: %q", l)
		}
	}
}

// The server's clock is three hours ahead: nothing on the screen is wrong by that.
func TestClocksThatDiffer(t *testing.T) {
	t.Parallel()
	m := newModel(Options{NoColor: true})
	for _, e := range upTo(t, journal.CutoverFencing, 1) {
		m = m.take([]journal.Event{e}, e.Time.Add(-3*time.Hour+2*time.Millisecond))
	}
	m.now = m.now.Add(time.Second)
	if screen := m.screen(); !strings.Contains(screen, "requests wait for 1.0s now of 10s at most") {
		t.Error(screen)
	}
}

// A step that hangs must not go on promising an ETA.
func TestStepThatHangs(t *testing.T) {
	t.Parallel()
	events := upTo(t, journal.StepProgress, 5)
	if screen := shown(Options{}, events, 10*time.Second, 100, 24).screen(); !strings.Contains(screen, "ETA") {
		t.Error(screen)
	}
	if screen := shown(Options{}, events, 40*time.Second, 100, 24).screen(); strings.Contains(screen, "ETA") || !strings.Contains(screen, "57%  nothing new for 40s") {
		t.Error(screen)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	start := time.Unix(0, 0)
	var p pace
	if _, ok := p.eta(100); ok {
		t.Error("an ETA of nothing")
	}
	p = p.add(start, 0).add(start.Add(time.Second), 50)
	if p.rate() != 0 {
		t.Error("a rate after a second")
	}
	p = p.add(start.Add(10*time.Second), 100)
	if left, ok := p.eta(400); p.rate() != 10 || !ok || left != 30*time.Second {
		t.Errorf("rate %v, ETA %v", p.rate(), left)
	}
	if _, ok := p.eta(1 << 40); ok {
		t.Error("an ETA below one per cent")
	}
	for i := range 1000 { // it forgets how slow it was
		p = p.add(start.Add(time.Duration(11+i)*time.Second), int64(200+100*i))
	}
	if p.rate() < 99 || len(p.samples) > 35 {
		t.Errorf("rate %v of %d samples", p.rate(), len(p.samples))
	}
	if p = p.add(start.Add(time.Hour), 5); p.rate() != 0 {
		t.Error("a step that began again keeps its old rate")
	}
}
