package lint_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/child"
	"github.com/tideover/tideover/internal/lint"
)

// judged are the files that were judged, without the folder.
func judged(r *lint.Report) string {
	var names []string
	for _, f := range r.Folders {
		for _, s := range f.Judged {
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, " ")
}

func rules(r *lint.Report) string {
	var names []string
	for _, f := range r.Findings {
		names = append(names, f.Rule)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// TestEarlierFilesAreRead: what they say of types counts for those that are judged, by version or by name; a file that stands by itself knows
// nothing of them.
func TestEarlierFilesAreRead(t *testing.T) {
	t.Parallel()
	dir := files(t, "1_a.sql", "-- +goose Up\nCREATE TABLE a (b varchar(20));", "2_b.sql", "-- +goose Up\nDROP TABLE x;", "3_c.sql", "-- +goose Up\nALTER TABLE a ALTER b TYPE varchar(40);")
	for _, c := range []struct {
		name   string
		o      lint.Options
		judged string
		rules  string
	}{
		{"all", lint.Options{Paths: []string{dir}}, "1_a.sql 2_b.sql 3_c.sql", "breaks-old-server loses-data"},
		{"from", lint.Options{Paths: []string{dir}, From: "2"}, "3_c.sql", ""},
		{"from the newest", lint.Options{Paths: []string{dir}, From: "3"}, "", ""},
		{"a file", lint.Options{Paths: []string{dir + "/3_c.sql"}}, "3_c.sql", ""},
		{"two files", lint.Options{Paths: []string{dir + "/3_c.sql", dir + "/2_b.sql"}}, "2_b.sql 3_c.sql", "breaks-old-server loses-data"},
		{"a file and its folder", lint.Options{Paths: []string{dir + "/3_c.sql", dir}}, "1_a.sql 2_b.sql 3_c.sql", "breaks-old-server loses-data"},
		{"files from a version on", lint.Options{Paths: []string{dir + "/3_c.sql", dir + "/2_b.sql"}, From: "2"}, "3_c.sql", ""},
		{"standard input", lint.Options{Paths: []string{"-"}, StdinName: "stdin.sql", Stdin: strings.NewReader("-- +goose Up\nALTER TABLE a ALTER b TYPE varchar(40);\n-- +goose Down\nDROP TABLE a;")},
			"stdin.sql", "breaks-old-server rewrites-table"},
		{"standard input of a tool by its name", lint.Options{Paths: []string{"-"}, StdinName: "V7__x.sql", Stdin: strings.NewReader("DROP VIEW a;")}, "V7__x.sql", "breaks-old-server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, _ := report(t, c.o)
			if judged(r) != c.judged || rules(r) != c.rules {
				t.Errorf("judged %s: %s; want %s: %s", judged(r), rules(r), c.judged, c.rules)
			}
			for _, f := range r.Findings {
				if want := filepath.Join(dir, filepath.Base(f.File)); f.File != want && c.o.Stdin == nil {
					t.Errorf("the path is %s, want %s", f.File, want)
				}
			}
		})
	}
}

// TestSingleFiles: which are read among others, which by themselves, and which are not judged.
func TestSingleFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		files  []string
		named  string
		judged string
		said   string
	}{
		{"a broken neighbour", []string{"1_a.sql", "SELEC 1;", "2_b.sql", "SELECT 1;"}, "2_b.sql", "2_b.sql", "can't be read as a whole"},
		{"dbmate's, by itself", []string{"1_a.sql", "SELEC 1;", "2_b.sql", "-- migrate:up\nSELECT 1;\n-- migrate:down\nDROP TABLE a;"}, "2_b.sql", "2_b.sql", "can't be read as a whole"},
		{"tern's, by itself", []string{"1_a.sql", "SELEC 1;", "2_b.sql", "SELECT 1;\n---- create above / drop below ----\nDROP TABLE a;"}, "2_b.sql", "2_b.sql", "can't be read as a whole"},
		{"nobody's, by its name", []string{"20240101000000_a.up.sql", "SELECT 1;"}, "20240101000000_a.up.sql", "20240101000000_a.up.sql", "can't be read as a whole"},
		{"a way back", []string{"1_a.up.sql", "SELECT 1;", "1_a.down.sql", "DROP TABLE a;"}, "1_a.down.sql", "", "takes a migration back"},
		{"a folder for each", []string{"2024-01-01-000000_a/up.sql", "SELECT 1;", "2024-01-02-000000_b/up.sql", "SELECT 1;"}, "2024-01-02-000000_b/up.sql", "2024-01-02-000000_b/up.sql", "read as diesel"},
		{"a folder for each, a way back", []string{"2024-01-01-000000_a/up.sql", "SELECT 1;", "2024-01-01-000000_a/down.sql", "DROP TABLE a;"}, "2024-01-01-000000_a/down.sql", "", "takes a migration back"},
		{"sqitch's", []string{"sqitch.plan", "a 2024-01-01T10:00:00Z A <a>\nb 2024-01-01T10:00:00Z A <a>\n", "deploy/a.sql", "SELECT 1;", "deploy/b.sql", "SELECT 1;"}, "deploy/b.sql", "deploy/b.sql", "read as sqitch"},
		{"not listed", []string{"meta/_journal.json", `{"dialect":"postgresql","entries":[{"when":1,"tag":"0001_z"}]}`, "0001_z.sql", "SELECT 1;", "0002_new.sql", "SELECT 1;"}, "0002_new.sql", "0002_new.sql", "is not one that is run by drizzle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, said := report(t, lint.Options{Paths: []string{filepath.Join(files(t, c.files...), c.named)}})
			if judged(r) != c.judged || !strings.Contains(said, c.said) || len(r.Findings) > 0 {
				t.Errorf("judged %q, said %q, found %s", judged(r), said, rules(r))
			}
		})
	}
}

