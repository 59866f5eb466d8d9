package cmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/testdata"
)

// TestInit: the runbook to start from is one that plan takes, and a file that is there stays.
func TestInit(t *testing.T) {
	t.Parallel()
	printed := tideover(t.Context(), t, nil, "init", "--name", "spring")
	if printed.code != 0 || !strings.Contains(string(printed.stdout), `name: "spring"`) {
		t.Fatalf("exit code %d\n%s%s", printed.code, printed.stdout, printed.stderr)
	}
	path := filepath.Join(t.TempDir(), "upgrade.yaml")
	if o := tideover(t.Context(), t, nil, "init", "--name", "spring", path); o.code != 0 || len(o.stdout) > 0 {
		t.Fatalf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if o := tideover(t.Context(), t, nil, "init", path); o.code != 1 || !strings.Contains(o.stderr, "it is not overwritten") {
		t.Errorf("over a file: exit code %d\n%s", o.code, o.stderr)
	}
	if written, err := os.ReadFile(path); err != nil || !bytes.Equal(written, printed.stdout) {
		t.Errorf("%v; the file differs from what is printed:\n%s", err, written)
	}
	o := tideover(t.Context(), t, sides("postgres://blue/oauth", "postgres://green/oauth"), "plan", path)
	if o.code != 0 || !strings.Contains(string(o.stdout), "spring: ") {
		t.Errorf("plan: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

func TestInitSchema(t *testing.T) {
	t.Parallel()
	for _, of := range []string{"runbook", "profile"} {
		o := tideover(t.Context(), t, nil, "init", "--schema", of)
		if o.code != 0 || !json.Valid(o.stdout) {
			t.Errorf("%s: exit code %d\n%s%s", of, o.code, o.stdout, o.stderr)
		}
	}
	if o := tideover(t.Context(), t, nil, "init", "--schema", "world"); o.code != 2 || !strings.Contains(o.stderr, "runbook or profile") {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}

// TestInitHydra: the steps of the runbook to start from have the values of the one that is tried, but for what is for a person.
func TestInitHydra(t *testing.T) {
	t.Parallel()
	printed := tideover(t.Context(), t, nil, "init", "--profile", "hydra")
	tried, err := testdata.Runbooks.ReadFile("runbooks/hydra-2x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	load := func(name string, data []byte) *plan.Runbook {
		rb, err := plan.ParseRunbook(name, data, func(name string) (string, bool) {
			if strings.HasSuffix(name, "_DSN") {
				return "postgres://" + name + "/oauth", true
			}
			return "http://127.0.0.1:1/0123456789abcdef", true
		})
		if err != nil {
			t.Fatal(err)
		}
		return rb
	}
	is, want := load("init.yaml", printed.stdout), load("hydra-2x.yaml", tried)
	for i, step := range is.Steps {
		switch c := step.Config.(type) {
		case *plan.CutoverSpec:
			if c.Canary < time.Minute {
				t.Errorf("the canary sings for %s", c.Canary)
			}
			of := want.Step(plan.Cutover).Config.(*plan.CutoverSpec)
			c.Canary, c.CanaryShare = of.Canary, of.CanaryShare
		case *plan.MonitorSpec:
			c.For = want.Step(plan.Monitor).Config.(*plan.MonitorSpec).For
		}
		if i >= len(want.Steps) || !reflect.DeepEqual(step.Config, want.Steps[i].Config) {
			t.Errorf("step %q: %+v, and not %+v", step.ID, step.Config, want.Steps[min(i, len(want.Steps)-1)].Config)
		}
	}
	if len(is.Steps) != len(want.Steps) {
		t.Errorf("%d steps, and not %d", len(is.Steps), len(want.Steps))
	}
}
