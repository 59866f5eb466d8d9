package cmd_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/plan"
)

func TestProfileCheck(t *testing.T) {
	quick.Skip(t)
	source, err := os.ReadFile("../plan/profiles/bundled.yaml")
	if err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(wrong, []byte(strings.Replace(string(source), "keep: [owner]", "keep: [owners]", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	blue, green := migrated(t, "1.1"), migrated(t, "2.0")
	tests := []struct {
		name string
		env  map[string]string
		args []string
		code int
		says []string
	}{
		{"the file alone", nil, []string{"bundled"}, 0, []string{"no database was asked"}},
		{"both sides", map[string]string{"TIDEOVER_BLUE_DSN": blue, "TIDEOVER_GREEN_DSN": green}, []string{"bundled"}, 0, []string{"nothing to object to"}},
		{"a mistake", map[string]string{"TIDEOVER_BLUE_DSN": blue}, []string{wrong}, 2, []string{wrong + ":", "keep[0]", `no column "owners"`, "hint:"}},
		{"no such profile", nil, []string{"bundeld"}, 2, []string{"bundled"}},
		{"no such database", map[string]string{"TIDEOVER_BLUE_DSN": "postgres://a:hidden-word@127.0.0.1:1/x"}, []string{"bundled"}, 1, []string{"blue", "hint:"}},
		{"a password on the command line", nil, []string{"bundled", "--blue", "postgres://a:hidden-word@127.0.0.1:1/x"}, 2, []string{"TIDEOVER_BLUE_DSN"}},
		{"no subcommand", nil, nil, 2, []string{"profile"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := tideover(t.Context(), t, tt.env, append([]string{"profile", "check"}, tt.args...)...)
			if o.code != tt.code {
				t.Errorf("exit code %d, want %d\n%s", o.code, tt.code, o.stderr)
			}
			for _, want := range tt.says {
				if !strings.Contains(string(o.stdout)+o.stderr, want) {
					t.Errorf("does not say %q:\n%s%s", want, o.stdout, o.stderr)
				}
			}
			if strings.Contains(string(o.stdout)+o.stderr, "hidden-word") {
				t.Error("a password is shown")
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		o := tideover(t.Context(), t, map[string]string{"TIDEOVER_BLUE_DSN": blue}, "profile", "check", wrong, "--json")
		var got struct {
			Problems []struct {
				Line  int
				Field string
			}
		}
		if err := json.Unmarshal(o.stdout, &got); err != nil || len(got.Problems) != 1 || got.Problems[0].Line == 0 || o.code != 2 {
			t.Errorf("exit code %d, %v: %s", o.code, err, o.stdout)
		}
	})
}

// TestProfileShow: what is printed is a profile that does what the built-in one does.
func TestProfileShow(t *testing.T) {
	t.Parallel()
	for _, name := range plan.Profiles() {
		o := tideover(t.Context(), t, nil, "profile", "show", name)
		if o.code != 0 || o.stderr != "" {
			t.Fatalf("%s: exit code %d\n%s", name, o.code, o.stderr)
		}
		shown, err := plan.ParseProfile("mine.yaml", o.stdout)
		if err != nil {
			t.Fatal(err)
		}
		if is, err := plan.LoadProfile(name, "."); err != nil || shown.Hash != is.Hash {
			t.Errorf("%s: another profile is printed (%v)", name, err)
		}
	}
	if o := tideover(t.Context(), t, nil, "profile", "show", "hydro"); o.code != 2 || !strings.Contains(o.stderr, "hydra") || len(o.stdout) > 0 {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}
