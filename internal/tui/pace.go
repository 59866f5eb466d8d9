package tui

import "time"

// The window that a rate is taken over, and what an ETA needs before it is shown: a rate over less says little.
const (
	paceWindow  = 30 * time.Second
	paceLeast   = 2 * time.Second
	etaFromPart = 0.01
)

// pace is how fast a step goes.
type pace struct {
	samples []sample // oldest first
}

type sample struct {
	at   time.Time
	done int64
}

// add takes a sample. A step that begins again counts from there.
func (p pace) add(at time.Time, done int64) pace {
	if n := len(p.samples); n > 0 && done < p.samples[n-1].done {
		p.samples = nil
	}
	first := 0
	for first < len(p.samples)-1 && at.Sub(p.samples[first].at) > paceWindow {
		first++
	}
	p.samples = append(append([]sample(nil), p.samples[first:]...), sample{at, done})
	return p
}

// rate is units a second; 0 while it is not known.
func (p pace) rate() float64 {
	if len(p.samples) < 2 {
		return 0
	}
	first, last := p.samples[0], p.samples[len(p.samples)-1]
	if took := last.at.Sub(first.at); took >= paceLeast {
		return float64(last.done-first.done) / took.Seconds()
	}
	return 0
}

// eta is how long the rest takes at this rate; false while nobody can tell.
func (p pace) eta(total int64) (time.Duration, bool) {
	rate := p.rate()
	if rate <= 0 || total <= 0 {
		return 0, false
	}
	done := p.samples[len(p.samples)-1].done
	if done >= total || float64(done) < etaFromPart*float64(total) {
		return 0, false
	}
	left := float64(total-done) / rate
	if left > (100 * time.Hour).Seconds() {
		return 0, false
	}
	return time.Duration(left * float64(time.Second)), true
}
