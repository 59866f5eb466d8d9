package slice

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// drawn is the seed of a process that is given none.
var drawn = sync.OnceValue(func() string { return strconv.FormatInt(time.Now().UnixNano(), 10) })

// seed is what TIDEOVER_SEED says, or the process's own.
func seed() string {
	if text := os.Getenv("TIDEOVER_SEED"); text != "" {
		return text
	}
	return drawn()
}

// Chance draws what a proof leaves to chance, such as the moments of its kills: others in each run, so that runs add up.
// The seed is printed; TIDEOVER_SEED sets it. Each test draws numbers of its own from it.
func Chance(t testing.TB) *rand.Rand {
	t.Helper()
	n, err := strconv.ParseUint(seed(), 10, 64)
	if err != nil {
		t.Fatalf("TIDEOVER_SEED is %q; it is the number that a failed run has printed", seed())
	}
	t.Logf("chance draws from seed %d", n)
	h := fnv.New64a()
	h.Write([]byte(t.Name()))
	return rand.New(rand.NewPCG(n, h.Sum64()))
}
