package cmd_test

import (
	"os"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
)

// A comment is no change of a runbook; a gate less is, and the journal has what the run was started with.
func TestResumeWithAnotherRunbook(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	n := newNight(t)
	n.upTo("preflight").dies()
	text, err := os.ReadFile(n.runbook)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(n.runbook, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	control := n.env["TIDEOVER_BLUE_DSN"]
	write(strings.Replace(string(text), "jobs: 2", "jobs: 3", 1))
	o := n.tideover(t.Context(), "rollback", "--no-tui", n.runbook)
	if o.code != 1 || !strings.Contains(o.stderr, "the runbook has changed") || !strings.Contains(o.stderr, "tideover rollback --control DSN --run "+n.run) {
		t.Errorf("another meaning: exit code %d\n%s", o.code, o.stderr)
	}
	write("# for tonight\n" + string(text))
	if o := n.tideover(t.Context(), "rollback", "--no-tui", n.runbook); o.code != 0 {
		t.Errorf("a comment: exit code %d\n%s", o.code, o.stderr)
	}

	n.begin()
	n.upTo("preflight").dies()
	if err := os.Remove(n.runbook); err != nil {
		t.Fatal(err)
	}
	if o := n.tideover(t.Context(), "approve", "--control", control, "cutover", "--reason", "for tonight"); o.code != 0 {
		t.Errorf("approve without the file: exit code %d\n%s", o.code, o.stderr)
	}
	green := n.env["TIDEOVER_GREEN_DSN"]
	delete(n.env, "TIDEOVER_GREEN_DSN")
	if o := n.tideover(t.Context(), "resume", "--control", control, "--run", n.run); o.code != 2 || !strings.Contains(o.stderr, "TIDEOVER_GREEN_DSN is not set") {
		t.Errorf("without a variable: exit code %d\n%s", o.code, o.stderr)
	}
	n.env["TIDEOVER_GREEN_DSN"] = green
	if o := n.tideover(t.Context(), "rollback", "--no-tui", "--control", control, "--run", n.run); o.code != 0 {
		t.Errorf("rollback without the file: exit code %d\n%s", o.code, o.stderr)
	}
	for _, args := range [][]string{{"resume", "--control", control, "--run", "nobody"}, {"status", "--control", control, "--run", "nobody"}} {
		if o := n.tideover(t.Context(), args...); o.code != 1 || !strings.Contains(o.stderr, "tideover runs") {
			t.Errorf("%v: exit code %d\n%s", args, o.code, o.stderr)
		}
	}
}

// A runbook that was completed is not begun again: green serves.
func TestRunOfACompletedRunbook(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.completed()
	o := n.tideover(t.Context(), "run", "--no-tui", n.runbook)
	if o.code != 2 || !strings.Contains(o.stderr, "was completed by run \""+n.run) || !strings.Contains(o.stderr, "green serves") {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
	if runs, err := n.j.Runs(t.Context()); err != nil || len(runs) != 1 {
		t.Errorf("%d runs, %v", len(runs), err)
	}
}
