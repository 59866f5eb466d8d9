package router

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tideover/tideover/plan"
)

// stats counts what passes the router, for the control API and for Prometheus. A request's latency is the server's:
// the time for which the router held it is counted apart.
type stats struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	hold     prometheus.Histogram

	mu        sync.Mutex
	counters  map[series]prometheus.Counter
	observers map[series]prometheus.Observer
	bySide    map[plan.Side]*sideStats
	held      int64
	longest   time.Duration
	read      time.Duration // the longest that a request which is never held waited for its turn
	refused   int64         // not forwarded: queue full, or waited too long
	gone      int64         // the client left while it was held, or a server was asked something that is never held
	again     int64         // attempts that a fence had refused and that were sent again
	restart   int64         // logins begun anew
}

type sideStats struct {
	requests, errors, unreachable int64
	latency                       *hdrhistogram.Histogram // microseconds
}

// SideState is what one side has answered since the router started. Errors are answers of 500 and above, and requests
// that got no answer at all (Unreachable).
type SideState struct {
	Requests    int64   `json:"requests"`
	Errors      int64   `json:"errors"`
	Unreachable int64   `json:"unreachable"`
	P50MS       float64 `json:"p50_ms"`
	P95MS       float64 `json:"p95_ms"`
	P99MS       float64 `json:"p99_ms"`
}

func newStats() *stats {
	s := &stats{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tideover_router_requests_total", Help: "Requests answered, by listener, class, side and status.",
		}, []string{"listener", "class", "side", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tideover_router_upstream_seconds", Help: "Time that the server took, without the time for which the router held the request.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30},
		}, []string{"class", "side"}),
		hold: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tideover_router_hold_seconds", Help: "Time for which held requests waited.",
			Buckets: []float64{.01, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60},
		}),
		bySide: map[plan.Side]*sideStats{}, counters: map[series]prometheus.Counter{}, observers: map[series]prometheus.Observer{},
	}
	for _, side := range []plan.Side{plan.Blue, plan.Green} {
		s.bySide[side] = &sideStats{latency: hdrhistogram.New(1, time.Minute.Microseconds(), 3)}
	}
	s.registry.MustRegister(s.requests, s.latency, s.hold)
	return s
}

// expose adds what other parts of the router count.
func (s *stats) expose(r *Router) {
	gauge := func(name, help string, f func(State) float64) {
		s.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return f(r.State()) }))
	}
	counter := func(name, help string, f func(State) float64) {
		s.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return f(r.State()) }))
	}
	gauge("tideover_router_green", "1 while green serves, 0 while blue does.", func(st State) float64 { return truth(st.Side == plan.Green) })
	gauge("tideover_router_holding", "1 while writes and logins wait.", func(st State) float64 { return truth(st.Holding) })
	gauge("tideover_router_held", "Requests that wait now.", func(st State) float64 { return float64(st.Held) })
	gauge("tideover_router_logins", "Logins under way.", func(st State) float64 { return float64(st.Logins) })
	gauge("tideover_router_hold_max_seconds", "The longest wait of a request since the start.", func(st State) float64 { return float64(st.LongestHoldMS) / 1000 })
	gauge("tideover_router_read_wait_max_seconds", "The longest time that introspection, discovery or keys waited within the router during a switch, since the start.", func(st State) float64 { return st.LongestReadWaitMS / 1000 })
	counter("tideover_router_coalesced_total", "Refresh requests answered with another's answer.", func(st State) float64 { return float64(st.Coalesced) })
	counter("tideover_router_refused_total", "Requests that the router answered by 503: queue full, or waited too long.", func(st State) float64 { return float64(st.Refused) })
	counter("tideover_router_fenced_retries_total", "Writes sent again after a fence had refused them.", func(st State) float64 { return float64(st.FencedRetries) })
	counter("tideover_router_restarted_logins_total", "Logins begun anew because their side serves no more.", func(st State) float64 { return float64(st.RestartedLogins) })
	counter("tideover_router_expired_holds_total", "Holds and drains that ended by their deadline.", func(st State) float64 { return float64(st.ExpiredHolds) })
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// outcome is what became of one request.
type outcome struct {
	listener  string
	class     Class
	side      plan.Side
	status    int
	took      time.Duration // without held
	wasHeld   bool
	held      time.Duration
	waited    time.Duration // never held: from its arrival to its connection to a server
	forwarded bool          // a server was asked
	answered  bool          // and answered
	gone      bool          // the client left before it was forwarded, or, where it is never held, before it was answered
}

func (s *stats) record(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.wasHeld {
		s.held++
		s.longest = max(s.longest, o.held)
		s.hold.Observe(o.held.Seconds())
	}
	if o.gone {
		s.gone++
		return
	}
	s.counter(o).Inc()
	if !o.forwarded {
		if o.status == http.StatusServiceUnavailable {
			s.refused++
		}
		return
	}
	side := s.bySide[o.side]
	side.requests++
	if o.status >= 500 {
		side.errors++
	}
	if !o.answered {
		side.unreachable++
		return
	}
	s.read = max(s.read, o.waited)
	s.observer(o).Observe(o.took.Seconds())
	// Only a value outside the histogram fails, and this one is cut to it.
	_ = side.latency.RecordValue(min(max(o.took.Microseconds(), 1), time.Minute.Microseconds()))
}

// series is what a request's own counters and histogram are found by: looking them up by label names costs more than
// the rest of the bookkeeping.
type series struct {
	listener string
	class    Class
	side     plan.Side
	status   int
}

// counter counts answers. The caller holds mu.
func (s *stats) counter(o outcome) prometheus.Counter {
	key := series{o.listener, o.class, o.side, o.status}
	c := s.counters[key]
	if c == nil {
		c = s.requests.WithLabelValues(o.listener, string(o.class), string(o.side), strconv.Itoa(o.status))
		s.counters[key] = c
	}
	return c
}

// observer takes latencies. The caller holds mu.
func (s *stats) observer(o outcome) prometheus.Observer {
	key := series{class: o.class, side: o.side}
	h := s.observers[key]
	if h == nil {
		h = s.latency.WithLabelValues(string(o.class), string(o.side))
		s.observers[key] = h
	}
	return h
}

func (s *stats) retried() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again++
}

func (s *stats) restarted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restart++
}

func (s *stats) fill(st *State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.LongestHoldMS = s.longest.Milliseconds()
	st.LongestReadWaitMS = float64(s.read.Microseconds()) / 1000
	st.HeldTotal, st.Refused, st.Gone = s.held, s.refused, s.gone
	st.FencedRetries, st.RestartedLogins = s.again, s.restart
	st.Sides = map[plan.Side]SideState{}
	for side, x := range s.bySide {
		ms := func(q float64) float64 { return float64(x.latency.ValueAtQuantile(q)) / 1000 }
		st.Sides[side] = SideState{
			Requests: x.requests, Errors: x.errors, Unreachable: x.unreachable,
			P50MS: ms(50), P95MS: ms(95), P99MS: ms(99),
		}
		st.Requests += x.requests
		st.Errors += x.errors
	}
	st.Requests += s.refused
	st.Errors += s.refused
}
