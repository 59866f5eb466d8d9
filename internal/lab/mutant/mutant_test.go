package mutant

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program writes a module of one small program.
func program(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module program\n\ngo 1.24\n",
		"main.go": "package main\n\nfunc main() { print(sum(1, 2)) }\n\nfunc sum(a, b int) int { return a + b }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBuild(t *testing.T) {
	t.Parallel()
	dir := program(t)
	out := filepath.Join(t.TempDir(), "mutant")
	twice := Mutant{Name: "twice", Edits: []Edit{{"main.go", "a + b", "a - b"}, {"main.go", "a - b", "b - a - a"}}}
	if err := twice.Build(t.Context(), dir, ".", out); err != nil {
		t.Fatal(err)
	}
	if got, err := exec.CommandContext(t.Context(), out).CombinedOutput(); err != nil || string(got) != "0" {
		t.Errorf("the mutant prints %q, %v", got, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "main.go"))
	if err != nil || !strings.Contains(string(text), "a + b") {
		t.Errorf("the source itself was changed: %s, %v", text, err)
	}
}

// A mutant that is none must not be taken for one that was seen, nor for one that was missed.
func TestNoMutant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		edit  Edit
		stale int // places
		want  string
	}{
		{"not there", Edit{"main.go", "a * b", "a"}, 0, `main.go has 0 places that read "a * b"`},
		{"there twice", Edit{"main.go", "func", "func"}, 2, "has 2 places"},
		{"does not compile", Edit{"main.go", "a + b", "a + c"}, -1, "undefined: c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := Mutant{Name: c.name, Edits: []Edit{c.edit}}.Build(t.Context(), program(t), ".", filepath.Join(t.TempDir(), "mutant"))
			var stale *StaleError
			if errors.As(err, &stale) != (c.stale >= 0) || stale != nil && stale.Found != c.stale {
				t.Errorf("got %v", err)
			}
			if c.stale < 0 && !errors.As(err, new(*BuildError)) {
				t.Errorf("got %v, want a BuildError", err)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
				t.Errorf("got %v, want the mutant's name and %s", err, c.want)
			}
		})
	}
}

func TestPattern(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, asked, want string }{
		{"TestA", "", "^TestA$"},
		{"TestA", "TestA", "^TestA$"},
		{"TestA", "TestA/one", "^TestA$/one"},
		{"TestA/one", "TestA", "^TestA$/^one$"},
		{"TestA/one+", "/one/two", `^TestA$/^one\+$/two`},
	} {
		if got := pattern(c.name, c.asked); got != c.want {
			t.Errorf("%s asked as %q: %s, want %s", c.name, c.asked, got, c.want)
		}
	}
}
