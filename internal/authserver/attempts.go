package authserver

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// attempts bounds what wrong secrets cost: each client at each address has some tries in hand, gets one back after a
// while, and those that it may make wait in a line of bounded length for one of a few places. A right secret costs no
// try.
type attempts struct {
	places, line chan struct{}
	hand         float64       // tries that each has to begin with
	every        time.Duration // until one more
	mu           sync.Mutex
	tries        map[[sha256.Size]byte]bucket
}

type bucket struct {
	left  float64
	since time.Time
}

const (
	triesInHand = 10
	tryAgain    = 2 * time.Second // until one more try
	mostBuckets = 10_000
)

func newAttempts(places, line int) *attempts {
	return &attempts{places: make(chan struct{}, places), line: make(chan struct{}, line), hand: triesInHand, every: tryAgain,
		tries: map[[sha256.Size]byte]bucket{}}
}

func (a *attempts) at(b bucket, now time.Time) bucket {
	return bucket{left: min(a.hand, b.left+now.Sub(b.since).Seconds()/a.every.Seconds()), since: now}
}

// take uses a try, where there is one.
func (a *attempts) take(who string, now time.Time) bool {
	key := sha256.Sum256([]byte(who))
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.tries[key]
	if !ok {
		a.makeRoom(now)
		b = bucket{left: a.hand, since: now}
	}
	if b = a.at(b, now); b.left >= 1 {
		b.left--
		ok = true
	} else {
		ok = false
	}
	a.tries[key] = b
	return ok
}

// giveBack returns a try that was no wrong secret.
func (a *attempts) giveBack(who string) {
	key := sha256.Sum256([]byte(who))
	a.mu.Lock()
	defer a.mu.Unlock()
	if b, ok := a.tries[key]; ok {
		b.left = min(a.hand, b.left+1)
		a.tries[key] = b
	}
}

// makeRoom forgets who has all tries in hand; where nobody has, everybody begins anew, which costs less than a map that
// grows for ever.
func (a *attempts) makeRoom(now time.Time) {
	if len(a.tries) < mostBuckets {
		return
	}
	for key, b := range a.tries {
		if a.at(b, now).left >= a.hand {
			delete(a.tries, key)
		}
	}
	if len(a.tries) >= mostBuckets {
		clear(a.tries)
	}
}

// turn runs f in one of the places.
func (a *attempts) turn(ctx context.Context, f func() error) error {
	select {
	case a.line <- struct{}{}:
		defer func() { <-a.line }()
	default:
		return errTooMany
	}
	select {
	case a.places <- struct{}{}:
		defer func() { <-a.places }()
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}
