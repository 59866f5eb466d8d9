package traffic

import "time"

// Live is what the clients see while they play. It is for a screen; the checker judges by the history alone.
type Live struct {
	Requests int64 // answered or failed, since the start
	Failed   int64 // no answer, or a server error, through the router: what is refused past it, rightly, is the checker's to tell
	Waiting  int64 // sent and not answered
	Rate     float64
	P95      time.Duration // of the last second's answers
}

// liveWindow is how far back rate and latency look.
const liveWindow = time.Second

// live counts while the recorder writes. It is used under the recorder's lock.
type live struct {
	begun, ended, failed int64
	sent                 map[int64]time.Duration
	past                 map[int64]bool // requests that went past the router
	recent               []answered
}

type answered struct{ at, took time.Duration }

func (l *live) begin(op int64, at time.Duration, way Target) {
	if l.sent == nil {
		l.sent, l.past = map[int64]time.Duration{}, map[int64]bool{}
	}
	if way != Router {
		l.past[op] = true
	}
	l.begun++
	l.sent[op] = at
}

func (l *live) end(op int64, at time.Duration, a Answer) {
	l.ended++
	if !l.past[op] && (a.Status == 0 || a.Status >= 500) {
		l.failed++
	}
	delete(l.past, op)
	l.recent = append(l.recent, answered{at, at - l.sent[op]})
	delete(l.sent, op)
	first := 0
	for first < len(l.recent) && l.recent[first].at < at-liveWindow {
		first++
	}
	l.recent = l.recent[first:]
}

// Live returns the figures now.
func (r *Recorder) Live() Live {
	r.mu.Lock()
	defer r.mu.Unlock()
	took := make([]time.Duration, 0, len(r.live.recent))
	for _, a := range r.live.recent {
		took = append(took, a.took)
	}
	return Live{
		Requests: r.live.ended, Failed: r.live.failed, Waiting: r.live.begun - r.live.ended,
		Rate: float64(len(took)) / liveWindow.Seconds(), P95: Summarize(took).P95,
	}
}

// Live returns the figures of the clients now.
func (g *Generator) Live() Live { return g.rec.Live() }
