package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tideover/tideover/cmd"
	"github.com/tideover/tideover/internal/child"
)

// TestSQLLintSilences: what a comment or --allow accepts doesn't fail, what accepts nothing is named and doesn't fail either.
func TestSQLLintSilences(t *testing.T) {
	t.Parallel()
	dir := migrations(t, "1_a.sql", firstFile, "2_b.sql", "-- +goose Up\n-- tideover:allow loses-data,opaque it is empty\nDROP TABLE g;\n")
	out, errs, code := sqlCommand(t, "lint", dir, "--allow", "breaks-old-server", "--allow", "unknown")
	if code != cmd.ExitDone || !strings.Contains(out, "2_b.sql:3:1: loses-data: DROP removes table g [allowed: it is empty]") ||
		!strings.Contains(out, "2_b.sql:2:1: unused-silence: tideover:allow opaque accepts nothing") || !strings.Contains(errs, "--allow unknown accepts nothing") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	if _, errs, code := sqlCommand(t, "lint", dir, "--from", "1", "--allow", "breaks-old-server", "--allow", "unknown"); code != cmd.ExitDone || strings.Contains(errs, "accepts nothing") {
		t.Errorf("%d: %s", code, errs)
	}
	if _, errs, code := sqlCommand(t, "rewrite", dir, "--diff"); code != cmd.ExitUsage || !strings.Contains(errs, "loses-data") {
		t.Errorf("a comment allows rewrite what --allow must: %d: %s", code, errs)
	}
	bad := migrations(t, "1_a.sql", "-- tideover:allow everything\nSELECT 1;")
	if _, errs, code := sqlCommand(t, "lint", bad); code != cmd.ExitUsage || !strings.Contains(errs, bad+"/1_a.sql:1:1: tideover:allow everything") {
		t.Errorf("%d: %s", code, errs)
	}
}

var command = regexp.MustCompile(`(?m)(?:run: |exec |- |entry: )(tideover sql lint.*)$`)

// TestCIFiles: the files of docs/ci are of their formats, and their commands find what a branch adds, and nothing else.
func TestCIFiles(t *testing.T) {
	list, err := filepath.Glob("../docs/ci/*")
	if err != nil || len(list) != 4 {
		t.Fatalf("%v %v", list, err)
	}
	texts := map[string]string{}
	for _, name := range list {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = string(b)
	}
	t.Chdir(t.TempDir())
	if err := os.Mkdir("migrations", 0o700); err != nil {
		t.Fatal(err)
	}
	save := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		c := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"}, args...)...)
		c.Env = child.Environment()
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	save("migrations/1_a.sql", firstFile+"DROP TABLE old;\n")
	git("init", "-q", "-b", "main")
	git("add", ".")
	git("commit", "-q", "-m", "first")
	git("update-ref", "refs/remotes/origin/main", "HEAD")
	save("migrations/2_b.sql", "-- +goose Up\nCREATE INDEX i ON a (b);\n")
	t.Setenv("GIT_DIR", ".git") // as a hook may find them
	t.Setenv("GIT_INDEX_FILE", ".git/index")
	for name, text := range texts {
		var v any
		if strings.HasSuffix(name, "l") {
			if err := yaml.Unmarshal([]byte(text), &v); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		m := command.FindAllStringSubmatch(text, -1)
		if len(m) != 1 {
			t.Fatalf("%s has %d commands", name, len(m))
		}
		line, _, _ := strings.Cut(m[0][1], " > ")
		args := strings.Fields(strings.NewReplacer(`"`, "", "$BASE", "main", "$CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main").Replace(line))[2:]
		if strings.Contains(text, "entry:") {
			args = append(args, "migrations/2_b.sql")
		}
		out, errs, code := sqlCommand(t, args...)
		if code != cmd.ExitDone || !strings.Contains(out, "2_b.sql") || strings.Contains(out, "1_a.sql") {
			t.Errorf("%s: %s: exit code %d: %s%s", name, line, code, out, errs)
		}
		save("migrations/3_c.sql", "-- +goose Up\nDROP TABLE g;\n")
		if strings.Contains(text, "entry:") {
			args[len(args)-1] = "migrations/3_c.sql"
		}
		if out, errs, code := sqlCommand(t, args...); code != cmd.ExitFailed {
			t.Errorf("%s: %s: exit code %d: %s%s", name, line, code, out, errs)
		}
		if err := os.Remove("migrations/3_c.sql"); err != nil {
			t.Fatal(err)
		}
	}
}
