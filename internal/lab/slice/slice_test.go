package slice

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Ten slices together are everything, each number outside the core is in just one of them, and the core is in all.
func TestTenSlicesAreEverything(t *testing.T) {
	t.Parallel()
	for _, list := range []string{"TestHistories", "TestFaults", "TestKilled/logical", ""} {
		for core := range 13 {
			for total := range 40 {
				times := make([]int, total)
				for n := range Count {
					d, err := Parse(strconv.Itoa(n), false)
					if err != nil {
						t.Fatal(err)
					}
					played := d.Numbers(list, core, total)
					if !slices.IsSorted(played) {
						t.Fatalf("%v is out of order", played)
					}
					for _, i := range played {
						times[i]++
					}
				}
				for i, n := range times {
					if i < core && n != Count || i >= core && n != 1 {
						t.Fatalf("list %q, core %d, total %d: number %d is played %d times in %d slices", list, core, total, i, n, Count)
					}
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text    string
		short   bool
		want    string
		numbers int // of a list of 32 with a core of 2
	}{
		{"", false, "0", 5},
		{"", true, "core", 2},
		{"7", false, "7", 5},
		{"7", true, "7", 5},
		{"all", false, "all", 32},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%q short %v", tt.text, tt.short), func(t *testing.T) {
			t.Parallel()
			d, err := Parse(tt.text, tt.short)
			if err != nil || d.String() != tt.want {
				t.Fatalf("is %v (%v), want %s", d, err, tt.want)
			}
			if n := len(d.Numbers("list", 2, 32)); n != tt.numbers {
				t.Errorf("plays %d of 32, want %d", n, tt.numbers)
			}
		})
	}
	for _, text := range []string{"10", "-1", "some", "1.5"} {
		if _, err := Parse(text, false); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// What a test leaves out is told, and a failure tells how to repeat it.
func TestLeftOutIsTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "left-out")
	t.Setenv("TIDEOVER_LEFT_OUT", file)
	t.Setenv("TIDEOVER_SLICE", "3")
	var skipped bool
	t.Run("whole", func(t *testing.T) {
		t.Cleanup(func() { skipped = t.Skipped() })
		In(t, 4, 8)
		t.Error("slice 3 plays what is left to 4 and 8")
	})
	if !skipped {
		t.Error("a test that was left out counts as passed")
	}
	played := Pick(t, 1, []string{"a", "b", "c"})
	if len(played) == 0 || played[0] != "a" {
		t.Errorf("plays %v: not the core", played)
	}
	told, err := os.ReadFile(file)
	if !testing.Short() {
		for _, want := range []string{"internal/lab/slice TestLeftOutIsTold/whole: left to slice 4, 8\n", "internal/lab/slice TestLeftOutIsTold: played "} {
			if err != nil || !strings.Contains(string(told), want) {
				t.Errorf("%q is not told (%v):\n%s", want, err, told)
			}
		}
	}
	if got := Command("TestX/one", "TIDEOVER_SLICE=3"); !strings.HasPrefix(got, "TIDEOVER_SLICE=3 go test -count 1 ") || !strings.HasSuffix(got, "-run '^TestX$/^one$' ./internal/lab/slice") {
		t.Errorf("the command to repeat a test is %s", got)
	}
}

// The same seed gives the same chance, and each test its own.
func TestChance(t *testing.T) {
	t.Setenv("TIDEOVER_SEED", "7")
	first, again := Chance(t).Uint64(), Chance(t).Uint64()
	if first != again {
		t.Errorf("seed 7 gives %d, then %d", first, again)
	}
	t.Run("other", func(t *testing.T) {
		if Chance(t).Uint64() == first {
			t.Error("two tests draw the same")
		}
	})
}
