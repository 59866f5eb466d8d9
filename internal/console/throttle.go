package console

import (
	"sync"
	"time"
)

// throttle slows down who guesses passwords: each person and each address has some wrong ones in hand, and gets more with
// time. A right one costs nothing. Strangers who use up a person's tries do not lock them out of a browser in which they
// have logged in before: that has tries of its own.
type throttle struct {
	now  func() time.Time
	mu   sync.Mutex
	left map[pace]map[digest]bucket
}

type bucket struct {
	left  float64
	since time.Time
}

// pace is how many tries there are in hand, and how long it takes to one more.
type pace struct {
	hand  float64
	every time.Duration
}

var (
	pacePerson  = pace{10, 30 * time.Second}
	paceDevice  = pace{10, 29 * time.Second} // a map of its own
	paceAddress = pace{40, 5 * time.Second}
	paceCode    = pace{20, 15 * time.Second} // codes of devices, by address
)

const mostBuckets = 20_000

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, left: map[pace]map[digest]bucket{pacePerson: {}, paceDevice: {}, paceAddress: {}, paceCode: {}}}
}

func (p pace) at(b bucket, now time.Time) bucket {
	return bucket{min(p.hand, b.left+now.Sub(b.since).Seconds()/p.every.Seconds()), now}
}

// take uses a try, where there is one.
func (t *throttle) take(p pace, who string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, key, all := t.now(), digestOf(who), t.left[p]
	b, ok := all[key]
	if !ok {
		if len(all) >= mostBuckets {
			for k, old := range all {
				if p.at(old, now).left >= p.hand {
					delete(all, k)
				}
			}
			if len(all) >= mostBuckets {
				clear(all)
			}
		}
		b = bucket{p.hand, now}
	}
	b = p.at(b, now)
	ok = b.left >= 1
	if ok {
		b.left--
	}
	all[key] = b
	return ok
}

// giveBack returns a try that was no wrong password.
func (t *throttle) giveBack(p pace, who string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b, ok := t.left[p][digestOf(who)]; ok {
		b.left = min(p.hand, b.left+1)
		t.left[p][digestOf(who)] = b
	}
}
