package cmd_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
)

// TestMetricsAddress: an address that can't be taken is said before anything is changed; one that others reach is named.
func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	runbook, env := bothSides(t)
	for _, command := range [][]string{{"run"}, {"resume"}, {"rollback"}} {
		if command[0] != "run" { // a run must be there to be taken over: the address is looked at then
			if o := tideover(t.Context(), t, env, "run", "--no-tui", runbook); o.code == 0 {
				t.Fatal("the run has come through without a router")
			}
		}
		before := events(t, env)
		o := tideover(t.Context(), t, env, append(command, "--no-tui", "--metrics-addr", "127.0.0.1:99999", runbook)...)
		if o.code != 2 || !strings.Contains(o.stderr, "--metrics-addr 127.0.0.1:99999") || !strings.Contains(o.stderr, "hint: ") {
			t.Errorf("%s: exit code %d\n%s", command, o.code, o.stderr)
		}
		if after := events(t, env); before != after {
			t.Errorf("%s: %d events before, %d after", command, before, after)
		}
	}
	for address, warned := range map[string]bool{"127.0.0.1:0": false, "0.0.0.0:0": true} {
		o := tideover(t.Context(), t, env, "resume", "--no-tui", "--metrics-addr", address, runbook)
		if !strings.Contains(o.stderr, "metrics at http://") || strings.Contains(o.stderr, "not of this machine alone") != warned {
			t.Errorf("%s: exit code %d\n%s", address, o.code, o.stderr)
		}
	}
}

// TestTraces: the flag and the environment both have a collector be given spans; none that is not there changes how a run ends.
func TestTraces(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/traces" {
			calls.Add(1)
		}
	}))
	t.Cleanup(collector.Close)
	runbook, env := bothSides(t)
	command := "run"
	for _, tt := range []struct {
		name  string
		flags []string
		env   string
		given bool
		says  string
	}{
		{"nothing", nil, "", false, ""},
		{"flag", []string{"--otlp", collector.URL}, "", true, ""},
		{"environment", nil, collector.URL, true, ""},
		{"nobody there", []string{"--otlp", "http://127.0.0.1:1"}, "", false, "could not be given to the collector of traces at 127.0.0.1:1"},
	} {
		env["OTEL_EXPORTER_OTLP_ENDPOINT"] = tt.env
		before := calls.Load()
		o := tideover(t.Context(), t, env, append([]string{command, "--no-tui", runbook}, tt.flags...)...)
		command = "resume"
		if given := calls.Load() > before; o.code != 4 || given != tt.given || !strings.Contains(o.stderr, tt.says) {
			t.Errorf("%s: exit code %d, given %v\n%s", tt.name, o.code, given, o.stderr)
		}
	}
	before := events(t, env)
	o := tideover(t.Context(), t, env, "run", "--no-tui", "--otlp", "localhost:4318", runbook)
	if o.code != 2 || !strings.Contains(o.stderr, "--otlp") || events(t, env) != before {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}

// events are how many blue's journal has; 0: there is no journal.
func events(t *testing.T, env map[string]string) int64 {
	t.Helper()
	blue := env["TIDEOVER_BLUE_DSN"]
	if !pgtest.Query[bool](t, blue, `SELECT to_regclass('tideover.event') IS NOT NULL`) {
		return 0
	}
	return pgtest.Query[int64](t, blue, `SELECT count(*) FROM tideover.event`)
}
