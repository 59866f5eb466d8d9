package traffic

import "time"

// pace is how many requests a second the clients offer: fewer where the machine does not keep up, so that a slow machine makes a
// slower rehearsal and not a red one.
type pace struct {
	rate, most float64
	looked     time.Time
}

const (
	paceEvery = time.Second
	slow      = 400 * time.Millisecond // p95 of the last second, above which fewer are offered
	leastPace = 0.25                   // of what was configured
)

// look adapts the rate to what the last second was like. A hold is no sign of a slow machine: hardly anything is answered in it.
func (p *pace) look(now time.Time, live func() Live) {
	if now.Sub(p.looked) < paceEvery {
		return
	}
	p.looked = now
	l := live()
	switch enough := l.Rate > p.rate/10; {
	case enough && l.P95 > slow:
		p.rate = max(p.rate*0.7, p.most*leastPace)
	case l.P95 <= slow:
		p.rate = min(p.rate*1.1, p.most)
	}
}
