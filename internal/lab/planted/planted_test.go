package planted

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
)

const module = "github.com/tideover/tideover"

// production says which packages run in it: not the laboratory, and not what helps tests, such as journaltest.
func production(pkg string) bool {
	for _, other := range []string{"/internal/lab", "/e2e", "/tools"} {
		if rest, found := strings.CutPrefix(pkg, module+other); found && (rest == "" || rest[0] == '/') {
			return false
		}
	}
	return !strings.HasSuffix(pkg, "test")
}

// Nothing is planted in production code for a test.
func TestNothingIsPlanted(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	all, err := Load(t.Context(), "../../..", "container,hydra")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d packages were looked at", len(all))
	}
	found := make(map[string]bool)
	for _, f := range Find(all, production) {
		name := f.Package + "." + f.Name
		found[name] = true
		if seams[name] == "" {
			t.Error(f)
		}
	}
	for name := range seams {
		if !found[name] {
			t.Errorf("%s is no seam any more", name)
		}
	}
}

// seams are fields of production that the laboratory alone sets, and why they are there all the same.
var seams = map[string]string{
	module + "/steps.Options.Pin": "a rehearsal keeps green as it was at the switch, for the oracle",
}

// Each kind of plant is found, and what looks like one is not taken for one.
func TestFind(t *testing.T) {
	t.Parallel()
	for _, c := range quick.First(t, 3, []struct {
		name, source, test string
		want               string // the finding's name and what it is; "" is none
	}{
		{"a switch", `type Engine struct{ skip bool }
func (e *Engine) Run() int { if e.skip { return 0 }; return 1 }`,
			`func TestRun(t *testing.T) { e := &Engine{}; e.skip = true; e.Run() }`, "Engine.skip is a field that only tests set"},
		{"a struct of switches", `type hooks struct{ at func(string) error }
type Engine struct{ hooks hooks }
func (e *Engine) Run() error { return e.hooks.at("begin") }`,
			`func TestRun(t *testing.T) { e := &Engine{hooks: hooks{at: func(string) error { return nil }}}; _ = e.Run() }`, "hooks.at is a field that only tests set; Engine.hooks is a field that only tests set"},
		{"set without a name", `type engine struct{ skip bool }
func (e engine) Run() bool { return e.skip }`,
			`func TestRun(t *testing.T) { engine{true}.Run() }`, "engine.skip is a field that only tests set"},
		{"set through its address", `type engine struct{ skip bool }
func (e *engine) Run() bool { return e.skip }`,
			`func TestRun(t *testing.T) { var e engine; p := &e.skip; *p = true; e.Run() }`, "engine.skip is a field that only tests set"},
		{"of a generic type", `type engine[T any] struct{ skip bool }
func (e *engine[T]) Run() bool { return e.skip }`,
			`func TestRun(t *testing.T) { e := engine[int]{skip: true}; e.Run() }`, "engine.skip is a field that only tests set"},
		{"a variable", `import "time"
var now = time.Now
func Run() time.Time { return now() }`,
			`import "time"
func TestRun(t *testing.T) { now = func() time.Time { return time.Time{} }; Run() }`, "now is a variable that only tests set"},
		{"a function", `func Run() {}
func runBackwards() {}`,
			`func TestRun(t *testing.T) { runBackwards() }`, "runBackwards is a function that only tests call"},

		{"production sets it too", `type engine struct{ skip bool }
func New(skip bool) *engine { return &engine{skip: skip} }
func (e *engine) Run() bool { return e.skip }`,
			`func TestRun(t *testing.T) { e := New(false); e.skip = true; e.Run() }`, ""},
		{"useful when zero", `import "sync"
type engine struct{ mu sync.Mutex; n int }
func (e *engine) Run() { e.mu.Lock(); defer e.mu.Unlock(); e.n++ }`,
			`func TestRun(t *testing.T) { var e engine; e.mu.Lock(); e.mu.Unlock(); e.n = 1; e.Run() }`, ""},
		{"filled by a scan", `import "fmt"
type engine struct{ n int }
func Run() int { var e engine; fmt.Sscan("1", &e.n); return e.n }`,
			`func TestRun(t *testing.T) { e := engine{n: 1}; _ = e }`, ""},
		{"called through an interface", `type runner interface{ run() }
type engine struct{}
func (engine) run() {}
func Run() { var r runner = engine{}; r.run() }`,
			`func TestRun(t *testing.T) { engine{}.run() }`, ""},
	}) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, text := range map[string]string{
				"go.mod":         "module m\n\ngo 1.26\n",
				"engine.go":      "package m\n\n" + c.source + "\n",
				"engine_test.go": "package m\n\nimport \"testing\"\n" + c.test + "\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			all, err := Load(t.Context(), dir, "")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range Find(all, func(path string) bool { return path == "m" }) {
				got = append(got, f.Name+" is "+f.What)
				if !strings.HasSuffix(f.At.Filename, "engine.go") || !strings.HasSuffix(f.By.Filename, "engine_test.go") {
					t.Errorf("declared at %s, set at %s", f.At, f.By)
				}
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
