package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"time"

	"github.com/tideover/tideover/plan"
)

// exchange is one request on its way through the router. It is the transport of its own reverse proxy, so that the
// side is chosen, and the waiting done, at the last moment before the request is sent.
type exchange struct {
	router   *Router
	listener *listener
	in       *http.Request
	class    Class
	newLogin bool
	arrived  time.Time
	body     []byte // read whole
	outcome  outcome
}

// rewrite makes the request that the server gets.
func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	p.Out.Header.Del("Upgrade") // nothing that an OAuth server speaks, and a tunnel could not be held
	p.Out.Header.Del("Connection")
	x.introduce(p)
	x.repeatable(p.Out.Header)
	p.Out.URL.RawQuery = p.In.URL.RawQuery // as the client sent it, also where Go would read it otherwise
}

// repeatable says which requests are sent again by the transport when a server ends a kept connection instead of
// answering: beside those of which nothing was sent, those that change nothing. net/http knows them by GET and the like, or
// by a header; an empty one is not sent. A client's own header must not have a write sent twice: servers of OAuth don't
// know it. In small letters it means the same, but not to net/http.
func (x *exchange) repeatable(h http.Header) {
	for canonical, small := range idempotent {
		if values, there := h[canonical]; there {
			delete(h, canonical)
			h[small] = values
		}
	}
	if !x.class.waits() {
		h["X-Idempotency-Key"] = []string{}
	}
}

var idempotent = map[string]string{"Idempotency-Key": "idempotency-key", "X-Idempotency-Key": "x-idempotency-key"}

// RoundTrip is the http.RoundTripper of the reverse proxy.
func (x *exchange) RoundTrip(out *http.Request) (*http.Response, error) {
	r := x.router
	if !x.class.waits() {
		return x.send(out, r.gate.serving())
	}
	if r.config.Coalesce && x.listener.name == "public" && x.in.Method == http.MethodPost &&
		x.in.URL.Path == x.listener.profile.RefreshPath {
		if request, client, ok := r.coalescer.refreshKeys(x.in, out, x.body); ok {
			return x.coalesced(out, request, client)
		}
	}
	revokes, whose, known := x.revokes()
	if revokes && known {
		r.coalescer.doubt(whose)
	}
	resp, err := x.forward(out)
	if revokes && (err != nil || resp.StatusCode < 400 || resp.StatusCode >= 500 || known) {
		r.coalescer.doubt(whose)
	}
	return resp, err
}

// revokes reports whether a request may contradict kept refresh answers, and whose they are: a client's own revocation
// those of the client, an operator's change those of all, which is nil. Logins and tokens take nothing away. Anybody can
// send what is not known to be anybody's, or asked by GET such as a logout: it counts once a server has not refused it.
func (x *exchange) revokes() (yes bool, whose *flightKey, known bool) {
	method, path := x.in.Method, x.in.URL.Path
	switch {
	case x.class == Login, method == http.MethodHead, method == http.MethodOptions, path == x.listener.profile.RefreshPath,
		x.listener.name == "admin" && first(x.in.URL.Query(), challenges) != "":
		return false, nil, false
	case method == http.MethodGet:
		return true, nil, false
	case x.listener.name == "public" && method == http.MethodPost:
		form, _ := parseForm(x.body)
		if client := x.router.coalescer.clientKey(x.in, form); client != x.router.coalescer.nameless {
			return true, &client, true
		}
		return true, nil, false
	}
	return true, nil, true
}

func (x *exchange) coalesced(out *http.Request, request, client flightKey) (*http.Response, error) {
	a, err := x.router.coalescer.do(request, client, func() (*answer, error) {
		resp, err := x.forward(out)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, x.router.config.Limits.Body))
		if err != nil {
			return nil, err
		}
		return &answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
	}, func(done <-chan struct{}) error {
		began := time.Now()
		held, err := x.router.gate.sit(x.in.Context(), x, done)
		if held {
			x.outcome.wasHeld = true
			x.outcome.held += time.Since(began)
		}
		return err
	}, func(a *answer) bool { return x.router.living(x.in.Context(), a) })
	if err != nil {
		return nil, err
	}
	if x.outcome.side == "" { // another's answer
		x.outcome.side = x.router.gate.serving()
	}
	return &http.Response{
		StatusCode: a.status, Header: a.header, Request: out, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)),
	}, nil
}

// forward takes a request that waits through the gate. A write that a fence has refused has had no effect: it is sent
// again once the switch is made or taken back.
func (x *exchange) forward(out *http.Request) (*http.Response, error) {
	g, limits := x.router.gate, x.router.config.Limits
	var refused time.Time // since when fences have refused it, with nothing held in between
	wait, cancel := context.WithTimeoutCause(x.in.Context(), limits.Wait, errWaited)
	defer cancel()
	again := 50 * time.Millisecond
	for {
		began := time.Now()
		side, waited, err := g.enter(wait, x.newLogin, x)
		if waited {
			x.outcome.wasHeld = true
			x.outcome.held += time.Since(began)
			refused = time.Time{}
		}
		if err != nil {
			return nil, errNotForwarded{err}
		}
		resp, err := x.sendGated(out, side)
		if err != nil || !fenced(resp) {
			return resp, err
		}
		if refused.IsZero() {
			refused = time.Now()
		}
		if time.Since(refused) > limits.Fenced && !g.holding() {
			return resp, nil
		}
		began = time.Now()
		err = g.pause(wait, again)
		x.outcome.wasHeld = true
		x.outcome.held += time.Since(began)
		if err != nil {
			return resp, nil // the fence's own answer: 503 and Retry-After
		}
		again = min(2*again, time.Second)
		x.router.stats.retried()
	}
}

