package steps

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

// TestCallsAreTimed: each call to a participant is told, with its name and whether it failed, and nothing else of it.
func TestCallsAreTimed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("blue"), 0o600); err != nil {
		t.Fatal(err)
	}
	var told []journal.Timing
	env := &Env{Run: "run", Term: 1, Timed: func(timing journal.Timing) { told = append(told, timing) }}
	file := func(name, path string) plan.ParticipantSpec {
		return plan.ParticipantSpec{Name: name, Kind: "file", Config: &plan.FileSpec{Path: path, Blue: "blue", Green: "green"}}
	}
	list, err := env.participants("switch", []plan.ParticipantSpec{file("good", filepath.Join(dir, "a")), file("bad", filepath.Join(dir, "nowhere", "b"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		_ = p.Prepare(t.Context(), env.ticket("x"))
		_ = p.Commit(t.Context(), env.ticket("x"))
		_, _ = p.Side(t.Context(), env.ticket("x"))
		_ = p.Abort(t.Context(), env.ticket("x"))
	}
	var calls []string
	for _, x := range told {
		if x.What != journal.TimedCall || x.Step != "switch" || x.Began.IsZero() || x.Took <= 0 || (x.Name == "bad") != x.Error && x.Call != "side" {
			t.Errorf("%+v", x)
		}
		calls = append(calls, x.Name+" "+x.Call)
	}
	want := []string{"good prepare", "good commit", "good side", "good abort", "bad prepare", "bad commit", "bad side", "bad abort"}
	if !slices.Equal(calls, want) {
		t.Errorf("%q, want %q", calls, want)
	}
	env.Timed = nil // nobody wants to know
	if _, err := list[0].Side(t.Context(), env.ticket("x")); err != nil {
		t.Error(err)
	}
}
