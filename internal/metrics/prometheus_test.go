package metrics_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/deployment/ports"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/steps"
)

const files = "../../docs/metrics"

// promtool has Prometheus's own tool judge something.
func promtool(t *testing.T, stdin, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool (scripts/setup.sh --tests installs it) %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// The rules load, and each fires, and is silent, where it should.
func TestRulesInPromtool(t *testing.T) {
	t.Parallel()
	promtool(t, "", files, "check", "config", "prometheus.yml")
	promtool(t, "", files, "test", "rules", "alerts_test.yaml")
}

// What a run says is as Prometheus wants it.
func TestExposition(t *testing.T) {
	t.Parallel()
	s := serve(t)
	if err := runner(t, s, work{"a", nothing})(); err != nil {
		t.Fatal(err)
	}
	text := get(t, s)
	closing(t, s.Close(t.Context(), 0, never(t)))
	promtool(t, text, "", "check", "metrics")
}

// Every expression of the dashboard is one.
func TestDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(files, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	rules, n := "groups:\n- name: dashboard\n  rules:\n", 0
	for i, p := range board.Panels {
		if len(p.Targets) == 0 || p.Title == "" {
			t.Errorf("panel %d, %q, shows nothing", i, p.Title)
		}
		for _, other := range board.Panels[:i] {
			if a, b := p.GridPos, other.GridPos; a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%q lies over %q", p.Title, other.Title)
			}
		}
		for _, target := range p.Targets {
			quoted, err := json.Marshal(strings.NewReplacer("$__rate_interval", "1m", "$run", ".*").Replace(target.Expr))
			if err != nil {
				t.Fatal(err)
			}
			rules += "  - {record: dashboard, labels: {panel: " + p.Title[:1] + "}, expr: " + string(quoted) + "}\n"
			n++
		}
	}
	if n < 20 {
		t.Errorf("only %d expressions were found", n)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "", "check", "rules", path)
}

// TestPrometheus: a real Prometheus scrapes a run, and its alert is what lets a step that stands go on.
func TestPrometheus(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	s := serve(t)
	dir := t.TempDir()
	alerts, err := os.ReadFile(filepath.Join(files, "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	hasty := strings.NewReplacer("still_seconds > 300", "still_seconds > 1").Replace(string(alerts))
	if hasty == string(alerts) {
		t.Fatal("the rule of a step that stands says something else")
	}
	config := "global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}\nrule_files: [alerts.yaml]\n" +
		"scrape_configs:\n- job_name: tideover\n  static_configs:\n  - targets: ['" + s.Address() + "']\n"
	for name, text := range map[string]string{"alerts.yaml": hasty, "prometheus.yml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	free, err := ports.Free(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", free[0], "--log.level", "warn")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("Prometheus (scripts/setup.sh --tests installs it): %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	fires := func(alert string) bool {
		var answer struct {
			Data struct {
				Alerts []struct {
					State  string
					Labels map[string]string
				}
			}
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+free[0]+"/api/v1/alerts", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false // it is not up yet
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return false
		}
		for _, a := range answer.Data.Alerts {
			if a.State == "firing" && a.Labels["alertname"] == alert {
				return true
			}
		}
		return false
	}
	run := runner(t, s, work{"a", func(context.Context, *steps.Progress) error {
		await.That(t, "the alert of a step that stands fires", func() bool { return fires("TideoverStepStalled") })
		return os.ErrInvalid
	}})
	if err := run(); err == nil {
		t.Error("the run has not failed")
	}
	closing(t, s.Close(t.Context(), time.Minute, func(time.Duration) {})) // the end is scraped before there is nobody to ask
	await.That(t, "the alert of a run that has failed fires", func() bool { return fires("TideoverFailed") })
	if fires("TideoverProcessGone") {
		t.Error("a process that has ended is called gone")
	}
}
