package plan_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/testdata"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// secret is in every value that must not be shown.
const secret = "hunter2"

func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"BLUE": "postgres://u:" + secret + "@127.0.0.1/blue", "GREEN": "host=127.0.0.1 dbname=green password=" + secret,
		"TOKEN": secret, "EMPTY": "", "SECRET_PLAIN": secret, "SECRET_URL": "http://" + secret + " %zz",

		"TIDEOVER_BLUE_DSN": "postgres://u:" + secret + "@127.0.0.1/blue", "TIDEOVER_GREEN_DSN": "postgres://u:" + secret + "@127.0.0.1/green",
		"TIDEOVER_BLUE_PUBLIC": "http://127.0.0.1:1", "TIDEOVER_BLUE_ADMIN": "http://127.0.0.1:2",
		"TIDEOVER_GREEN_PUBLIC": "http://127.0.0.1:3", "TIDEOVER_GREEN_ADMIN": "http://127.0.0.1:4",
		"TIDEOVER_ROUTER_ADMIN": "http://127.0.0.1:5", "TIDEOVER_ROUTER_TOKEN": "a$$b${TOKEN}\nversion: 7",
	}[name]
	return value, ok
}

// TestBad holds every message for the corpus of bad files against testdata/bad.
func TestBad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := archive.Files[0]
			err = parse(in.Name, in.Data)
			var all plan.Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("got %v, want plan.Errors", err)
			}
			for _, e := range all {
				if e.File != in.Name || strings.Contains(e.Error()+e.Hint(), secret) {
					t.Errorf("wrong file, or a secret shown: %v, hint: %s", e, e.Hint())
				}
			}
			got := err.Error() + "\n"
			if *update {
				archive.Files[1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func parse(name string, data []byte) error {
	if strings.HasPrefix(name, "profile") {
		_, err := plan.ParseProfile(name, data)
		return err
	}
	_, err := plan.ParseRunbook(name, data, environment)
	return err
}

// TestBytes has the files that can't stand in a text archive.
func TestBytes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, data, want string
	}{
		{"UTF-16", "\xff\xfev\x00", "x.yaml: is UTF-16"},
		{"binary", "version: 1\n\x00\x01", "x.yaml:2:1: not a text file in UTF-8"},
		{"latin 1", "name: caf\xe9\n", "x.yaml:1:1: not a text file in UTF-8"},
		{"huge", strings.Repeat("# comment\n", 30_000), "x.yaml: larger than 128 KiB"},
		{"many steps", "version: 1\nprofile: p\nblue: {dsn: a=b}\nsteps:\n" + strings.Repeat("- step: validate\n", 101), "x.yaml:5:1: steps: has 101 steps, more than 100"},
		{"only a BOM", "\ufeff", "x.yaml: is empty"},
		{"entries nested in one line", strings.Repeat("- ", 60_000), "x.yaml:1:33: nested more than 16 deep"},
		{"keys nested in one line", strings.Repeat("? ", 60_000), "x.yaml:1:33: nested more than 16 deep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := plan.ParseRunbook("x.yaml", []byte(tt.data), nil)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func demo(t *testing.T) []byte {
	t.Helper()
	data, err := testdata.Runbooks.ReadFile("runbooks/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDemo(t *testing.T) {
	t.Parallel()
	rb, err := plan.ParseRunbook("demo.yaml", append([]byte("\ufeff"), demo(t)...), environment)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range rb.Steps {
		ids = append(ids, s.ID)
		if s.Config == nil || s.Line == 0 || s.Column == 0 {
			t.Errorf("step %s: no config or place: %+v", s.ID, s)
		}
	}
	want := []string{
		"preflight", "token-lifetimes", "pause-jobs", "capture", "snapshot", "cleanup", "migrate", "cleanup-2",
		"replay", "validate", "cutover", "monitor", "retire",
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	for kind, want := range map[plan.StepKind]any{
		plan.TokenLifetimes: &plan.TokenLifetimesSpec{AccessToken: 30 * time.Minute},
		plan.Replay:         &plan.ReplaySpec{Batch: 2000, UntilLag: 100, UntilAge: 2 * time.Second, SteadyFor: 3 * time.Second, Timeout: time.Hour, Audit: 10},
		plan.Cutover:        &plan.CutoverSpec{Deadline: 20 * time.Second, DrainLogins: 2 * time.Second, Tries: 3, MaxLag: 1000, MaxTransaction: 30 * time.Second, MinDisk: 1024, CanaryShare: 0.1},
		plan.Migrate:        &plan.MigrateSpec{Target: "offline", Source: "bundled", To: "20009"},
		plan.Monitor:        &plan.MonitorSpec{For: 3 * time.Second, MaxErrorRate: 0.01},
	} {
		if diff := cmp.Diff(want, rb.Step(kind).Config); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
	if diff := cmp.Diff(plan.LockBudget{Timeout: 500 * time.Millisecond, Retry: 5 * time.Minute}, rb.Locks); diff != "" {
		t.Errorf("locks (-want +got):\n%s", diff)
	}
	// What a variable contains is a value, never YAML, and is not filled in again.
	if want := "a$$b${TOKEN}\nversion: 7"; rb.Router.Token != want || rb.Version != 1 {
		t.Errorf("token %q, version %d", rb.Router.Token, rb.Version)
	}
}

// TestHash: the hash is of the bytes, not of what the environment makes of them.
func TestHash(t *testing.T) {
	t.Parallel()
	data := demo(t)
	a, err := plan.ParseRunbook("a", data, environment)
	if err != nil {
		t.Fatal(err)
	}
	b, err := plan.ParseRunbook("b", data, func(n string) (string, bool) {
		v, ok := environment(n)
		return strings.ReplaceAll(v, "127.0.0.1", "localhost"), ok
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := plan.ParseRunbook("c", append(data, '\n'), environment)
	if err != nil {
		t.Fatal(err)
	}
	if a.Hash != b.Hash || a.Hash == c.Hash || len(a.Hash) != 64 {
		t.Errorf("hashes %s, %s, %s", a.Hash, b.Hash, c.Hash)
	}
}

// TestZeroStays: a 0 in the file is a 0, not a default.
func TestZeroStays(t *testing.T) {
	t.Parallel()
	data := strings.Replace(string(demo(t)), "drain_logins: 2s", "drain_logins: 0s\n    max_lag: 0", 1)
	rb, err := plan.ParseRunbook("x", []byte(data), environment)
	if err != nil {
		t.Fatal(err)
	}
	if c := rb.Step(plan.Cutover).Config.(*plan.CutoverSpec); c.DrainLogins != 0 || c.MaxLag != 0 {
		t.Errorf("got %+v", c)
	}
}

// TestDollar: $ is special in connection strings, URLs and paths, and nowhere else.
func TestDollar(t *testing.T) {
	t.Parallel()
	data := strings.NewReplacer(
		"dsn: ${TIDEOVER_GREEN_DSN}", `dsn: "postgres://u:a$$b@127.0.0.1/green"`,
		"drain_logins: 2s", `participants: [{name: flag, kind: sql, dsn: "${BLUE}", commit_sql: "DO $$ BEGIN $1 END $$", abort_sql: "${X}", status_sql: s}]`,
	).Replace(string(demo(t)))
	rb, err := plan.ParseRunbook("x", []byte(data), environment)
	if err != nil {
		t.Fatal(err)
	}
	p := rb.Step(plan.Cutover).Config.(*plan.CutoverSpec).Participants[0]
	sql := p.Config.(*plan.SQLSpec)
	if rb.Green.DSN != "postgres://u:a$b@127.0.0.1/green" || sql.CommitSQL != "DO $$ BEGIN $1 END $$" || sql.AbortSQL != "${X}" || p.Timeout != 5*time.Second {
		t.Errorf("got %q, %+v", rb.Green.DSN, p)
	}
}

// TestInPlace: without steps on green there need be no green.
func TestInPlace(t *testing.T) {
	t.Parallel()
	rb, err := plan.ParseRunbook("in-place.yaml", []byte(`
version: 1
profile: hydra
blue: {dsn: "${BLUE}"}
steps:
  - step: preflight
  - step: migrate
    target: live
    source: migrations
  - step: validate
  - step: monitor
    for: 10m
  - step: retire
`), environment)
	if err != nil {
		t.Fatal(err)
	}
	if !rb.InPlace() || rb.Name != "in-place" {
		t.Errorf("got %+v", rb)
	}
}

// TestDeferred: what is put off needs a retire that waits for a person.
func TestDeferred(t *testing.T) {
	t.Parallel()
	for retire, ok := range map[string]bool{"": false, "  - step: retire\n": false, "  - step: retire\n    approve: true\n": true} {
		_, err := plan.ParseRunbook("in-place.yaml", []byte(`
version: 1
profile: hydra
blue: {dsn: "${BLUE}"}
steps:
  - step: preflight
  - step: migrate
    target: live
    source: migrations
    defer: [breaks-old-server]
  - step: validate
`+retire), environment)
		if (err == nil) != ok {
			t.Errorf("with %q: %v", retire, err)
		}
	}
}

func TestLoadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "demo.yaml")
	if err := os.WriteFile(path, demo(t), 0o600); err != nil {
		t.Fatal(err)
	}
	rb, err := plan.LoadRunbook(path, environment)
	if err != nil {
		t.Fatal(err)
	}
	if rb.Path != path || rb.Resolve("migrations") != filepath.Join(dir, "migrations") || rb.Resolve("/m") != "/m" {
		t.Errorf("path %s, resolved %s", rb.Path, rb.Resolve("migrations"))
	}
	for _, path := range []string{filepath.Join(dir, "none.yaml"), dir, "/dev/zero"} {
		_, err := plan.LoadRunbook(path, environment)
		var one *plan.Error
		if !errors.As(err, &one) || one.File != path || errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// FuzzParseRunbook: no input is answered by a panic, by both or neither of runbook and error, or by a secret.
func FuzzParseRunbook(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	data, err := testdata.Runbooks.ReadFile("runbooks/demo.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		rb, err := plan.ParseRunbook("fuzz.yaml", data, environment)
		if (rb == nil) == (err == nil) {
			t.Fatalf("runbook %v, error %v", rb, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) && !strings.Contains(string(data), secret) {
			t.Fatalf("shows a secret: %v", err)
		}
		if rb != nil {
			plan.Hazards(rb, &plan.Profile{})
			_ = plan.Fit(rb, &plan.Profile{})
		}
		_, _ = plan.ParseProfile("fuzz.yaml", data)
	})
}

// TestCockroach: what can't be upgraded is said, and not that its connection string is none.
func TestCockroach(t *testing.T) {
	t.Parallel()
	env := func(name string) (string, bool) {
		if name == "TIDEOVER_BLUE_DSN" {
			return "cockroach://root:geheim@h:26257/hydra", true
		}
		return "postgres://g/oauth", true
	}
	_, err := plan.ParseRunbook("r.yaml", []byte("version: 1\nname: n\nprofile: hydra\nblue: {dsn: \"${TIDEOVER_BLUE_DSN}\"}\nsteps: [{step: preflight}]\n"), env)
	if err == nil || !strings.Contains(err.Error(), "is of CockroachDB, and only Postgres can be upgraded") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("%v", err)
	}
}
