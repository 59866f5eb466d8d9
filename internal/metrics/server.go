package metrics

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tideover/tideover/internal/httpserve"
)

const (
	scrapesAtOnce = 4
	scrapeTimeout = 10 * time.Second
	scrapesKept   = 10
	asksAgain     = 2                // times the longest time between two of them, within which there is one more: several may ask
	asksOnce      = 20 * time.Second // where nobody knows that time
)

// Server gives a run's figures to whoever asks.
type Server struct {
	Run  *Run
	l    net.Listener
	stop context.CancelFunc
	done sync.WaitGroup

	ended error
}

// Serve takes an address, host:port, and answers there until Close. Port 0 takes a free one.
func Serve(ctx context.Context, address string) (*Server, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, &AddressError{address, err}
	}
	l, err := httpserve.Listen(ctx, "metrics", address)
	if err != nil {
		return nil, &AddressError{address, err}
	}
	s := &Server{Run: New(), l: l}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.done.Go(func() { s.ended = httpserve.Until(serving, abrupt{l, serving}, s.Run.Handler()) })
	return s, nil
}

// Address is where it answers.
func (s *Server) Address() string { return s.l.Addr().String() }

// Loopback says whether only this machine reaches it.
func (s *Server) Loopback() bool {
	a, ok := s.l.Addr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// Close ends it. A run that was scraped has its end scraped once more, for so long at most, or until ctx ends; who has not asked, or
// asks no more, is not waited for. waiting is told how long it may take. The error is of interest to tests alone.
func (s *Server) Close(ctx context.Context, within time.Duration, waiting func(time.Duration)) error {
	s.Run.lastScrape(ctx, within, waiting)
	s.stop()
	s.done.Wait()
	return s.ended
}

func (r *Run) lastScrape(ctx context.Context, within time.Duration, waiting func(time.Duration)) {
	once := make(chan struct{}, 1)
	r.mu.Lock()
	within = min(within, r.expected())
	r.waiting = once
	r.mu.Unlock()
	if within <= 0 {
		return
	}
	waiting(within)
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-once:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// expected is within what time there is another scrape; 0: there is none. It needs the lock.
func (r *Run) expected() time.Duration {
	n := len(r.scrapes)
	if n == 0 {
		return 0
	}
	every := asksOnce
	if n > 1 {
		every = 0
	}
	for i := 1; i < n; i++ {
		every = max(every, r.scrapes[i].Sub(r.scrapes[i-1]))
	}
	if r.now().Sub(r.scrapes[n-1]) > asksAgain*every {
		return 0
	}
	if n == 1 {
		return every
	}
	return asksAgain * every
}

// Handler answers /metrics.
func (r *Run) Handler() http.Handler {
	given := promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeTimeout})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.scrapes = append(r.scrapes, r.now())
		r.scrapes = r.scrapes[max(0, len(r.scrapes)-scrapesKept):]
		waiting := r.waiting // a scrape that began before the end does not have it
		r.mu.Unlock()
		given.ServeHTTP(w, req)
		select {
		case waiting <- struct{}{}:
		default:
		}
	})
	return mux
}

// AddressError is an address that can't be answered at.
type AddressError struct {
	Address string
	err     error
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("--metrics-addr %s: nobody can be answered there: %v", e.Address, e.err)
}

func (e *AddressError) Unwrap() error { return e.err }

// Hint says what an address looks like.
func (e *AddressError) Hint() string {
	return "name a host of this machine and a free port, such as 127.0.0.1:9464; nothing was touched"
}

// ExitCode is 2: the command line can't be meant.
func (e *AddressError) ExitCode() int { return 2 }

// abrupt has connections end with ctx: a scraper that does not read keeps no process.
type abrupt struct {
	net.Listener
	ctx context.Context
}

// Accept gives the next connection.
func (a abrupt) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return cut{c, context.AfterFunc(a.ctx, func() { _ = c.Close() })}, nil
}

// cut is a connection that ends with a context.
type cut struct {
	net.Conn
	stay func() bool
}

// Close closes it.
func (c cut) Close() error {
	c.stay()
	return c.Conn.Close()
}
