package cmd_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/steps"
)

// TestVerifyComparesTwoDatabases compares two databases that no run has touched.
func TestVerifyComparesTwoDatabases(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	runbook, env := bothSides(t)
	if o := tideover(t.Context(), t, env, "verify", "--full", runbook); o.code != 0 || !strings.Contains(string(o.stdout), "nothing is recorded on blue") ||
		!strings.Contains(string(o.stdout), "0 differences") {
		t.Fatalf("equal: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	pgtest.Exec(t, env["TIDEOVER_GREEN_DSN"], `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('strange-key', 'RS256', 'planted-4711')`)
	o := tideover(t.Context(), t, env, "verify", "--full", runbook)
	if out := string(o.stdout); o.code != 5 || !strings.Contains(out, `oauth_jwk ["strange-key"]: extra`) || !strings.Contains(o.stderr, "hint: ") {
		t.Errorf("an extra row: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	o = tideover(t.Context(), t, env, "verify", "--full", "--json", runbook)
	var v steps.Verdict
	if err := json.Unmarshal(o.stdout, &v); err != nil || o.code != 5 || v.Full == nil || v.Full.Count != 1 || v.Full.Differences[0].Key != `["strange-key"]` {
		t.Errorf("as JSON: exit code %d, %v\n%s", o.code, err, o.stdout)
	}
	if strings.Contains(string(o.stdout)+o.stderr, "planted-4711") {
		t.Error("a value was printed")
	}
	if o := tideover(t.Context(), t, env, "verify", "--run", "nobody", runbook); o.code == 0 {
		t.Error("a run that does not exist was verified")
	}
}
