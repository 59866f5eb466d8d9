//go:build hydra

// The migrations of the real Ory Hydra, read from its modules: go test -tags hydra ./internal/prove
package prove_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/prove"
	"github.com/tideover/tideover/sqlrewrite"
)

// hydra is the folder of a version's migrations, from the module proxy or the module cache.
func hydra(t *testing.T, module string) *sqlrewrite.Migrations {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	c.Dir = t.TempDir()
	out, err := c.Output()
	var found struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &found); jsonErr != nil || found.Dir == "" {
		t.Fatalf("go mod download %s: %v %s", module, err, found.Error)
	}
	s, err := sqlrewrite.ReadFolder(os.DirFS(filepath.Join(found.Dir, "persistence", "sql", "migrations")), "")
	if err != nil {
		t.Fatal(err)
	}
	if s.Format != sqlrewrite.PopFormat {
		t.Fatalf("taken for %s", s.Format)
	}
	return s
}

const (
	hydra1 = "github.com/ory/hydra@v1.11.10"
	hydra2 = "github.com/ory/hydra/v2@v2.3.0"
)

// TestHydraIsUnderstood: every migration parses, every statement is known, and what is rewritten stays as it is.
func TestHydraIsUnderstood(t *testing.T) {
	for module, files := range map[string]int{hydra1: 55, hydra2: 212} {
		s := hydra(t, module)
		if got := len(s.Scripts) - 1; got != files { // the first makes pop's own table
			t.Errorf("%s: %d migrations for Postgres, want %d", module, got, files)
		}
		took, statements := time.Duration(0), 0
		for _, script := range s.Scripts {
			began := time.Now()
			r, err := sqlrewrite.Live(script)
			took += time.Since(began)
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range script.Up {
				statements++
				a := sqlrewrite.Analyze(st)
				if a.Reason == "" || a.Manual == "" || slices.ContainsFunc(a.Hazards, func(h sqlrewrite.Hazard) bool { return h.Name == sqlrewrite.Unknown }) {
					t.Errorf("%s:%d: not classified: %s", st.File, st.Line, st.SQL)
				}
			}
			for _, f := range r.Files {
				// A write that stays whole beside the version's record is known for that only in its script.
				if !strings.Contains(f.SQL, "$tideover$") && script.Vendor() != "" && strings.Contains(f.SQL, script.Vendor()) {
					continue
				}
				again, err := sqlrewrite.Parse(f.Name, f.SQL)
				if err != nil {
					t.Fatal(err)
				}
				if twice, err := sqlrewrite.Live(again); err != nil || twice.Changed {
					t.Errorf("%s changes when it is rewritten again: %v", f.Name, err)
				}
			}
			if script.Vendor() != "" && !strings.Contains(r.Files[len(r.Files)-1].SQL, script.Vendor()) {
				t.Errorf("%s does not record its version", script.Name)
			}
		}
		t.Logf("%s: %d statements analysed and rewritten in %s", module, statements, took)
	}
}

// TestHydraEndsTheSame: 1.11.10 to 2.3.0, with sample rows.
func TestHydraEndsTheSame(t *testing.T) {
	old, s := hydra(t, hydra1), hydra(t, hydra2)
	above, err := s.Above(old.Scripts[len(old.Scripts)-1].Vendor())
	if err != nil {
		t.Fatal(err)
	}
	r, err := prove.Run(t.Context(), prove.Options{Server: pgtest.Shared(t), Scripts: s.Scripts, Records: s.Records(), Base: len(s.Scripts) - len(above), Rows: 200, Probe: true})
	if err != nil {
		t.Fatal(err)
	}
	rows := int64(0)
	for _, table := range r.Tables {
		rows += table.Rows
	}
	if !r.Same() || rows < 2000 {
		t.Errorf("%d rows; schema %s; %+v", rows, r.Schema, r.Tables)
	}
}
