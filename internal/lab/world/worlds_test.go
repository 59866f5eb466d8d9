package world_test

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/world"
)

// alwaysRefused are the kinds of features that preflight refuses by name, and apart those that worlds are made without, so that most
// of them end equal: TestRefusedKinds has them. "ddl" is a change of blue's schema during the run.
var (
	alwaysRefused = []string{"rule", "deferrable", "deferrable key", "generated key"}
	apart         = append([]string{"ddl"}, alwaysRefused...)
)

// TestWorlds plays random worlds: 3 of 300 (TIDEOVER_WORLDS: of so many), and a slice of the rest.
func TestWorlds(t *testing.T) {
	quick.Skip(t)
	if text := os.Getenv("TIDEOVER_WORLD"); text != "" {
		r, err := world.ParseRecipe(text)
		if err != nil {
			t.Fatal(err)
		}
		playWorld(t, r)
		return
	}
	total := 300
	if text := os.Getenv("TIDEOVER_WORLDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		total = n
	}
	seeds := slice.Of(t, 3, total)
	var refused atomic.Int64
	t.Cleanup(func() { // when all of them are over
		chance := 0
		if len(seeds) < total { // of a tenth in all, a slice may have some more
			chance = 2
		}
		if n := int(refused.Load()); (n-chance)*10 > max(len(seeds), 10) {
			t.Errorf("%d of %d worlds were refused, more than a tenth", n, len(seeds))
		}
	})
	for _, n := range seeds {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			if playWorld(t, world.Recipe{Seed: uint64(n), Without: apart}) == world.Refused {
				refused.Add(1)
			}
		})
	}
}

// shrinking is how many plays go into making a failing world small.
const shrinking = 30

func playWorld(t *testing.T, r world.Recipe) world.Verdict {
	t.Helper()
	w, features := world.Generate(r)
	r.Features = features
	o, err := pair.Play(t.Context(), w)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.Blue)
	}
	t.Logf("world %d: %s in %.1fs: %s", r.Seed, o.Verdict, o.Took.Seconds(), o.Reason)
	if o.Verdict != world.Wrong {
		return o.Verdict
	}
	if os.Getenv("TIDEOVER_WORLD") == "" {
		t.Logf("before it is made small: %s\n%s", r, strings.Join(o.Findings, "\n"))
		small, smaller, err := pair.Shrink(t.Context(), r, shrinking)
		if err != nil {
			t.Error(err)
		}
		if len(smaller.Findings) > 0 {
			r, o = small, smaller
		}
	}
	if testing.Verbose() {
		w, _ := world.Generate(r)
		t.Logf("%s\n%s", w, o.Log)
	}
	t.Errorf("%s\nTIDEOVER_WORLD='%s' go test ./internal/lab/world -run TestWorlds -v", strings.Join(o.Findings, "\n"), r)
	return world.Wrong
}
