package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/slice"
)

// TestIncompleteCapture breaks the capture under a run whose server comes first: the server's writes go on, the run stops
// before the switch, does so again, and can be taken back.
func TestIncompleteCapture(t *testing.T) {
	slice.In(t, 2)
	th := newTheatre(t, staysOnBlue)
	edit(t, th.runbook, "  - step: capture\n", "  - step: capture\n    on_error: mark-incomplete\n")
	before := pgtest.Schema(t, th.BlueDSN)
	broken := false
	breaks := func(e journal.Event) bool {
		if e.Kind == journal.StepStarted && e.Step == "replay" && !broken {
			broken = true
			pgtest.Exec(t, th.BlueDSN, `ALTER TABLE tideover.captured ADD CONSTRAINT no_more CHECK (false) NOT VALID`)
		}
		return false
	}
	for _, command := range []string{"run", "resume"} {
		code, _, stderr := th.play(t, breaks, command, th.runbook, "--json")
		if code != 4 || !strings.Contains(stderr, "could not be recorded") || !strings.Contains(stderr, "tideover rollback") {
			t.Errorf("%s: exit code %d\n%s", command, code, stderr)
		}
	}
	if !broken {
		t.Error("the capture was not broken")
	}
	if code, _, stderr := th.play(t, nil, "rollback", th.runbook, "--json"); code != 0 {
		t.Fatalf("rollback: exit code %d\n%s", code, stderr)
	}
	if after := pgtest.Schema(t, th.BlueDSN); after != before {
		t.Errorf("blue's schema is not as it was:\n%s", cmp.Diff(before, after))
	}
	th.judge(t)
}
