package steps

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/sqlrewrite"
)

// TestLiveHazardsAreRefusedBeforeTheRun: by name, and only those; every name of sqlrewrite's is one that a runbook can allow.
func TestLiveHazardsAreRefusedBeforeTheRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "1_a.sql"), []byte("-- +goose Up\nALTER TABLE a DROP COLUMN b;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(more string) error {
		t.Helper()
		text := "version: 1\nname: a\nprofile: bundled\nblue: {dsn: 'host=127.0.0.1'}\nsteps:\n  - step: preflight\n  - {step: migrate, target: live, source: ., " + more + "}\n"
		path := filepath.Join(dir, "upgrade.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		rb, err := plan.LoadRunbook(path, os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		profile, err := plan.LoadProfile(rb.Profile, dir)
		if err != nil {
			t.Fatal(err)
		}
		return CheckMigrations(Upgrade{Runbook: rb, Profile: profile})
	}
	var refused *migrate.HazardError
	for _, more := range []string{"", "allow: [loses-data]"} {
		if err := check(more); !errors.As(err, &refused) || refused.ExitCode() != 2 || !strings.Contains(err.Error(), `step "migrate"`) {
			t.Errorf("%s: %v; want a refusal", more, err)
		}
	}
	for _, more := range []string{"allow: [" + strings.Join(sqlrewrite.HazardNames(), ", ") + "]", "from: 1"} {
		if err := check(more); err != nil {
			t.Errorf("%s: %v", more, err)
		}
	}
}
