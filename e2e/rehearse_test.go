package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/slice"
)

// TestRehearse takes a user's runbook through the deployment: with sides, participants, jobs and a gate of its own. Nothing of
// the real run is touched.
func TestRehearse(t *testing.T) {
	slice.In(t, 7)
	dir := t.TempDir()
	touched := filepath.Join(dir, "touched")
	runbook := briskRunbook(t, "demo.yaml")
	program := `["touch", "` + touched + `"]`
	edit(t, runbook,
		"    jobs: []\n", "    jobs:\n      - {name: janitor, kind: exec, prepare: "+program+", commit: "+program+", abort: "+program+", status: "+program+"}\n",
		"    drain_logins: 500ms\n", "    drain_logins: 500ms\n    participants:\n      - {name: gateway, kind: exec, prepare: "+program+", commit: "+program+", abort: "+program+", status: "+program+"}\n",
		"  - step: validate\n", "  - step: validate\n    approve: true\n",
		"dsn: ${TIDEOVER_BLUE_DSN}", "dsn: postgres://nobody@127.0.0.1:1/production")
	o := tideover(t.Context(), t, onPair(t), "rehearse", runbook, "--json", "--size", "tiny")
	if o.code != 0 {
		t.Fatalf("exit code %d\n%s", o.code, o.stderr)
	}
	r := reportOf(t, o)
	wantClean(t, r)
	if got := strings.Join(r.Cutover.Participants, " "); got != "gateway router" {
		t.Errorf("participants %q", got)
	}
	if _, err := os.Stat(touched); !os.IsNotExist(err) {
		t.Errorf("a program of the runbook was called: %v", err)
	}
	for _, want := range []string{`participant "gateway" (exec in the runbook) is played by a file`, `job "janitor"`} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("stderr does not say %q:\n%s", want, o.stderr)
		}
	}
}
