//go:build container

package cmd_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDemoInContainers is the demo with blue and green each in a container of its own. Nothing is left behind.
func TestDemoInContainers(t *testing.T) {
	before := containers(t)
	o := tideover(t.Context(), t, nil, "demo", "--json", "--size", "small", "--postgres", "container", "--container-network", "host")
	if o.code != 0 {
		t.Fatalf("exit code %d\n%s", o.code, o.stderr)
	}
	wantClean(t, reportOf(t, o))
	if after := containers(t); after != before {
		t.Errorf("containers before:\n%s\nafter:\n%s", before, after)
	}
}

func containers(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "ps", "--all", "--format", "{{.ID}} {{.Image}} {{.Names}}").CombinedOutput()
	if err != nil {
		t.Fatalf("docker ps: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}
