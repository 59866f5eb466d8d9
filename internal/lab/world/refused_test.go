package world_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/world"
)

// TestRefusedKinds: worlds with what can't be brought over are refused before the copy, or end equal where nothing of it is captured.
// TIDEOVER_KIND plays worlds with other kinds, separated by commas.
func TestRefusedKinds(t *testing.T) {
	quick.Skip(t)
	kinds := apart
	each := 1
	if text, some := os.LookupEnv("TIDEOVER_KIND"); some {
		kinds, each = strings.Split(text, ","), 4
	}
	rng := slice.Chance(t)
	for _, kind := range kinds {
		// What is written beside the profile is refused late, whatever else there is.
		without := append(slices.DeleteFunc(slices.Clone(apart), func(k string) bool { return k == kind }), "not in the profile")
		found := 0
		for seed := rng.Uint64N(1 << 20); found < each; seed++ {
			_, features := world.Generate(world.Recipe{Seed: seed, Without: without})
			if !slices.ContainsFunc(features, func(f string) bool { return f == kind || strings.HasSuffix(f, "/"+kind) }) {
				continue
			}
			found++
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				w, features := world.Generate(world.Recipe{Seed: seed, Without: without})
				o, err := pair.Play(t.Context(), w)
				if err != nil {
					t.Fatalf("%d: %v", seed, err)
				}
				t.Logf("world %d: %s: %s", seed, o.Verdict, o.Reason)
				if o.Verdict == world.Wrong || o.Verdict == world.Refused && !o.Early && slices.Contains(alwaysRefused, kind) {
					t.Errorf("%s: %s\n%s\nTIDEOVER_WORLD='%s' go test ./internal/lab/world -run TestWorlds -v", o.Verdict, o.Reason, strings.Join(o.Findings, "\n"), world.Recipe{Seed: seed, Features: features})
				}
			})
		}
	}
}
