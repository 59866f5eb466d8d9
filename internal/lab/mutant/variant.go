package mutant

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// variantVariable names the mutant that a test binary is.
const variantVariable = "TIDEOVER_TEST_MUTANT"

// Tests builds mutants of the package whose tests are running, each once, and runs tests in them.
type Tests struct {
	// Environment is added to that of a mutant's process: what the tests share, such as the DSN of a server.
	Environment func(t testing.TB) []string

	mu    sync.Mutex
	built map[string]*built
}

type built struct {
	once sync.Once
	path string
	err  error
}

// Inside reports whether this process is a mutant.
func Inside() bool { return os.Getenv(variantVariable) != "" }

// In reports whether this process is the mutant. Where it is not, In has played the test, alone, in a process that is,
// and has failed it as it failed there: the caller returns.
func (v *Tests) In(t *testing.T, m Mutant) bool {
	t.Helper()
	if os.Getenv(variantVariable) == m.Name {
		return true
	}
	binary, err := v.binary(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	// One test at a time: this process runs several at once, and they share a server's connections.
	args := []string{"-test.run=" + pattern(t.Name(), flag.Lookup("test.run").Value.String()), "-test.v", "-test.parallel=1"}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(deadline).String())
	}
	flag.Visit(func(f *flag.Flag) { // what the caller asked for, but for what concerns this process alone
		if !strings.HasPrefix(f.Name, "test.") || f.Name == "test.short" {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), variantVariable+"="+m.Name)
	if v.Environment != nil {
		cmd.Env = append(cmd.Env, v.Environment(t)...)
	}
	output, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("with %s: %v\n%s", m.Name, err, output)
	case !strings.Contains(string(output), "=== RUN"):
		t.Errorf("with %s: no test ran\n%s", m.Name, output)
	default:
		t.Logf("with %s:\n%s", m.Name, output)
	}
	return false
}

// binary is the mutant's test binary. It lies in the temporary directory until [Tests.Remove].
func (v *Tests) binary(ctx context.Context, m Mutant) (string, error) {
	v.mu.Lock()
	if v.built == nil {
		v.built = make(map[string]*built)
	}
	b := v.built[m.Name]
	if b == nil {
		b = &built{}
		v.built[m.Name] = b
	}
	v.mu.Unlock()
	b.once.Do(func() {
		var dir string
		if dir, b.err = os.MkdirTemp("", "tideover-mutant-"); b.err == nil {
			b.path = filepath.Join(dir, "mutant.test")
			b.err = m.BuildTest(context.WithoutCancel(ctx), ".", b.path)
		}
	})
	return b.path, b.err
}

// Remove deletes the binaries.
func (v *Tests) Remove() {
	for _, b := range v.built {
		if b.path != "" {
			_ = os.RemoveAll(filepath.Dir(b.path))
		}
	}
}

// pattern matches the test of this name alone, and of its subtests those that were asked for.
func pattern(name, asked string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	if all := strings.Split(asked, "/"); len(all) > len(parts) {
		parts = append(parts, all[len(parts):]...)
	}
	return strings.Join(parts, "/")
}
