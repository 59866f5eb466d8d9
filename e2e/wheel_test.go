package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/slice"
)

// TestWheel has a run of a real deployment paused, slowed down, asked how it is and aborted from another terminal that has nothing
// but the control database. Clients notice none of it.
func TestWheel(t *testing.T) {
	slice.In(t, 4)
	th := newTheatre(t, staysOnBlue)
	env := map[string]string{"TIDEOVER_CONTROL_DSN": th.Environment()["TIDEOVER_BLUE_DSN"]}
	say := func(code int, says string, args ...string) {
		t.Helper()
		if o := tideover(t.Context(), t, env, args...); o.code != code || !strings.Contains(o.stderr, says) {
			t.Errorf("%v: exit code %d, want %d and %q\n%s", args, o.code, code, says, o.stderr)
		}
	}
	asked := 0
	code, _, stderr := th.play(t, func(e journal.Event) bool {
		switch {
		case e.Kind == journal.StepStarted && e.Step == "snapshot":
			say(0, "the copy takes at most 5 MB/s", "throttle", "--max-rate", "5")
		case e.Kind == journal.StepStarted && e.Step == "replay":
			say(0, "replay waits", "pause", "--reason", "a busy hour")
			say(1, "paused already", "pause")
			o := tideover(t.Context(), t, th.Environment(), "status", "--json", th.runbook)
			var s struct {
				Held   bool
				Paused *journal.Paused
				Now    struct{ Serves, Clients string }
			}
			if err := json.Unmarshal(o.stdout, &s); err != nil || !s.Held || s.Paused == nil || s.Paused.Reason != "a busy hour" || s.Now.Serves != "blue" || s.Now.Clients != "served" {
				t.Errorf("status: exit code %d, %v\n%s%s", o.code, err, o.stdout, o.stderr)
			}
			say(0, "goes on", "continue")
		case e.Kind == journal.StepStarted && e.Step == "validate":
			say(0, "being taken back", "abort", "--reason", "not tonight")
		case e.Kind == journal.RunAsked:
			asked++
		}
		return false
	}, "run", th.runbook, "--json")
	if code != 4 || !strings.Contains(stderr, "not tonight") || asked != 5 {
		t.Errorf("exit code %d, %d commands are in the journal\n%s", code, asked, stderr)
	}
	o := tideover(t.Context(), t, env, "runs", "--json")
	var run struct{ Run, Outcome string }
	if err := json.Unmarshal(o.stdout, &run); err != nil || run.Outcome != "aborted" {
		t.Fatalf("runs: %v\n%s", err, o.stdout)
	}
	if o := tideover(t.Context(), t, env, "history", run.Run); !strings.Contains(string(o.stdout), "abort asked for by") {
		t.Errorf("history:\n%s%s", o.stdout, o.stderr)
	}
	th.judge(t)
}
