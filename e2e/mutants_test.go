package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
)

// root is the repository's, which the mutants' files are relative to.
const root = ".."

// TestMutantsFitTheSource: a change of the source that leaves a mutant behind shows at once.
func TestMutantsFitTheSource(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.Name] {
			t.Errorf("two mutants are called %q", m.Name)
		}
		names[m.Name] = true
		if _, err := m.Files(root); err != nil {
			t.Error(err)
		}
	}
}

// TestMutants has the demo upgrade with a mistake in it, and wants a judge to say so. TIDEOVER_MUTANT plays those alone whose
// name has it in it.
func TestMutants(t *testing.T) {
	quick.Skip(t)
	chosen := slice.Pick(t, 0, mutants)
	if os.Getenv("TIDEOVER_SLICE") != "all" { // half of the slice, by the seed: each takes half a minute
		odd := slice.Chance(t).IntN(2)
		for i := range len(chosen) / 2 {
			chosen[i] = chosen[2*i+odd]
		}
		chosen = chosen[:len(chosen)/2]
	}
	if name := os.Getenv("TIDEOVER_MUTANT"); name != "" {
		chosen = nil
		for _, m := range mutants {
			if strings.Contains(m.Name, name) {
				chosen = append(chosen, m)
			}
		}
	}
	whole, runbook := briskRunbook(t, "demo.yaml"), briskRunbook(t, "demo.yaml")
	edit(t, runbook, "  - step: preflight\n", "") // its proof in miniature takes half of the time
	for _, m := range chosen {
		t.Run(strings.ReplaceAll(m.Name, " ", "-"), func(t *testing.T) {
			began := time.Now()
			binary := filepath.Join(t.TempDir(), "tideover")
			if err := m.Build(t.Context(), root, "./cmd/tideover", binary); err != nil {
				t.Fatal(err)
			}
			judge, why, err := sentence(t.Context(), binary, runbook, onPair(t))
			if err == nil && judge == "" {
				judge, why, err = sentence(t.Context(), binary, whole, onPair(t))
			}
			if err != nil {
				t.Fatal(err)
			}
			if judge == "" {
				t.Fatalf("nobody sees that %s", m.Name)
			}
			t.Logf("| %s | %s | %.0f s | %s |", m.Name, judge, time.Since(began).Seconds(), why)
		})
	}
}

// sentence rehearses the demo's runbook and says who found fault with it, and what; "" where nobody did.
func sentence(ctx context.Context, binary, runbook string, env map[string]string) (judge, why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "rehearse", runbook, "--size", "tiny", "--json")
	cmd.Env = os.Environ()
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", "", err
	}
	if err := cmd.Start(); err != nil {
		return "", "", err
	}
	var report struct {
		Kind string `json:"kind"`
		Data struct {
			Outcome, Reason string
			Findings        []string
		} `json:"data"`
	}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct{ Kind string }
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Kind == "run.report" {
			if err := json.Unmarshal(lines.Bytes(), &report); err != nil {
				return "", "", err
			}
		}
	}
	unread := lines.Err()
	failed := cmd.Wait()
	switch {
	case unread != nil:
		return "", "", fmt.Errorf("read what the demo says: %w", unread)
	case report.Kind == "":
		return "", "", fmt.Errorf("the demo ended without a report: %v\n%s", failed, stderr.String())
	case report.Data.Outcome != "completed":
		return "the run itself", clip(report.Data.Reason), nil
	case len(report.Data.Findings) == 0 && failed != nil:
		return "", "", fmt.Errorf("the demo failed and no judge says why: %v\n%s", failed, stderr.String())
	case len(report.Data.Findings) == 0:
		return "", "", nil
	}
	first := report.Data.Findings[0]
	judge = "inventory"
	for prefix, name := range map[string]string{"checker: ": "checker", "oracle: ": "oracle", "operator: ": "operator", "a session of kind": "old sessions"} {
		if strings.HasPrefix(first, prefix) {
			judge = name
		}
	}
	return judge, clip(first), nil
}

func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return s[:min(len(s), 200)]
}
