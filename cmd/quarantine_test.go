package cmd_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/plan"
)

// TestQuarantine: rows that a rule set aside are listed by key, without what they hold, and come back whole or not at all.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	runbook, env := bothSides(t)
	green := env["TIDEOVER_GREEN_DSN"]
	run := func(args ...string) outcome {
		return tideover(t.Context(), t, env, append([]string{"quarantine"}, args...)...)
	}

	if o := run("list", runbook); o.code != 0 || len(o.stdout) > 0 || !strings.Contains(o.stderr, "0 rows") {
		t.Errorf("before anything was set aside: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	profile, err := plan.LoadProfile("bundled", ".")
	if err != nil {
		t.Fatal(err)
	}
	var name string
	for _, r := range profile.Rules {
		if r.Quarantine {
			name = r.Name
		}
	}
	// The rule is the profile's, what it takes is the test's: rows of the new schema, and later of an older one.
	rule := plan.Rule{Name: name, Phase: "before", Table: "oauth_jwk", Where: "t.kid LIKE 'bad%'", Quarantine: true}
	pgtest.Exec(t, green, `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('bad-1', 'RS256', 'planted-4711'), ('bad-2', 'RS256', 'x'), ('good', 'RS256', 'x')`)
	conn, err := pgx.Connect(t.Context(), green)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := cleanup.New([]plan.Rule{rule}, cleanup.Options{}).Apply(t.Context(), conn, "before"); err != nil {
		t.Fatal(err)
	}
	keys := func() string {
		return pgtest.Query[string](t, green, `SELECT string_agg(kid || ' ' || keydata, ', ' ORDER BY kid) FROM oauth_jwk`)
	}
	if got := keys(); got != "good x" {
		t.Fatalf("the rule left %s", got)
	}

	o := run("list", runbook)
	if lines := strings.Split(strings.TrimSpace(string(o.stdout)), "\n"); o.code != 0 || len(lines) != 2 ||
		!strings.Contains(lines[0], name) || !strings.Contains(lines[0], `oauth_jwk`) || !strings.Contains(lines[0], `["bad-1"]`) {
		t.Errorf("list: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	var first cleanup.Quarantined
	o = run("list", "--json", "--rule", name, runbook)
	if err := json.NewDecoder(strings.NewReader(string(o.stdout))).Decode(&first); err != nil || first.Key != `["bad-1"]` || first.At.IsZero() {
		t.Errorf("list --json: %v\n%s%s", err, o.stdout, o.stderr)
	}
	if strings.Contains(string(o.stdout)+o.stderr, "planted-4711") {
		t.Error("list shows what a row holds")
	}
	for _, args := range [][]string{{"list", "--rule", "nobody", runbook}, {"restore", runbook, "nobody"}} {
		if o := run(args...); o.code != 2 || !strings.Contains(o.stderr, name) {
			t.Errorf("%v: exit code %d, and the rules that there are should be named\n%s", args, o.code, o.stderr)
		}
	}

	pgtest.Exec(t, green, `ALTER TABLE oauth_jwk ADD CONSTRAINT refuses CHECK (kid <> 'bad-2')`)
	if o := run("restore", runbook, name); o.code != 1 || !strings.Contains(o.stderr, "refuses") || keys() != "good x" {
		t.Errorf("a constraint refuses one: exit code %d, %s\n%s", o.code, keys(), o.stderr)
	}
	pgtest.Exec(t, green, `ALTER TABLE oauth_jwk DROP CONSTRAINT refuses`)
	pgtest.Exec(t, green, `CREATE UNIQUE INDEX one_data ON oauth_jwk (keydata)`) // bad-2 has what good has
	if o := run("restore", runbook, name); o.code != 1 || !strings.Contains(o.stderr, "one_data") || keys() != "good x" {
		t.Errorf("another row is in the way: exit code %d, %s\n%s", o.code, keys(), o.stderr)
	}
	pgtest.Exec(t, green, `DROP INDEX one_data`)
	pgtest.Exec(t, green, `UPDATE tideover.quarantine SET row = row || '{"gone": 1}' WHERE key = '["bad-2"]'`)
	if o := run("restore", runbook, name); o.code != 1 || !strings.Contains(o.stderr, `column "gone"`) || keys() != "good x" {
		t.Errorf("a column that is not there: exit code %d, %s\n%s", o.code, keys(), o.stderr)
	}
	pgtest.Exec(t, green, `UPDATE tideover.quarantine SET row = row - 'gone'`)
	if o := run("restore", runbook, name); o.code != 0 || !strings.Contains(string(o.stdout), "2 rows") || keys() != "bad-1 planted-4711, bad-2 x, good x" {
		t.Errorf("restore: exit code %d, %s\n%s%s", o.code, keys(), o.stdout, o.stderr)
	}
	if o := run("list", runbook); o.code != 0 || len(o.stdout) > 0 {
		t.Errorf("after it was put back: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}
