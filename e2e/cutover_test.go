package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/traffic"
)

// TestCutoverRehearse takes a run to its cutover, rehearses the switch twice under traffic, is refused by guardrails,
// and then makes it. Nobody loses anything.
func TestCutoverRehearse(t *testing.T) {
	slice.In(t, 1)
	// A rehearsal refuses what comes past the router as the switch does; here everybody comes through it.
	th := newTheatre(t, func(c *traffic.Config) { c.BypassPublic, c.BypassAdmin = "", "" })
	data, err := os.ReadFile(th.runbook)
	if err != nil {
		t.Fatal(err)
	}
	flag := filepath.Join(t.TempDir(), "flag")
	if err := os.WriteFile(flag, []byte("blue"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), "- step: cutover\n", "- step: cutover\n    approve: true\n    canary: 2s\n    canary_share: 0.5\n    min_disk: 1000000000\n"+
		"    participants:\n      - {name: flag, kind: file, path: "+flag+", blue: blue, green: green}\n", 1)
	if err := os.WriteFile(th.runbook, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := tideover(t.Context(), t, th.Environment(), "cutover", "--rehearse", th.runbook); o.code == 0 {
		t.Error("a run that has not begun was rehearsed")
	}
	code, pressed, stderr := th.signal(t, os.Interrupt, func(e journal.Event) bool { return e.Kind == journal.GateWaiting }, "run", th.runbook, "--json")
	if !pressed || code != 130 {
		t.Fatalf("the run did not wait at its gate: exit code %d\n%s", code, stderr)
	}
	rehearse := func(args ...string) outcome {
		return tideover(t.Context(), t, th.Environment(), append([]string{"cutover", "--rehearse", th.runbook}, args...)...)
	}
	if o := rehearse(); o.code != 4 || !strings.Contains(o.stderr, "guardrail disk") || !strings.Contains(o.stderr, "--override disk") {
		t.Errorf("without disk: exit code %d\n%s", o.code, o.stderr)
	}
	if o := rehearse("--override", "disc"); o.code != 2 || !strings.Contains(o.stderr, "green-warm") {
		t.Errorf("an unknown guardrail: exit code %d\n%s", o.code, o.stderr)
	}
	for range 2 {
		o := rehearse("--override", "disk", "--json")
		var f cutover.Figures
		if err := json.Unmarshal(o.stdout, &f); o.code != 0 || err != nil || f.HoldMS <= 0 || f.FenceMS <= 0 || f.FenceMS > f.HoldMS || len(f.Participants) != 2 {
			t.Fatalf("exit code %d, %v, figures %s\n%s", o.code, err, o.stdout, o.stderr)
		}
		t.Logf("rehearsed: %s", o.stdout)
		if !strings.Contains(o.stderr, "canary:") || !strings.Contains(o.stderr, "was overridden") {
			t.Errorf("stderr:\n%s", o.stderr)
		}
		if side, err := os.ReadFile(flag); string(side) != "blue" || err != nil {
			t.Errorf("the participant is on %q (%v)", side, err)
		}
	}
	if o := tideover(t.Context(), t, th.Environment(), "status", th.runbook); !strings.Contains(string(o.stdout), "resume") {
		t.Errorf("status:\n%s", o.stdout)
	}
	if code, _, stderr := th.play(t, nil, "resume", th.runbook, "--yes", "--override", "disk", "--json"); code != 0 {
		t.Fatalf("resume: exit code %d\n%s", code, stderr)
	}
	if side, err := os.ReadFile(flag); string(side) != "green" || err != nil {
		t.Errorf("the participant is on %q (%v)", side, err)
	}
	th.judge(t)
}
