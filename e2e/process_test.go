package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/slice"
)

// TestSecondProcess starts a second process on a run that is held, and one with a runbook that has changed since.
func TestSecondProcess(t *testing.T) {
	slice.In(t, 9)
	th := newTheatre(t, staysOnBlue)
	second := outcome{}
	code, killed, stderr := th.play(t, func(e journal.Event) bool {
		if e.Kind != journal.StepStarted || e.Step != "replay" {
			return false
		}
		second = tideover(t.Context(), t, th.Environment(), "resume", th.runbook, "--json")
		return true
	}, "run", th.runbook, "--json")
	if !killed {
		t.Fatalf("ended by itself with %d\n%s", code, stderr)
	}
	if second.code != 3 || !strings.Contains(second.stderr, "held by") {
		t.Errorf("the second process: exit code %d, want 3\n%s", second.code, second.stderr)
	}
	data, err := os.ReadFile(th.runbook)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(th.runbook, bytes.Replace(data, []byte("jobs: 2"), []byte("jobs: 3"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := tideover(t.Context(), t, th.Environment(), "resume", th.runbook, "--json"); o.code == 0 || !strings.Contains(o.stderr, "changed") || !strings.Contains(o.stderr, "hint:") {
		t.Errorf("a changed runbook: exit code %d\n%s", o.code, o.stderr)
	}
	if err := os.WriteFile(th.runbook, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := tideover(t.Context(), t, th.Environment(), "rollback", th.runbook, "--json"); o.code != 0 {
		t.Errorf("rollback: exit code %d\n%s", o.code, o.stderr)
	}
}

// TestInterrupt sends Ctrl-C in several places. The run stops safely, and a resume completes it.
func TestInterrupt(t *testing.T) {
	slice.In(t, 0)
	th := newTheatre(t)
	command := "run"
	for _, step := range []string{"snapshot", "replay", "validate"} {
		code, stderr := th.interrupt(t, step, command, th.runbook, "--json")
		if code != 130 {
			t.Errorf("Ctrl-C in %s: exit code %d, want 130\n%s", step, code, stderr)
		}
		command = "resume"
	}
	if code, _, stderr := th.play(t, nil, "resume", th.runbook, "--json"); code != 0 {
		t.Fatalf("resume: exit code %d\n%s", code, stderr)
	}
	th.judge(t)
}
