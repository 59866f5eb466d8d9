package cmd_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
)

// limited is a profile with one rule that expects fewer rows than there are.
const limited = `
  - name: many
    phase: before
    description: x
    table: oauth_jwk
    where: t.kid LIKE 'bad%'
    quarantine: true
    expect_at_most: 1
`

// TestCleanupDryRun: what the rules would do is counted and named, nothing is changed and nothing that a row holds is shown.
func TestCleanupDryRun(t *testing.T) {
	t.Parallel()
	runbook, env := bothSides(t)
	blue := env["TIDEOVER_BLUE_DSN"]
	text, err := os.ReadFile("../plan/profiles/bundled.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(filepath.Dir(runbook), "own.yaml"), strings.Replace(string(text), "\nrules:\n", "\nrules:"+limited, 1))
	book, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	write(runbook, strings.Replace(string(book), "profile: bundled", "profile: own.yaml", 1))
	pgtest.Exec(t, blue, `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('bad-1', 'RS256', 'planted-4711'), ('bad-2', 'RS256', 'planted-4711');
		INSERT INTO oauth_client (id, owner) VALUES ('ownerless', '')`)
	run := func(args ...string) outcome { return tideover(t.Context(), t, env, args...) }

	o := run("cleanup", runbook, "--dry-run", "--sample", "1")
	for _, want := range []string{"many: quarantine 2 rows of oauth_jwk, at most 1 are expected", "client-owner: repair 1 rows of oauth_client", `["ownerless"]`, `["bad-1"]`} {
		if !strings.Contains(string(o.stdout), want) {
			t.Errorf("%q is missing in\n%s%s", want, o.stdout, o.stderr)
		}
	}
	if o.code != 1 || strings.Contains(string(o.stdout)+o.stderr, "planted") || strings.Contains(string(o.stdout), "bad-2") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if n := pgtest.Query[int](t, blue, `SELECT count(*)::int FROM oauth_jwk`); n != 2 {
		t.Errorf("%d rows are left", n)
	}
	o = run("cleanup", runbook, "--dry-run", "--json")
	var first cleanup.Preview
	if err := json.NewDecoder(strings.NewReader(string(o.stdout))).Decode(&first); err != nil || first.Rule != "many" || first.Rows != 2 || !first.TooMany {
		t.Errorf("--json: %v %+v\n%s%s", err, first, o.stdout, o.stderr)
	}
	for _, args := range [][]string{{"cleanup", runbook}, {"cleanup", runbook, "--dry-run", "--on", "red"}, {"cleanup", runbook, "--dry-run", "--phase", "x"},
		{"approve", runbook}, {"approve", runbook, "--rule", "many"}, {"approve", runbook, "--rule", "nobody", "--rows", "2"}, {"approve", runbook, "snapshot", "--rule", "many", "--rows", "2"}} {
		if o := run(args...); o.code != 2 {
			t.Errorf("%v: exit code %d\n%s", args, o.code, o.stderr)
		}
	}
}
