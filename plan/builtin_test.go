package plan_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/plan"
)

const smallProfile = `
name: mine
tables:
  - {name: token, judge: "'revoked'"}
`

// TestBuiltin: every built-in profile loads under its own name.
func TestBuiltin(t *testing.T) {
	t.Parallel()
	if len(plan.Profiles()) == 0 {
		t.Fatal("no built-in profile")
	}
	for _, name := range plan.Profiles() {
		p, err := plan.LoadProfile(name, "/nowhere")
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			continue
		}
		if p.Name != name || p.Path != "" || len(p.Hash) != 64 {
			t.Errorf("%s: loaded as %q, path %q, hash %q", name, p.Name, p.Path, p.Hash)
		}
	}
}

func TestLoadProfile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "mine.yaml")
	if err := os.WriteFile(path, []byte(smallProfile), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, "mine.yaml", "./mine.yaml"} {
		p, err := plan.LoadProfile(name, dir)
		if err != nil {
			t.Fatal(err)
		}
		if p.Path != path || p.Schema != "public" || !p.Table("token").Captured() || p.Table("x") != nil {
			t.Errorf("%s: got %+v", name, p)
		}
	}
	for name, hint := range map[string]string{"bundeld": `did you mean "bundled"?`, "mine": "known here: ", "none.yaml": "relative to the runbook"} {
		_, err := plan.LoadProfile(name, dir)
		var one *plan.Error
		if !errors.As(err, &one) || !strings.Contains(one.Hint(), hint) {
			t.Errorf("%s: got %v, hint %q", name, err, one.Hint())
		}
	}
}

// TestFit: a runbook that asks for what the profile has not got.
func TestFit(t *testing.T) {
	t.Parallel()
	rb, err := plan.ParseRunbook("demo.yaml", []byte(strings.Replace(string(demo(t)), "phase: after", "phase: after\n    approve_rows: {orphan: 3}", 1)), environment)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.ParseProfile("mine.yaml", []byte(smallProfile+`
rules:
  - {name: orphans, phase: after, table: token, where: "true", quarantine: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	err = plan.Fit(rb, p)
	var all plan.Errors
	if !errors.As(err, &all) || len(all) != 2 || all[0].Line == 0 ||
		!strings.Contains(err.Error(), "steps[1].step: profile mine does not say how lifetimes are raised") ||
		!strings.Contains(err.Error(), "steps[7].approve_rows.orphan: profile mine has no such rule in phase after\n    hint: did you mean \"orphans\"?") {
		t.Errorf("got %v", err)
	}
}
