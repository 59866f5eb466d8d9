package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tideover/tideover/cmd"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

// binary is the program under test: this test binary, which is tideover where playsProgram is set. So it need not be
// linked a second time, and go test -race looks at the program's goroutines, too.
var binary string

// playsProgram is the environment variable that makes the test binary the program. Its children inherit it: the demo
// starts itself as server and router.
const playsProgram = "TIDEOVER_E2E_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(playsProgram) != "" {
		os.Exit(cmd.Main(os.Args[1:]))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var err error
	if binary, err = os.Executable(); err == nil {
		err = os.Setenv(playsProgram, "1")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := closePair(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// outcome is what one call of the program did.
type outcome struct {
	code   int
	stdout []byte
	stderr string
}

// tideover runs the program to its end.
func tideover(ctx context.Context, t *testing.T, env map[string]string, args ...string) outcome {
	t.Helper()
	c := command(ctx, env, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("tideover %s: %v", strings.Join(args, " "), err)
	}
	return outcome{code: c.ProcessState.ExitCode(), stdout: stdout.Bytes(), stderr: stderr.String()}
}

func command(ctx context.Context, env map[string]string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = os.Environ()
	for k, v := range env {
		c.Env = append(c.Env, k+"="+v)
	}
	return c
}

// reportOf reads the last line of --json.
func reportOf(t *testing.T, o outcome) report.Report {
	t.Helper()
	var last journal.Event
	lines := bufio.NewScanner(bytes.NewReader(o.stdout))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		last = journal.Event{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatalf("stdout has a line that is no event: %v\n%s", err, lines.Bytes())
		}
	}
	if last.Kind != journal.RunReport {
		t.Fatalf("the last line is %q, want %q\nstderr:\n%s", last.Kind, journal.RunReport, o.stderr)
	}
	var r report.Report
	if err := json.Unmarshal(last.Data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}
