package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/rehearsal"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/testdata"
)

// theatre is a deployment under traffic, on which tideover run is tried from outside, as an operator would.
type theatre struct {
	*deployment.Deployment
	runbook string
	traffic *traffic.Generator
	mark    journal.Sink // puts the run's stages into the traffic's history
	said    bytes.Buffer // all that tideover printed to stdout
	stop    func()
}

// newTheatre starts a deployment with the demo's runbook beside it, and the traffic.
func newTheatre(t *testing.T, change ...func(*traffic.Config)) *theatre {
	t.Helper()
	return newTheatreOf(t, deployment.Bundled, "demo.yaml", change...)
}

// newTheatreOf is newTheatre with other servers and their runbook.
func newTheatreOf(t *testing.T, servers deployment.Servers, runbook string, change ...func(*traffic.Config)) *theatre {
	t.Helper()
	return newTheatreOn(t, deployment.Options{Servers: servers, Seed: seed.Options{Clients: 10, Sessions: 300, Offending: true, Secret: "seeded-client-secret-4410"}}, runbook, change...)
}

// newTheatreOn is newTheatre with another deployment.
func newTheatreOn(t *testing.T, o deployment.Options, runbook string, change ...func(*traffic.Config)) *theatre {
	t.Helper()
	o.Executable, o.Pair = binary, sharedPair(t)
	s, err := deployment.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	th := &theatre{Deployment: s, runbook: briskRunbook(t, runbook)}
	config := s.Clients(traffic.Config{
		Public: s.Router.Public, Admin: s.Router.Admin, BypassPublic: s.BlueServer.Public, BypassAdmin: s.BlueServer.Admin,
		Issuer: s.Router.Public, Clients: 12, Rate: 60, RetryRefresh: true,
	})
	for _, f := range change {
		f(&config)
	}
	if th.traffic, err = traffic.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	th.mark = rehearsal.Marks(th.traffic.Mark, func(step string) string { return step })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- th.traffic.Run(ctx) }()
	stopped := false
	th.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("traffic: %v", err)
		}
	}
	t.Cleanup(th.stop)
	return th
}

// judge ends the traffic, asks everything once more, and wants no finding.
func (th *theatre) judge(t *testing.T) traffic.Verdict {
	t.Helper()
	th.stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := th.traffic.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	v := traffic.Check(th.traffic.History())
	for i, f := range v.Findings {
		if i == 20 {
			t.Errorf("… and %d more", len(v.Findings)-i)
			break
		}
		t.Error(f)
	}
	return v
}

// play runs tideover until it ends or at says that this event is where it dies by kill -9. Each event marks the
// traffic's history, as a rehearsal does.
func (th *theatre) play(t *testing.T, at func(journal.Event) bool, args ...string) (code int, killed bool, stderr string) {
	t.Helper()
	return th.signal(t, os.Kill, at, args...)
}

// interrupt runs tideover and presses Ctrl-C as soon as a step has started.
func (th *theatre) interrupt(t *testing.T, step string, args ...string) (code int, stderr string) {
	t.Helper()
	code, pressed, stderr := th.signal(t, os.Interrupt, func(e journal.Event) bool { return e.Kind == journal.StepStarted && e.Step == step }, args...)
	if !pressed {
		t.Errorf("step %s never started", step)
	}
	return code, stderr
}

// signal runs tideover and sends it a signal at the first event that at names.
func (th *theatre) signal(t *testing.T, sig os.Signal, at func(journal.Event) bool, args ...string) (code int, killed bool, stderr string) {
	t.Helper()
	c := command(t.Context(), th.Environment(), args...)
	var errs bytes.Buffer
	c.Stderr = &errs
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		th.said.Write(append(lines.Bytes(), '\n'))
		var e journal.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Errorf("no event: %s", lines.Bytes())
			continue
		}
		th.mark(e)
		if !killed && at != nil && at(e) {
			killed = true
			if err := c.Process.Signal(sig); err != nil {
				t.Error(err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	err = c.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), killed, errs.String()
}

// staysOnBlue says that the traffic will see no switch.
func staysOnBlue(c *traffic.Config) { c.NoSwitch = true }

// brisk takes out of a runbook the waits that are there for a person's eye. What is waited for still has to happen.
var brisk = strings.NewReplacer("steady_for: 3s", "steady_for: 500ms", "drain_logins: 2s", "drain_logins: 500ms", "canary: 3s", "canary: 1s",
	"  - step: monitor\n    for: 3s", "  - step: monitor\n    for: 1s")

// briskRunbook puts one of our runbooks, without those waits, into a folder of the test's own.
func briskRunbook(t *testing.T, name string) (path string) {
	t.Helper()
	data, err := testdata.Runbooks.ReadFile("runbooks/" + name)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(brisk.Replace(string(data))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
