package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
)

// killPoints are the events at which TestKilledInEveryStep kills, each when it comes for the first time: every transition of
// the cutover, every beginning of a step, and the first sign of work from within those that give one. At the first one it
// kills in every run, at the others in one of ten.
var killPoints = []string{
	"cutover.committing cutover",
	"step.started preflight", "step.started token-lifetimes", "step.started pause-jobs", "step.started capture",
	"step.started snapshot", "step.started cleanup", "step.started migrate", "step.started cleanup-2", "step.started replay",
	"step.started validate", "step.started cutover", "step.started monitor", "step.started retire",
	"cutover.preparing cutover", "cutover.holding cutover", "cutover.fencing cutover", "cutover.replaying cutover",
	"cutover.verifying cutover", "cutover.switched cutover", "cutover.released cutover",
	"step.progress token-lifetimes", "step.checkpoint token-lifetimes", "step.progress snapshot", "step.checkpoint snapshot",
	"step.checkpoint migrate", "step.progress migrate", "step.progress replay", "step.progress validate", "step.progress cutover",
	"step.progress monitor",
	"cutover.aborting cutover", "cutover.aborted cutover",
}

// sure says whether a run comes to a kill point whatever happens: a quick step says nothing of its progress, and only a
// cutover that was disturbed is called off.
func sure(point string) bool {
	kind, _, _ := strings.Cut(point, " ")
	return kind == string(journal.StepStarted) ||
		strings.HasPrefix(kind, "cutover.") && kind != string(journal.CutoverAborting) && kind != string(journal.CutoverAborted)
}

// killPoint is the event as one of killPoints, or "" when nobody is killed at events of its kind.
func killPoint(e journal.Event) string {
	switch {
	case e.Kind == journal.StepStarted, e.Kind == journal.StepProgress, e.Kind == journal.StepCheckpoint,
		strings.HasPrefix(string(e.Kind), "cutover."):
		return string(e.Kind) + " " + e.Step
	}
	return ""
}

// TestKilledInEveryStep kills tideover with kill -9 in steps of a run and at transitions of the cutover, and resumes each
// time. The run ends completed, and the clients lose nothing.
func TestKilledInEveryStep(t *testing.T) {
	quick.Skip(t)
	left := map[string]bool{} // where it is still to be killed
	for _, point := range slice.Pick(t, 1, killPoints) {
		left[point] = true
	}
	unknown := map[string]bool{}
	th := newTheatre(t)
	scratch := false
	fatal := func(e journal.Event) bool {
		point := killPoint(e)
		if point != "" && !slices.Contains(killPoints, point) && !unknown[point] {
			unknown[point] = true
			t.Errorf("nobody is ever killed at %q: it belongs into killPoints", point)
		}
		if e.Kind == journal.StepStarted && e.Step == "validate" && !scratch {
			scratch = true
			leaveScratch(t, th.GreenDSN) // as a killed preflight does; no other preflight comes after it
		}
		dies := left[point]
		delete(left, point)
		return dies
	}
	kills := 0
	for command, killed := "run", true; killed; command = "resume" {
		var code int
		var stderr string
		if code, killed, stderr = th.play(t, fatal, command, th.runbook, "--json"); killed {
			kills++
		} else if code != 0 {
			t.Fatalf("after %d kills: exit code %d\n%s", kills, code, stderr)
		}
	}
	for _, point := range slices.Sorted(maps.Keys(left)) {
		if sure(point) {
			t.Errorf("was never killed at %s", point)
		} else {
			t.Logf("was not killed at %s, which did not come", point)
		}
	}
	if left := scratchBeside(t, th.GreenDSN); len(left) > 0 {
		t.Errorf("left on green's server: %v", left)
	}
	v := th.judge(t)
	t.Logf("killed %d times: %s", kills, v)
}

// TestRollbackBeforeThePoint kills a run in the hold and takes it back: blue serves, and is as it was.
func TestRollbackBeforeThePoint(t *testing.T) {
	quick.Skip(t)
	for _, at := range slice.Pick(t, 0, []journal.Kind{journal.StepStarted, journal.CutoverFencing}) {
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
