package traffic

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	start := time.Now()
	p := pace{rate: 100, most: 100, looked: start}
	second := 0
	after := func(seconds int, l Live) float64 {
		for range seconds {
			second++
			p.look(start.Add(time.Duration(second)*time.Second), func() Live { return l })
			p.look(start.Add(time.Duration(second)*time.Second+time.Millisecond), func() Live { t.Error("looked twice in a second"); return l })
		}
		return p.rate
	}
	if got := after(3, Live{Rate: 100, P95: 20 * time.Millisecond}); got != 100 {
		t.Errorf("a machine that keeps up: %v", got)
	}
	if got := after(2, Live{Rate: 1, P95: 10 * time.Second}); got != 100 {
		t.Errorf("a hold: %v", got)
	}
	if got := after(1, Live{Rate: 60, P95: time.Second}); got != 70 {
		t.Errorf("a slow machine: %v", got)
	}
	if got := after(20, Live{Rate: 60, P95: time.Second}); got != 25 {
		t.Errorf("a machine that stays slow: %v", got)
	}
	if got := after(20, Live{Rate: 30, P95: 20 * time.Millisecond}); got != 100 {
		t.Errorf("a machine that is quick again: %v", got)
	}
}
