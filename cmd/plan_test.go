package cmd_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tideover/tideover/testdata"
)

// TestPlan: each step of the demo's runbook is named, in both forms, without a connection and without a secret.
func TestPlan(t *testing.T) {
	t.Parallel()
	env := sides("postgres://blue:hidden-word@127.0.0.1:1/oauth", "postgres://green:hidden-word@127.0.0.1:1/successor")
	runbook := demoRunbook(t)
	text := tideover(t.Context(), t, env, "plan", runbook)
	inJSON := tideover(t.Context(), t, env, "plan", runbook, "--json")
	if text.code != 0 || inJSON.code != 0 {
		t.Fatalf("exit codes %d and %d\n%s%s", text.code, inJSON.code, text.stderr, inJSON.stderr)
	}
	var p struct {
		Name  string
		Steps []struct{ ID, Does, Undo string }
	}
	if err := json.Unmarshal(inJSON.stdout, &p); err != nil {
		t.Fatal(err)
	}
	written, err := testdata.Runbooks.ReadFile("runbooks/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Count(string(written), "\n  - step: "); p.Name != "demo" || len(p.Steps) != want {
		t.Errorf("%s has %d steps, want %d", p.Name, len(p.Steps), want)
	}
	for _, s := range p.Steps {
		if s.ID == "" || !strings.Contains(string(text.stdout), s.Does) || !strings.Contains(string(text.stdout), "undo: "+s.Undo) {
			t.Errorf("step %+v is not in\n%s", s, text.stdout)
		}
	}
	if all := string(text.stdout) + text.stderr + string(inJSON.stdout) + inJSON.stderr; strings.Contains(all, "hidden-word") {
		t.Error("a password is shown")
	}
}
