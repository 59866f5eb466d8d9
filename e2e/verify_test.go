package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/steps"
	"github.com/tideover/tideover/testdata"
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
	execute(t, env["TIDEOVER_GREEN_DSN"], `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('strange-key', 'RS256', 'planted-4711')`)
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

// bothSides are two databases, empty and of both schemas, and the demo's runbook with the environment that names them.
// No server and no router is there.
func bothSides(t *testing.T) (runbook string, env map[string]string) {
	t.Helper()
	server := pgtest.NewServer(t, pgserver.Options{Name: "sides"})
	env = map[string]string{"TIDEOVER_ROUTER_TOKEN": "x"}
	for side, version := range map[string]int64{"BLUE": 11004, "GREEN": 20006} {
		dsn, err := server.CreateDatabase(t.Context(), strings.ToLower(side))
		if err != nil {
			t.Fatal(err)
		}
		if err := migrate.NewGoose(schema.Files(), version).Migrate(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
		env["TIDEOVER_"+side+"_DSN"] = dsn
		for _, name := range []string{"TIDEOVER_" + side + "_PUBLIC", "TIDEOVER_" + side + "_ADMIN", "TIDEOVER_ROUTER_ADMIN"} {
			env[name] = "http://127.0.0.1:1"
		}
	}
	runbook = filepath.Join(t.TempDir(), "demo.yaml")
	text, err := testdata.Runbooks.ReadFile("runbooks/demo.yaml")
	if err == nil {
		err = os.WriteFile(runbook, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return runbook, env
}
