package world_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/world"
)

// TestPending plays worlds with one of the pending kinds (TIDEOVER_KIND) beside those that are proved: it may be proved by now.
func TestPending(t *testing.T) {
	kinds, some := os.LookupEnv("TIDEOVER_KIND")
	if !some {
		t.Skip("asked for by TIDEOVER_KIND")
	}
	for kind := range strings.SplitSeq(kinds, ",") {
		without := slices.DeleteFunc(slices.Clone(pending), func(k string) bool { return k == kind })
		for seed, found := uint64(1000), 0; found < 4 && seed < 1400; seed++ {
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
				t.Logf("PENDING %s %d %s: %s %s", kind, seed, o.Verdict, strings.ReplaceAll(o.Reason, "\n", " "), strings.ReplaceAll(strings.Join(o.Findings, "; "), "\n", " "))
				t.Log(world.Recipe{Seed: seed, Features: features})
			})
		}
	}
}
