package authserver

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is one server's figures: the process, the Go runtime, and how long requests take.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	hashes   *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "authserver_request_duration_seconds",
		Help:    "How long requests took, by listener, method, path and status.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"listener", "method", "path", "code"}), hashes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authserver_secret_hashes_total",
		Help: "How many client secrets were hashed to compare them, of clients that are known and of names that nobody has.",
	}, []string{"client"})}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.requests, m.hashes)
	return m
}

// hashed counts a hash for a client that is "known" or "unknown".
func (m *metrics) hashed(kind string) { m.hashes.WithLabelValues(kind).Inc() }

// observe counts a request under the pattern that matched it, so that strangers' paths make no new series.
func (m *metrics) observe(listener string, r *http.Request, status int, took time.Duration) {
	path, method := "other", r.Method
	if r.Pattern != "" {
		_, path, _ = strings.Cut(r.Pattern, " ")
	}
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodOptions:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(listener, method, path, strconv.Itoa(status)).Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
