package cmd_test

import (
	"strings"
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

// events are how many blue's journal has; 0: there is no journal.
func events(t *testing.T, env map[string]string) int64 {
	t.Helper()
	blue := env["TIDEOVER_BLUE_DSN"]
	if !pgtest.Query[bool](t, blue, `SELECT to_regclass('tideover.event') IS NOT NULL`) {
		return 0
	}
	return pgtest.Query[int64](t, blue, `SELECT count(*) FROM tideover.event`)
}
