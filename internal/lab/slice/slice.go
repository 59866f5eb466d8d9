// Package slice spreads proofs that take long over ten runs. Such a proof is a numbered list (histories, kill points,
// mutants, whole upgrades). A run plays a core that never changes, and one slice of the rest; ten runs with one slice
// each have played all of it, and none of it twice.
//
// Which slice it is, the environment says: TIDEOVER_SLICE is a number from 0 to 9, or "all". Without it a test run plays
// slice 0, and go test -short the core alone. scripts/test.sh takes the number of commits modulo ten, so that ten commits
// in a row play everything; the hash of a commit would only make that likely.
//
// What is left out is never silent: the test says so, and scripts/test.sh lists it at its end (TIDEOVER_LEFT_OUT).
package slice

import (
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Count is how many slices there are.
const Count = 10

// Today is what a run plays of each list.
type Today struct {
	slice int // 0 to Count-1, all or none
}

const (
	all  = -1
	none = -2 // the core alone
)

// Parse reads TIDEOVER_SLICE. Nothing is slice 0, or in a short run the core alone.
func Parse(text string, short bool) (Today, error) {
	switch n, err := strconv.Atoi(text); {
	case text == "" && short:
		return Today{none}, nil
	case text == "":
		return Today{0}, nil
	case text == "all":
		return Today{all}, nil
	case err != nil || n < 0 || n >= Count:
		return Today{}, fmt.Errorf(`TIDEOVER_SLICE is %q; it is a number from 0 to %d, or "all"`, text, Count-1)
	default:
		return Today{n}, nil
	}
}

func (d Today) String() string {
	switch d.slice {
	case all:
		return "all"
	case none:
		return "core"
	}
	return strconv.Itoa(d.slice)
}

// Numbers are those of the list's numbers 0 to total-1 that are played: the first core ones, and of the rest every
// tenth. Lists begin in different slices, so that short ones don't all fall into the same.
func (d Today) Numbers(list string, core, total int) []int {
	h := fnv.New32a()
	h.Write([]byte(list))
	first := int(h.Sum32() % Count)
	var played []int
	for i := range total {
		if i < core || d.slice == all || (first+i)%Count == d.slice {
			played = append(played, i)
		}
	}
	return played
}

// today is what this process plays.
func today(t testing.TB) Today {
	t.Helper()
	d, err := Parse(os.Getenv("TIDEOVER_SLICE"), testing.Short())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Of says which numbers from 0 to total-1 this run plays of the list that is named after the test: the first core ones,
// and a slice of the rest. A failure prints the command that plays the same again.
func Of(t testing.TB, core, total int) []int {
	t.Helper()
	d := today(t)
	played := d.Numbers(t.Name(), core, total)
	repeatable(t, d)
	if len(played) < total {
		left := fmt.Sprintf("played %d of %d (slice %s, core %d); the rest is in the other slices", len(played), total, d, min(core, total))
		t.Log(left)
		leave(t, left)
	}
	return played
}

// Pick is what this run plays of a list of cases; see Of.
func Pick[T any](t testing.TB, core int, cases []T) []T {
	t.Helper()
	var played []T
	for _, i := range Of(t, core, len(cases)) {
		played = append(played, cases[i])
	}
	return played
}

// In leaves a whole test to the slices named, and is its first line. Short runs leave it out.
func In(t testing.TB, slices ...int) {
	t.Helper()
	d := today(t)
	played := d.slice == all
	var names []string
	for _, n := range slices {
		if n < 0 || n >= Count {
			t.Fatalf("slice.In(%d): slices are 0 to %d", n, Count-1)
		}
		played = played || n == d.slice
		names = append(names, strconv.Itoa(n))
	}
	if len(slices) == 0 {
		t.Fatal("slice.In without a slice would never run")
	}
	repeatable(t, d)
	if !played {
		left := "left to slice " + strings.Join(names, ", ")
		leave(t, left)
		t.Skip(left)
	}
}