// repository is a git repository with one commit, of pairs of name and text, and what runs git in it.
func repository(t *testing.T, pairs ...string) (dir string, git func(args ...string)) {
	t.Helper()
	dir = files(t, pairs...)
	git = func(args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"}, args...)...)
		c.Env = append(child.Environment(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	git("add", ".")
	git("commit", "-q", "-m", "first")
	return dir, git
}

// TestChangedSince: what this branch has added or changed, committed or not; not what has gone, nor what the other branch has done.
func TestChangedSince(t *testing.T) {
	t.Parallel()
	dir, git := repository(t, "m/1_a.sql", "CREATE TABLE a (b varchar(20));", "m/2_b.sql", "SELECT 2;", "m/3_c.sql", "SELECT 3;", "m/4_d.sql", "SELECT 4;", "m/ä 5.txt", "x")
	git("checkout", "-q", "-b", "work")
	write(t, dir, "m/2_b.sql", "SELECT 22;", "m/6_f.sql", "ALTER TABLE a ALTER b TYPE text;")
	git("add", ".")
	git("rm", "-q", "m/4_d.sql")
	git("commit", "-q", "-m", "work")
	git("checkout", "-q", "main")
	write(t, dir, "m/1_a.sql", "CREATE TABLE a (b varchar(30));")
	git("commit", "-q", "-a", "-m", "main goes on")
	git("checkout", "-q", "work")
	write(t, dir, "m/3_c.sql", "SELECT 33;", "m/7_g.sql", "DROP VIEW g;")
	for _, c := range []struct {
		name, since string
		paths       []string
		judged      string
	}{
		{"the branch", "main", []string{"m"}, "2_b.sql 3_c.sql 6_f.sql 7_g.sql"},
		{"its commit", "HEAD", []string{"m"}, "3_c.sql 7_g.sql"},
		{"of some files", "main", []string{"m/1_a.sql", "m/2_b.sql"}, "2_b.sql"},
		{"of none", "main", []string{"m/1_a.sql"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := lint.Options{Since: c.since}
			for _, p := range c.paths {
				o.Paths = append(o.Paths, filepath.Join(dir, p))
			}
			r, _ := report(t, o)
			if judged(r) != c.judged {
				t.Errorf("judged %s, want %s", judged(r), c.judged)
			}
			if got := rules(r); strings.Contains(got, "rewrites-table") {
				t.Errorf("the type in an earlier file isn't known: %s", got)
			}
		})
	}
}

// TestReadMistakes: each is named.
func TestReadMistakes(t *testing.T) {
	t.Parallel()
	dir := files(t, "1_a.sql", "SELECT 1;")
	repo, _ := repository(t, "1_a.sql", "SELECT 1;")
	for _, c := range []struct {
		name, want string
		o          lint.Options
	}{
		{"no path", "nowhere is not a folder or file", lint.Options{Paths: []string{"nowhere"}}},
		{"no version", "no migration has version 7", lint.Options{Paths: []string{dir}, From: "7"}},
		{"two folders", "name one folder", lint.Options{Paths: []string{dir, repo}, From: "1"}},
		{"no repository", dir + " is in no git repository", lint.Options{Paths: []string{dir}, Since: "main"}},
		{"no revision", "git knows no such revision", lint.Options{Paths: []string{repo}, Since: "v9"}},
		{"an option for a revision", "git knows no such revision", lint.Options{Paths: []string{repo}, Since: "--output=x"}},
		{"a version of standard input", "standard input has no version", lint.Options{Paths: []string{"-"}, From: "1"}},
		{"bad SQL", "stdin.sql:2:1: syntax error", lint.Options{Paths: []string{"-"}, StdinName: "stdin.sql", Stdin: strings.NewReader("SELECT 1;\nSELEC 2;")}},
		{"bad SQL in a file", "1_b.sql:1:1: syntax error", lint.Options{Paths: []string{filepath.Join(files(t, "1_b.sql", "SELEC 1;"), "1_b.sql")}}},
	} {
		c.o.Say = func(string) {}
		if _, err := lint.Read(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}
