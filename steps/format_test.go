package steps

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/sqlrewrite"
)

// TestFormats: a runbook may name each format that sqlrewrite reads, and its versions as the vendor writes them.
func TestFormats(t *testing.T) {
	t.Parallel()
	for _, f := range append(sqlrewrite.Formats(), "rails") {
		dir := t.TempDir()
		path := filepath.Join(dir, "runbook.yaml")
		text := "version: 1\nname: a\nprofile: bundled\nblue: {dsn: 'host=127.0.0.1'}\nsteps:\n  - step: preflight\n  - {step: migrate, target: live, source: ., from: 1.10, format: " + f + "}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		rb, err := plan.LoadRunbook(path, os.LookupEnv)
		if known := err == nil; known != (f != "rails") {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if err != nil {
			continue
		}
		for _, s := range rb.Steps {
			if m, ok := s.Config.(*plan.MigrateSpec); ok && (m.From != "1.10" || m.Format != f) {
				t.Errorf("%s: %+v", f, m)
			}
		}
	}
}
