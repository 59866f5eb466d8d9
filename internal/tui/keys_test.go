package tui

import (
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

// asked counts what the keys asked for.
type asked struct {
	approved []string
	stopped  int
}

func (a *asked) options() Options {
	return Options{Approve: func(step string) { a.approved = append(a.approved, step) }, Stop: func() { a.stopped++ }}
}

func press(m model, keys ...string) model {
	for _, k := range keys {
		m = m.key(k)
	}
	return m
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		at       journal.Kind
		keys     string
		approved int
		stopped  int
		says     string
	}{
		{"approve", journal.GateWaiting, "a", 1, 0, "approved; the run goes on"},
		{"approve once", journal.GateWaiting, "a a a", 1, 0, "approved already"},
		{"nothing to approve", journal.StepStarted, "a", 0, 0, "nothing waits for approval"},
		{"approved by another", journal.GateApproved, "a", 0, 0, "nothing waits for approval"},
		{"q asks", journal.StepStarted, "q", 0, 0, "Blue goes on serving"},
		{"q held down is no answer", journal.StepStarted, "q q q q", 0, 0, "Stop the run?"},
		{"q and y", journal.StepStarted, "q y", 0, 1, "stopping"},
		{"q and n", journal.StepStarted, "q n", 0, 0, "q stop safely"},
		{"q and escape", journal.StepStarted, "q esc", 0, 0, "q stop safely"},
		{"q and something else", journal.StepStarted, "q x", 0, 0, "Stop the run?"},
		{"Ctrl-C asks", journal.StepStarted, "ctrl+c", 0, 0, "Stop the run?"},
		{"Ctrl-C twice", journal.StepStarted, "ctrl+c ctrl+c", 0, 1, "stopping"},
		{"Ctrl-C hammered stops once", journal.StepStarted, "ctrl+c ctrl+c ctrl+c ctrl+c ctrl+c", 0, 1, "stopping"},
		{"a while asked does not approve", journal.GateWaiting, "q a", 0, 0, "Stop the run?"},
		{"help", journal.StepStarted, "?", 0, 0, "being taken back"},
		{"any key closes the help", journal.GateWaiting, "? a", 0, 0, "Press a to approve"},
		{"Ctrl-C over the help", journal.StepStarted, "? ctrl+c", 0, 0, "Stop the run?"},
		{"in the hold", journal.CutoverFencing, "q", 0, 0, "The switch is called off"},
		{"past the commit", journal.CutoverCommitting, "q", 0, 0, "Better let it end"},
		{"after the switch", journal.CutoverReleased, "q", 0, 0, "Green goes on serving"},
		{"at the end", journal.RunCompleted, "q y", 0, 0, "the run has ended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var a asked
			m := press(shown(a.options(), upTo(t, tt.at, 1), 0, 80, 30), strings.Fields(tt.keys)...)
			if len(a.approved) != tt.approved || a.stopped != tt.stopped {
				t.Errorf("approved %d times, stopped %d times; want %d and %d", len(a.approved), a.stopped, tt.approved, tt.stopped)
			}
			if screen := m.screen(); !strings.Contains(screen, tt.says) {
				t.Errorf("the screen does not say %q:\n%s", tt.says, screen)
			}
		})
	}
}

// The answer comes when the run has ended meanwhile: there is nothing to stop any more.
func TestEndsWhileAsking(t *testing.T) {
	t.Parallel()
	var a asked
	events := recorded(t)
	m := press(shown(a.options(), events[:len(events)-1], 0, 80, 30), "q")
	m = m.take(events[len(events)-1:], events[len(events)-1].Time)
	if press(m, "y"); a.stopped != 0 {
		t.Error("stopped a run that has ended")
	}
}

func TestKeysWithoutCallbacks(t *testing.T) {
	t.Parallel()
	m := press(shown(Options{}, upTo(t, journal.GateWaiting, 1), 0, 80, 30), "a")
	if screen := m.screen(); !strings.Contains(screen, `"tideover approve upgrade.yaml"`) {
		t.Error(screen)
	}
	if m = press(m, "q", "y"); m.stopping || m.asking != nothing {
		t.Error("it stops with nothing to stop")
	}
}

func TestScroll(t *testing.T) {
	t.Parallel()
	m := shown(Options{}, recorded(t), 0, 80, 24)
	newest, oldest := "p95 12.1 ms before", "taken by pid 812"
	if screen := m.screen(); !strings.Contains(screen, newest) || strings.Contains(screen, oldest) {
		t.Errorf("at the end:\n%s", screen)
	}
	up := press(m, "home")
	if screen := up.screen(); strings.Contains(screen, newest) || !strings.Contains(screen, oldest) {
		t.Errorf("at the beginning:\n%s", screen)
	}
	// What is read stays in sight while new lines come.
	before := up.screen()
	after := up.note(entry{time.Unix(0, 0), true, "new"})
	if !strings.Contains(after.screen(), oldest) || strings.Contains(after.screen(), "! new") {
		t.Errorf("a new line moves what is read:\n%s\n%s", before, after.screen())
	}
	if got := press(up, "end").screen(); got != m.screen() {
		t.Errorf("back at the end:\n%s", got)
	}
	if got := press(m, "down", "pgdown", "pgup", "pgdown").screen(); got != m.screen() {
		t.Errorf("beyond the end:\n%s", got)
	}
}

// A screen that only watches is left without a question, and stops nothing.
func TestLeaveAScreenThatWatches(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"q", "ctrl+c"} {
		left := 0
		m := newModel(Options{Leave: func() { left++ }, Stop: func() { t.Error("the run is stopped") }})
		m = press(m, key)
		if left != 1 || m.asking != nothing || m.stopping {
			t.Errorf("%s: left %d times, asking %v", key, left, m.asking)
		}
	}
}
