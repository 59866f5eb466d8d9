package router

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tideover/tideover/plan"
)

// State is the answer of GET /v1/state. Counts are since this process started.
type State struct {
	Side     plan.Side `json:"side"`
	Phase    Phase     `json:"phase"`
	Draining bool      `json:"draining"`
	Holding  bool      `json:"holding"`
	Quiet    bool      `json:"quiet"` // holding, and every write forwarded before has been answered
	Run      string    `json:"run,omitempty"`
	Term     int64     `json:"term,omitempty"`
	UntilMS  int64     `json:"until_ms,omitempty"` // time left of the drain or hold

	Terms map[string]int64 `json:"terms"` // the highest term heard of each run

	Held              int     `json:"held"`                 // wait now
	InFlight          int     `json:"in_flight"`            // writes and logins forwarded and not answered
	Logins            int     `json:"logins"`               // logins under way
	HeldTotal         int64   `json:"held_total"`           // have waited
	LongestHoldMS     int64   `json:"longest_hold_ms"`      // the longest of them
	LongestReadWaitMS float64 `json:"longest_read_wait_ms"` // the longest that introspection, discovery or keys waited in the router during a switch
	Refused           int64   `json:"refused"`              // answered 503 by the router: queue full, or waited too long
	Gone              int64   `json:"gone"`                 // the client left before its request was forwarded, or while a server was asked what is never held
	ExpiredHolds      int     `json:"expired_holds"`        // holds and drains that ended by their deadline
	Coalesced         int64   `json:"coalesced"`            // refresh requests answered with another's answer
	FencedRetries     int64   `json:"fenced_retries"`       // writes sent again after a fence had refused them
	RestartedLogins   int64   `json:"restarted_logins"`     // logins begun anew

	Canary CanaryState `json:"canary"`

	Requests int64                   `json:"requests"`
	Errors   int64                   `json:"errors"`
	Sides    map[plan.Side]SideState `json:"sides"`
}

// State is what the router does at this moment.
func (r *Router) State() State {
	st := r.gate.view()
	st.Logins = r.logins.underWay()
	st.Coalesced = r.coalescer.count()
	st.Canary = r.canary.view()
	r.stats.fill(&st)
	return st
}

// command is the body of every POST. Times are in milliseconds.
type command struct {
	Order
	DeadlineMS int64     `json:"deadline_ms"`
	WaitMS     int64     `json:"wait_ms"` // drain: until no login is under way; hold: until forwarded writes are answered
	Side       plan.Side `json:"side"`
	Share      float64   `json:"share"` // canary: of the introspections, 0 to 1
}

// Problem is the body of a refused command.
type Problem struct {
	Code    string `json:"error"` // "stale_term", "late", "busy", "not_holding", "not_quiet", "bad_request", "unauthorized" or "internal"
	Message string `json:"message"`
}

var problems = []struct {
	code string
	err  error
}{
	{"stale_term", ErrStale}, {"late", ErrLate}, {"busy", ErrBusy}, {"not_holding", ErrNotHolding}, {"not_quiet", ErrNotQuiet},
}

// controlHandler serves the control API. /metrics and /health need no token: they change nothing and hold no secret.
func (r *Router) controlHandler() http.Handler {
	api := http.NewServeMux()
	api.HandleFunc("GET /v1/state", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, r.State()) })
	api.HandleFunc("POST /v1/drain", r.command(r.drain))
	api.HandleFunc("POST /v1/hold", r.command(r.holdNow))
	api.HandleFunc("POST /v1/switch", r.command(func(_ *http.Request, c command) error { return r.gate.switchTo(c.Order, c.Side) }))
	api.HandleFunc("POST /v1/release", r.command(func(_ *http.Request, c command) error { return r.gate.release(c.Order) }))

	api.HandleFunc("POST /v1/canary", r.command(func(_ *http.Request, c command) error {
		if err := r.gate.heed(c.Order); err != nil {
			return err
		}
		r.canary.order(c.Share, milliseconds(c.DeadlineMS))
		return nil
	}))

	mux := http.NewServeMux()
	mux.Handle("/v1/", r.authenticated(api))
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.stats.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health", r.health)
	mux.HandleFunc("GET /health/{listener}", r.healthOf)
	return mux
}

func (r *Router) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		token, ok := strings.CutPrefix(in.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(token), []byte(r.config.Token)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			reply(w, http.StatusUnauthorized, Problem{"unauthorized", "the control API needs its bearer token"})
			return
		}
		next.ServeHTTP(w, in)
	})
}

func (r *Router) command(do func(*http.Request, command) error) http.HandlerFunc {
	return func(w http.ResponseWriter, in *http.Request) {
		var c command
		dec := json.NewDecoder(http.MaxBytesReader(w, in.Body, 64<<10))
		dec.DisallowUnknownFields()
		err := dec.Decode(&c)
		if err == nil && (c.Run == "" || c.Term < 1) {
			err = errors.New("run and term are needed")
		}
		if err != nil {
			reply(w, http.StatusBadRequest, Problem{"bad_request", err.Error()})
			return
		}
		if err := do(in, c); err != nil {
			r.log.Warn("command refused", "command", in.URL.Path, "run", c.Run, "term", c.Term, "error", err)
			for _, p := range problems {
				if errors.Is(err, p.err) {
					reply(w, http.StatusConflict, Problem{p.code, err.Error()})
					return
				}
			}
			reply(w, http.StatusInternalServerError, Problem{"internal", err.Error()})
			return
		}
		r.log.Info("command", "command", in.URL.Path, "run", c.Run, "term", c.Term, "side", string(r.gate.serving()))
		reply(w, http.StatusOK, r.State())
	}
}

func (r *Router) holdNow(in *http.Request, c command) error {
	if c.DeadlineMS <= 0 {
		return fmt.Errorf("deadline_ms %d: want more than 0", c.DeadlineMS)
	}
	deadline := milliseconds(c.DeadlineMS)
	answered := deadline
	if c.WaitMS > 0 {
		answered = milliseconds(c.WaitMS)
	}
	return r.gate.hold(in.Context(), c.Order, deadline, answered)
}

// drain makes new logins wait and then waits, for wait_ms at most, until none is under way.
func (r *Router) drain(in *http.Request, c command) error {
	if c.DeadlineMS <= 0 {
		return fmt.Errorf("deadline_ms %d: want more than 0", c.DeadlineMS)
	}
	if err := r.gate.drain(c.Order, milliseconds(c.DeadlineMS)); err != nil {
		return err
	}
	end := time.NewTimer(min(milliseconds(c.WaitMS), r.config.Limits.Hold))
	defer end.Stop()
	look := time.NewTicker(20 * time.Millisecond) // logins also end by becoming idle
	defer look.Stop()
	for r.logins.underWay() > 0 {
		select {
		case <-look.C:
		case <-end.C:
			return nil
		case <-in.Context().Done():
			return nil
		}
	}
	return nil
}

// milliseconds reads a time of a command. More than a day is a day: limits cap it anyway.
func milliseconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), 24*time.Hour.Milliseconds())) * time.Millisecond
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only when the caller has gone
}
