package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
)

// TestKilledInEveryStep kills tideover with kill -9 in each step of a run and at each transition of the cutover, and
// resumes each time. The run ends completed, and the clients lose nothing.
func TestKilledInEveryStep(t *testing.T) {
	quick.Skip(t)
	th := newTheatre(t)
	seen := map[string]bool{}
	fatal := func(e journal.Event) bool {
		point := ""
		switch {
		case e.Kind == journal.StepStarted, e.Kind == journal.StepProgress, e.Kind == journal.StepCheckpoint,
			strings.HasPrefix(string(e.Kind), "cutover."):
			point = string(e.Kind) + " " + e.Step
		}
		if point == "" || seen[point] {
			return false
		}
		seen[point] = true
		if point == "step.started validate" {
			leaveScratch(t, th.GreenDSN) // as a killed preflight does; no other preflight comes after it
		}
		return true
	}
	const most = 80
	command := "run"
	for attempt := 1; ; attempt++ {
		code, killed, stderr := th.play(t, fatal, command, th.runbook, "--json")
		command = "resume"
		if killed {
			if attempt == most {
				t.Fatalf("killed %d times, and still not done", attempt)
			}
			continue
		}
		if code != 0 {
			t.Fatalf("attempt %d ended with exit code %d\n%s", attempt, code, stderr)
		}
		break
	}
	for _, step := range []string{"preflight", "capture", "snapshot", "cleanup", "migrate", "cleanup-2", "replay", "validate", "cutover", "monitor", "retire"} {
		if !seen["step.started "+step] {
			t.Errorf("was never killed in step %s", step)
		}
	}
	for _, kind := range []journal.Kind{journal.CutoverPreparing, journal.CutoverHolding, journal.CutoverFencing, journal.CutoverReplaying,
		journal.CutoverVerifying, journal.CutoverCommitting, journal.CutoverSwitched, journal.CutoverReleased} {
		if !seen[string(kind)+" cutover"] {
			t.Errorf("was never killed at %s", kind)
		}
	}
	if left := scratchBeside(t, th.GreenDSN); len(left) > 0 {
		t.Errorf("left on green's server: %v", left)
	}
	v := th.judge(t)
	t.Logf("killed %d times: %s", len(seen), v)
}

// TestRollbackBeforeThePoint kills a run in the hold and takes it back: blue serves, and is as it was.
func TestRollbackBeforeThePoint(t *testing.T) {
	quick.Skip(t)
	for _, at := range []journal.Kind{journal.StepStarted, journal.CutoverFencing} {
		t.Run(string(at), func(t *testing.T) {
			th := newTheatre(t, staysOnBlue)
			before := pgtest.Schema(t, th.BlueDSN)
			code, killed, stderr := th.play(t, func(e journal.Event) bool {
				return e.Kind == at && (at != journal.StepStarted || e.Step == "validate")
			}, "run", th.runbook, "--json")
			if !killed {
				t.Fatalf("ended by itself with %d\n%s", code, stderr)
			}
			leaveScratch(t, th.GreenDSN)
			if code, _, stderr := th.play(t, nil, "rollback", th.runbook, "--json"); code != 0 {
				t.Fatalf("rollback: exit code %d\n%s", code, stderr)
			}
			if after := pgtest.Schema(t, th.BlueDSN); after != before {
				t.Errorf("blue's schema is not as it was:\n%s", cmp.Diff(before, after))
			}
			if tables := pgtest.Tables(t, th.GreenDSN); len(tables) > 0 {
				t.Errorf("green still has %v", tables)
			}
			if left := scratchBeside(t, th.GreenDSN); len(left) > 0 {
				t.Errorf("left on green's server: %v", left)
			}
			th.judge(t)
		})
	}
}