// whole is the size up to which the answer to a write is read before it is passed on, so that a client that reads
// slowly can't keep a hold from becoming quiet.
const whole = 64 << 10

// sendGated sends a request that enter has counted, and counts it as answered when the server's part is done.
func (x *exchange) sendGated(out *http.Request, side plan.Side) (resp *http.Response, err error) {
	g := x.router.gate
	streaming := false
	defer func() {
		if !streaming {
			g.leave()
		}
	}()
	resp, err = x.send(out, side)
	if err != nil {
		return nil, err
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, whole+1))
	if err != nil {
		resp.Body.Close()
		x.outcome.answered = false
		return nil, fmt.Errorf("%s broke off its answer: %w", side, err)
	}
	if len(head) <= whole {
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(head))
		return resp, nil
	}
	streaming = true
	resp.Body = &streamed{Reader: io.MultiReader(bytes.NewReader(head), resp.Body), closer: resp.Body, leave: g.leave}
	return resp, nil
}

// streamed is the body of a long answer; the write counts as answered when it has been passed on.
type streamed struct {
	io.Reader
	closer io.Closer
	leave  func()
}

func (s *streamed) Close() error {
	if s.leave != nil {
		s.leave()
		s.leave = nil
	}
	return s.closer.Close()
}

// send sends one attempt to a side.
func (x *exchange) send(out *http.Request, side plan.Side) (*http.Response, error) {
	req := out.WithContext(out.Context()) // a copy; transports do not change headers
	to := *out.URL
	req.URL = &to
	x.listener.aim(req.URL, side)
	body := x.body
	req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, int64(len(body))
	if len(body) > 0 {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
	}
	x.outcome.side, x.outcome.forwarded = side, true
	if !x.class.waits() && x.router.gate.busy() { // what a switch could do to reads; at other times it is not worth its price
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { x.outcome.waited = time.Since(x.arrived) },
		}))
	}
	resp, err := x.router.transports[side].RoundTrip(req)
	if err != nil {
		x.outcome.answered = false
		return nil, fmt.Errorf("%s: %w", side, err)
	}
	x.outcome.answered = true
	return resp, nil
}

// fenced reports whether a server has refused a write because its database does: 503 with the OAuth error
// temporarily_unavailable (RFC 6749 section 4.1.2.1).
func fenced(resp *http.Response) bool {
	if resp.StatusCode != http.StatusServiceUnavailable {
		return false
	}
	if _, long := resp.Body.(*streamed); long {
		return false
	}
	raw, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	var body struct {
		Error string `json:"error"`
	}
	return err == nil && json.Unmarshal(raw, &body) == nil && body.Error == "temporarily_unavailable"
}

// inspect looks at an answer on its way out: it follows logins, and begins those anew that the serving side can't know.
func (x *exchange) inspect(resp *http.Response) error {
	x.outcome.status = resp.StatusCode
	if x.listener.name == "public" && x.class == Login {
		x.followBrowser(resp)
	}
	if x.listener.name == "admin" && x.class.waits() {
		x.followApp(resp)
	}
	x.sing(resp)
	x.outcome.status = resp.StatusCode
	return nil
}

// fail answers a request that has no answer of a server.
func (x *exchange) fail(w http.ResponseWriter, _ *http.Request, err error) {
	status, code, retry := http.StatusBadGateway, "server_error", ""
	what := "the server behind the router did not answer"
	switch {
	case errors.Is(err, errQueueFull), errors.Is(err, errWaited):
		status, code, retry = http.StatusServiceUnavailable, "temporarily_unavailable", "1"
		what = "please try again"
	case errors.As(err, new(errNotForwarded)), !x.class.waits() && x.in.Context().Err() != nil:
		x.outcome.gone = true // nobody reads this answer, and it says nothing about the server
	}
	if !x.outcome.gone {
		x.router.few.warn(x.router.log, what, "request not answered by a server", "listener", x.listener.name, "class", string(x.class), "error", err)
	}
	x.outcome.status = status
	refuse(w, status, retry, code, what)
}

// refuse answers a request whose body is not taken.
func (x *exchange) refuse(w http.ResponseWriter, status int) {
	x.outcome.status = status
	x.router.stats.record(x.outcome)
	if status == http.StatusServiceUnavailable {
		refuse(w, status, "1", "temporarily_unavailable", "please try again")
		return
	}
	refuse(w, status, "", "invalid_request", http.StatusText(status))
}

func refuse(w http.ResponseWriter, status int, retry, code, what string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if retry != "" {
		h.Set("Retry-After", retry)
	}
	w.WriteHeader(status)
	// Fails only when the client has gone.
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": what})
}
