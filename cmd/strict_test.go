package cmd_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
)

// TestPlanStrict: a plan that gives something up can be run, and fails with --strict; what it prints is the same.
func TestPlanStrict(t *testing.T) {
	t.Parallel()
	kept := func(s string) string {
		return strings.Replace(s, "- step: retire", "- step: retire\n    approve: true", 1)
	}
	for _, tt := range []struct {
		name   string
		edit   func(string) string
		strict int
		says   string
	}{
		{"nothing is given up", kept, 0, ""},
		{"a guarantee is given up", func(s string) string { return kept(s) + "\nlocks:\n  timeout: 2s\n" }, 1, "--strict: 1 guarantee is given up"},
		{"two are", func(s string) string { return s + "\nlocks:\n  timeout: 2s\n" }, 1, "--strict: 2 guarantees are given up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			env := sides("postgres://u@127.0.0.1:1/oauth", "postgres://u@127.0.0.1:1/successor")
			runbook := edited(t, tt.edit)
			for _, form := range [][]string{{"plan", runbook}, {"plan", "--json", runbook}} {
				loose, strict := tideover(t.Context(), t, env, form...), tideover(t.Context(), t, env, append(form, "--strict")...)
				if loose.code != 0 || strict.code != tt.strict || !strings.Contains(strict.stderr, tt.says) || string(loose.stdout) != string(strict.stdout) {
					t.Errorf("exit codes %d and %d, want 0 and %d\n%s%s", loose.code, strict.code, tt.strict, strict.stdout, strict.stderr)
				}
			}
		})
	}
}

// TestPlanStrictConnected: a warning of preflight counts, and the estimate is printed with what it rests on.
func TestPlanStrictConnected(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blue, green := migrated(t, "1.1"), pgtest.NewDatabase(t)
	pgtest.Exec(t, blue, `CREATE TABLE large AS SELECT i, repeat(md5(i::text), 8) AS text FROM generate_series(1, 10000) i; ALTER TABLE large ADD PRIMARY KEY (i); ANALYZE large`)
	before := pgtest.Schema(t, green)
	o := tideover(t.Context(), t, sides(blue, green), "plan", "--connect", "--strict", edited(t, func(s string) string {
		return strings.Replace(s, "- step: retire", "- step: retire\n    approve: true", 1)
	}))
	out := string(o.stdout)
	warned := strings.Count(out, "\n  warn  ")
	if want := fmt.Sprintf("--strict: %d warning", warned); warned == 0 || o.code != 1 || !strings.Contains(o.stderr, want) {
		t.Errorf("exit code %d, want 1 and %q\n%s%s", o.code, want, o.stdout, o.stderr)
	}
	for _, want := range []string{"\nestimate:\n", "public.large 3.", "  copy      less than 10s", "  hold      about 1.0s; past 20s", "one session read", "not counted are"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if after := pgtest.Schema(t, green); before != after {
		t.Errorf("something is left on green:\n%s", after)
	}
}

// edited is the demo's runbook with another text.
func edited(t *testing.T, edit func(string) string) (path string) {
	t.Helper()
	path = demoRunbook(t)
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(edit(string(text))), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
