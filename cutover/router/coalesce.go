package router

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// coalescer answers equal refresh requests with one upstream request. Servers with reuse detection end the whole
// session when a refresh token comes twice; a client that retries after a lost answer, or refreshes in two threads, is
// not a thief.
//
// Equal means the same in everything that a server may look at: form fields, all headers but those of the way (see
// ofTheWay), the client's certificate. Who can send the request has the token and the client's secret, and gets what the
// server would have told them. Keys are HMACs with a key of this process; answers
// are kept in memory only, for a few seconds, only successful ones, and are zeroed when they go.
//
// A revocation that passes by puts the answers in doubt that it could contradict. Before one of those is given again
// the server is asked whether its tokens still live: given blindly it would look like authority that was revoked,
// and sent to the server the retry would look like theft.
type coalescer struct {
	window time.Duration
	most   int
	secret [32]byte

	nameless flightKey // of clients that say who they are otherwise than by a client_id

	mu      sync.Mutex
	flights map[flightKey]*flight
	shared  int64 // requests answered without an upstream request of their own
}

type flightKey [sha256.Size]byte

// flight is one upstream request and its answer.
type flight struct {
	client flightKey
	done   chan struct{} // closed when answer or err is set
	answer *answer
	err    error
	timer  *time.Timer
	// doubts counts the revocations that could contradict the answer, cleared how many of them were asked about.
	doubts, cleared int
}

// answer is a whole response in memory.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func newCoalescer(window time.Duration, most int) *coalescer {
	c := &coalescer{window: window, most: most, flights: map[flightKey]*flight{}}
	rand.Read(c.secret[:]) // never fails (crypto/rand)
	c.nameless = c.key("client", "")
	return c
}

// key is the HMAC of the parts, each with its length before it.
func (c *coalescer) key(parts ...string) flightKey {
	mac := hmac.New(sha256.New, c.secret[:])
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		mac.Write(n[:])
		mac.Write([]byte(p))
	}
	return flightKey(mac.Sum(nil))
}

// refreshKeys are the keys of a refresh request and of its client; ok is false for any other request. out is the request
// as the server gets it.
func (c *coalescer) refreshKeys(in, out *http.Request, body []byte) (request, client flightKey, ok bool) {
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("grant_type") != "refresh_token" || form.Get("refresh_token") == "" {
		return request, client, false
	}
	parts := []string{"request", out.Host, in.URL.RequestURI()}
	for _, name := range slices.Sorted(maps.Keys(out.Header)) {
		if values := out.Header[name]; !ofTheWay(name) {
			parts = append(append(parts, name, strconv.Itoa(len(values))), values...)
		}
	}
	if in.TLS != nil {
		for _, certificate := range in.TLS.PeerCertificates {
			parts = append(parts, string(certificate.Raw))
		}
	}
	request = c.key(append(parts, form.Encode())...)
	return request, c.clientKey(in, form), true
}

// ofTheWay reports whether a header says how a request has come, and not what it asks: these differ between a request and
// its retry. The client's address is among them: an answer gets lost just when a phone changes its network. User-Agent is
// not: it is the same in a retry, and servers bind sessions to it; nor are cookies, languages and idempotency keys.
func ofTheWay(name string) bool {
	switch name {
	case "Content-Length", "Date", "Expect", "Te", "Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Port", "X-Real-Ip",
		"Traceparent", "Tracestate", "Baggage", "B3", "X-Request-Id", "Request-Id", "X-Correlation-Id", "Sentry-Trace",
		"Uber-Trace-Id", "X-Amzn-Trace-Id", "X-Cloud-Trace-Context":
		return true
	}
	return strings.HasPrefix(name, "X-B3-") || strings.HasPrefix(name, "X-Datadog-")
}

func (c *coalescer) clientKey(r *http.Request, form url.Values) flightKey {
	id := form.Get("client_id")
	if user, _, ok := r.BasicAuth(); ok {
		// RFC 6749 section 2.3.1: the id is form-encoded within the header.
		if plain, err := url.QueryUnescape(user); err == nil {
			user = plain
		}
		id = user
	}
	return c.key("client", id)
}

// errNotForwarded wraps the error of a request that never reached a server: others that wait for its answer may send
// their own.
type errNotForwarded struct{ error }

func (e errNotForwarded) Unwrap() error { return e.error }

// do gives the answer to the request with this key: of an equal one that is under way or was answered within the
// window, or that of call. The answer is the caller's own copy. wait waits until its channel is closed; living asks the
// server whether the tokens of an answer still live.
func (c *coalescer) do(request, client flightKey, call func() (*answer, error), wait func(<-chan struct{}) error, living func(*answer) bool) (*answer, error) {
	for {
		c.mu.Lock()
		f := c.flights[request]
		if f == nil {
			if len(c.flights) >= c.most {
				c.mu.Unlock()
				return call()
			}
			f = &flight{client: client, done: make(chan struct{})}
			c.flights[request] = f
			c.mu.Unlock()
			return c.lead(request, f, call)
		}
		c.mu.Unlock()

		if err := wait(f.done); err != nil {
			return nil, errNotForwarded{err}
		}
		c.mu.Lock()
		a, err, doubts := f.answer.clone(), f.err, f.doubts
		doubtful := a != nil && a.status/100 == 2 && f.cleared < doubts
		if doubtful {
			c.mu.Unlock()
			if !living(a) {
				c.remove(request, f)
				continue
			}
			c.mu.Lock()
			f.cleared = max(f.cleared, doubts)
		}
		if a != nil || err != nil {
			if errors.Is(err, errQueueFull) { // there is no place for this one either
				c.mu.Unlock()
				return nil, err
			}
			if !errors.As(err, new(errNotForwarded)) {
				c.shared++
				c.mu.Unlock()
				return a, err
			}
		}
		c.mu.Unlock() // its client left while it was held, or the answer has been wiped: take its place
	}
}

func (c *coalescer) lead(request flightKey, f *flight, call func() (*answer, error)) (a *answer, err error) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		f.answer, f.err = a.clone(), err
		if a == nil && err == nil { // call panicked
			f.err = errNotForwarded{errors.New("the request was abandoned")}
		}
		close(f.done)
		if c.flights[request] != f {
			return // forgotten meanwhile: those who waited still get it, nobody after them
		}
		if err != nil || a == nil || a.status < 200 || a.status > 299 {
			delete(c.flights, request)
			return
		}
		f.timer = time.AfterFunc(c.window, func() { c.remove(request, f) })
	}()
	return call()
}

func (c *coalescer) remove(request flightKey, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[request] == f {
		delete(c.flights, request)
	}
	f.wipe()
}

// doubt puts what is kept and what is under way in doubt: of one client, and of those that did not say who they are, or of
// all with nil.
func (c *coalescer) doubt(client *flightKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.flights {
		if client == nil || f.client == *client || f.client == c.nameless {
			f.doubts++
		}
	}
}

// forget drops what is kept and what is under way: of one client, or of all with nil.
func (c *coalescer) forget(client *flightKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for request, f := range c.flights {
		if client != nil && f.client != *client {
			continue
		}
		delete(c.flights, request)
		if f.timer != nil {
			f.timer.Stop()
			f.wipe()
		}
	}
}

// wipe zeroes an answer. The caller holds mu; readers have their own copies.
func (f *flight) wipe() {
	if f.answer != nil {
		clear(f.answer.body)
		f.answer = nil
	}
}

func (a *answer) clone() *answer {
	if a == nil {
		return nil
	}
	return &answer{status: a.status, header: a.header.Clone(), body: append([]byte(nil), a.body...)}
}

func (c *coalescer) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shared
}
