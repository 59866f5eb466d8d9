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
		if p.learn(c.took); p.limit != c.want {
			t.Errorf("after a batch of %s: %d, want %d", c.took, p.limit, c.want)
		}
	}
	if small := newPace(3); small.least != 1 {
		t.Errorf("the least of 3 is %d", small.least)
	}
}
