package replay

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	p := newPace(2000)
	for _, c := range []struct {
		took time.Duration
		want int
	}{
		{100 * time.Millisecond, 4000}, {100 * time.Millisecond, 8000}, {time.Second, 8000}, {100 * time.Millisecond, 16000},
		{100 * time.Millisecond, 20000}, {100 * time.Millisecond, 20000}, {3 * time.Second, 10000}, {time.Minute, 5000},
		{time.Minute, 2500}, {time.Minute, 1250}, {time.Minute, 625}, {time.Minute, 312}, {time.Minute, 200}, {time.Minute, 200},
	} {
		if p.learn(int64(p.limit), c.took); p.limit != c.want {
			t.Errorf("after a batch of %s: %d, want %d", c.took, p.limit, c.want)
		}
	}
	if small := newPace(3); small.least != 1 {
		t.Errorf("the least of 3 is %d", small.least)
	}
}

// On a machine where a batch takes own + each × changes, the size must settle where it brings as much as any size does
// within the time that a batch may take.
func TestPaceOnSlowMachines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		own, each time.Duration
		atLeast   float64 // changes a second, once settled
		longest   time.Duration
	}{
		{"idle", 50 * time.Millisecond, 100 * time.Microsecond, 5000, 3 * time.Second},
		{"each batch costs much", 1500 * time.Millisecond, 200 * time.Microsecond, 700, 3 * time.Second},
		{"each batch costs very much", 4 * time.Second, 200 * time.Microsecond, 400, 5 * time.Second},
		{"each change costs much", 20 * time.Millisecond, 5 * time.Millisecond, 150, 3 * time.Second},
		{"nothing goes", 30 * time.Second, 100 * time.Millisecond, 0, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPace(2000)
			var changes int
			var took, longest time.Duration
			for i := range 200 {
				last := c.own + time.Duration(p.limit)*c.each
				if i >= 100 {
					changes, took, longest = changes+p.limit, took+last, max(longest, last)
				}
				p.learn(int64(p.limit), last)
			}
			if rate := float64(changes) / took.Seconds(); rate < c.atLeast || longest > c.longest {
				t.Errorf("%.0f changes a second, the longest batch took %s; want at least %.0f, and %s at most", rate, longest, c.atLeast, c.longest)
			}
		})
	}
}

// A burst of load that has made batches small must not keep them so where a batch costs much of its own.
func TestPaceAfterABurst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		own, each time.Duration
		atLeast   float64 // changes a second, in the end
	}{
		{"each batch costs much", 3 * time.Second, 300 * time.Microsecond, 400},
		{"each change costs much", 20 * time.Millisecond, 5 * time.Millisecond, 150},
	} {
		p := newPace(2000)
		for range 20 {
			p.learn(int64(p.limit), time.Minute)
		}
		var changes int
		var took time.Duration
		for i := range 120 {
			last := c.own + time.Duration(p.limit)*c.each
			if i >= 60 {
				changes, took = changes+p.limit, took+last
			}
			p.learn(int64(p.limit), last)
		}
		if rate := float64(changes) / took.Seconds(); rate < c.atLeast {
			t.Errorf("%s: %.0f changes a second; want at least %.0f", c.name, rate, c.atLeast)
		}
	}
}
