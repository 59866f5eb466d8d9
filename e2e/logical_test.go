package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/slice"
)

// capturedByLog lets a theatre's runbook read changes from blue's log.
func capturedByLog(t *testing.T, th *theatre) {
	t.Helper()
	edit(t, th.runbook, "  - step: capture\n", "  - step: capture\n    source: logical\n")
}

// nothingOfTheLog fails the test where something of the capture is left on a side.
func nothingOfTheLog(t *testing.T, dsn string) {
	t.Helper()
	const sql = `SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'tideover%' AND database = current_database())
	+ (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relreplident = 'f')`
	if n := pgtest.Query[int64](t, dsn, sql); n != 0 {
		t.Errorf("%d slots, publications and replica identities are left", n)
	}
}

// TestLogicalKilled reads changes from blue's log, is killed where the slot is made, read, read for the last time and
// dropped, and completes. Clients lose nothing, and the slot is gone.
func TestLogicalKilled(t *testing.T) {
	slice.In(t, 4)
	th := newTheatre(t)
	capturedByLog(t, th)
	at := map[string]bool{"step.started capture": true, "step.started snapshot": true, "step.progress replay": true, "cutover.replaying cutover": true, "cutover.switched cutover": true}
	fatal := func(e journal.Event) bool {
		point := string(e.Kind) + " " + e.Step
		if !at[point] {
			return false
		}
		delete(at, point)
		return true
	}
	for command, killed := "run", true; killed; command = "resume" {
		var code int
		var stderr string
		if code, killed, stderr = th.play(t, fatal, command, th.runbook, "--json"); !killed && code != 0 {
			t.Fatalf("%s: exit code %d\n%s", command, code, stderr)
		}
	}
	for point := range at {
		t.Errorf("was never killed at %s", point)
	}
	nothingOfTheLog(t, th.BlueDSN)
	nothingOfTheLog(t, th.GreenDSN)
	t.Log(th.judge(t))
}

// TestLogicalTakenBack kills a run in the hold and takes it back: blue is as it was, and keeps its log for nobody.
func TestLogicalTakenBack(t *testing.T) {
	slice.In(t, 5)
	th := newTheatre(t, staysOnBlue)
	capturedByLog(t, th)
	before := pgtest.Schema(t, th.BlueDSN)
	code, killed, stderr := th.play(t, func(e journal.Event) bool { return e.Kind == journal.CutoverFencing }, "run", th.runbook, "--json")
	if !killed {
		t.Fatalf("ended by itself with %d\n%s", code, stderr)
	}
	if code, _, stderr := th.play(t, nil, "rollback", th.runbook, "--json"); code != 0 {
		t.Fatalf("rollback: exit code %d\n%s", code, stderr)
	}
	if after := pgtest.Schema(t, th.BlueDSN); after != before {
		t.Errorf("blue's schema is not as it was:\n%s", cmp.Diff(before, after))
	}
	nothingOfTheLog(t, th.BlueDSN)
	th.judge(t)
}
