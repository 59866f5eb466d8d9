package cmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
