//go:build container

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/slice"
)

// TestDemoInContainers is the main job with blue and green each in a container of its own. Nothing of them is left.
// The containers share the machine's network and listen on its loopback: a bridge is not for load.
func TestDemoInContainers(t *testing.T) {
	slice.In(t, 7)
	own := t.TempDir() // containers carry the directory of their owner: other tests' can be told apart
	seen := make(chan bool, 1)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if len(containersOf(t, own)) == 2 {
					seen <- true
					return
				}
			}
		}
	}()
	o := tideover(t.Context(), t, map[string]string{"TMPDIR": own}, "demo", "--json", "--size", "small", "--postgres", "container", "--container-network", "host")
	close(stop)
	<-done
	if o.code != 0 {
		t.Fatalf("exit code %d\n%s", o.code, o.stderr)
	}
	wantClean(t, reportOf(t, o))
	if len(seen) == 0 {
		t.Error("blue and green were never seen in a container each")
	}
	if left := containersOf(t, own); len(left) > 0 {
		t.Errorf("containers are left: %v", left)
	}
	if left, err := os.ReadDir(own); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

// containersOf lists the containers, running or not, whose owner works in a directory.
func containersOf(t *testing.T, directory string) []string {
	out, err := exec.CommandContext(t.Context(), "docker", "ps", "--all", "--format", `{{.Label "dev.tideover.pgserver.owner"}} {{.Names}}`).CombinedOutput()
	if err != nil {
		t.Errorf("docker ps: %v\n%s", err, out)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, directory) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
