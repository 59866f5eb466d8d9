// Package router is the data plane of a cutover: a reverse proxy in front of two OAuth servers, blue and green, that
// makes requests wait instead of letting them fail while the sides are switched.
//
// It has three listeners. The public and the admin one take the place of the server's own; the third one takes
// commands (control.go). A request has a class, by the profile's paths: introspection, discovery and keys are always
// served; writes and logins pass the gate (gate.go), which lets them through, or holds them in a bounded queue until
// the switch is made, taken back, or its deadline passes. The deadline is the router's own: if those who ordered the
// hold are gone, it lets go by itself, to the side that serves, and a switch that comes later is refused.
//
// Three things that clients can't know of are smoothed over on the way: equal refresh requests become one
// (coalesce.go), logins begun at the side that no longer serves begin anew (logins.go), and a write that a fence in
// the database has refused waits for the switch and is sent again (exchange.go).
package router

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/plan"
)

// Router is one replica.
type Router struct {
	config      Config
	log         *slog.Logger
	few         few
	warn        *log.Logger // few lines to log, for net/http
	store       *store
	gate        *gate
	logins      *logins
	coalescer   *coalescer
	stats       *stats
	transports  map[plan.Side]*http.Transport
	listeners   map[string]net.Listener
	fronts      fronts
	certificate *certificate // nil: plain
	stopping    atomic.Bool
	large       chan struct{} // a place for each large body
	canary      canary
	buffers     buffers
}

// Addresses are where the router listens, as host:port.
type Addresses struct {
	Public  string `json:"public"`
	Admin   string `json:"admin"`
	Control string `json:"control"`
}

// New opens the state file and the listeners. It serves when Run is called. The side that serves is the stored one,
// blue where there is none yet.
func New(config Config) (*Router, error) {
	config.Limits = config.Limits.withDefaults()
	if err := config.check(); err != nil {
		return nil, err
	}
	r := &Router{
		config: config, log: config.Log, stats: newStats(),
		logins:    newLogins(config.Limits),
		buffers:   newBuffers(),
		large:     make(chan struct{}, config.Limits.Large),
		coalescer: newCoalescer(config.Limits.Window, config.Limits.Coalesced),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.warn = log.New(lines{&r.few, r.log}, "", 0)
	if err := r.fronts.aim(config, config.Profile); err != nil {
		return nil, err
	}
	var err error
	if r.certificate, err = newCertificate(config.Certificate, config.Key); err != nil {
		return nil, err
	}
	store, state, err := openStore(config.StatePath)
	if err != nil {
		return nil, err
	}
	r.store = store
	r.gate = newGate(config.Limits, store, state)
	r.transports = map[plan.Side]*http.Transport{plan.Blue: newTransport(config.Limits), plan.Green: newTransport(config.Limits)}
	r.stats.expose(r)
	if err := r.listen(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// newTransport is one side's connections. No proxy from the environment, and no compression of our own: answers pass
// as the server gave them.
func newTransport(l Limits) *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxConnsPerHost:        l.Connections,
		MaxIdleConns:           2 * l.Connections,
		MaxIdleConnsPerHost:    l.Connections,
		IdleConnTimeout:        time.Minute,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  l.Upstream,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,
	}
}

func (r *Router) listen() error {
	r.listeners = map[string]net.Listener{}
	for name, addr := range map[string]string{
		"public": r.config.PublicListen, "admin": r.config.AdminListen, "control": r.config.ControlListen,
	} {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err != nil {
			return fmt.Errorf("router: %s listener: %w", name, err)
		}
		if name != "control" {
			l = newTurnstile(l, r.config.Limits.Clients, r.config.trusts)
		}
		r.listeners[name] = l
	}
	return nil
}

// Addresses are the listeners' addresses.
func (r *Router) Addresses() Addresses {
	at := func(name string) string { return r.listeners[name].Addr().String() }
	return Addresses{Public: at("public"), Admin: at("admin"), Control: at("control")}
}

// shutdown bounds how long a stopping router waits for requests under way.
const shutdown = 45 * time.Second

// Run serves until ctx ends. After Stopping it then takes no new connections, lets the requests under way and those that are held
// come to their end (commands are still taken meanwhile), and returns nil when all is done.
func (r *Router) Run(ctx context.Context) error {
	defer r.Close()
	write := r.config.Limits.Wait + 2*r.config.Limits.Upstream + 30*time.Second
	secure := r.certificate != nil
	public := r.server(r.front("public"), write, secure)
	admin := r.server(r.front("admin"), write, secure)
	control := r.server(r.controlHandler(), 2*r.config.Limits.Hold+30*time.Second, r.config.ControlTLS)

	group, ctx := errgroup.WithContext(ctx)
	serve := func(s *http.Server, name string) {
		group.Go(func() error {
			serve := s.Serve
			if s.TLSConfig != nil {
				serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
			}
			if err := serve(r.listeners[name]); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("router: %s listener: %w", name, err)
			}
			return nil
		})
	}
	serve(public, "public")
	serve(admin, "admin")
	serve(control, "control")
	group.Go(func() error {
		<-ctx.Done()
		r.stopping.Store(true)
		time.Sleep(r.config.Stopping)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
		defer cancel()
		both := errgroup.Group{}
		both.Go(func() error { return public.Shutdown(end) })
		both.Go(func() error { return admin.Shutdown(end) })
		err := both.Wait()
		err = errors.Join(err, control.Shutdown(end))
		if err != nil {
			public.Close()
			admin.Close()
			control.Close()
			return fmt.Errorf("router: requests cut off after %s: %w", shutdown, err)
		}
		return nil
	})
	err := group.Wait()
	r.canary.asking.Wait()
	return err
}

func (r *Router) server(h http.Handler, write time.Duration, secure bool) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: r.config.Limits.Header,
		IdleTimeout:       2 * time.Minute,
		WriteTimeout:      write,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          r.warn,
	}
	r.speak(s, secure)
	return s
}

// Close gives listeners, connections and the state file back, and wipes the kept answers. Run does it at its end.
func (r *Router) Close() error {
	for _, l := range r.listeners {
		l.Close() // closed already where Run has served
	}
	for _, t := range r.transports {
		t.CloseIdleConnections()
	}
	r.coalescer.forget(nil)
	r.gate.close()
	return r.store.close()
}

// front handles the requests of one listener.
func (r *Router) front(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		l := r.fronts.get(name)
		if r.stopping.Load() {
			w.Header().Set("Connection", "close") // HTTP/2 clients are told by GOAWAY
		}
		switch {
		case !strings.HasPrefix(in.URL.Path, "/"), in.Method == http.MethodConnect:
			refuse(w, http.StatusBadRequest, "", "invalid_request", "not a path of this server")
			return
		case l.refused(in.URL):
			refuse(w, http.StatusNotFound, "", "not_found", "not a path of this listener")
			return
		}
		x := &exchange{router: r, listener: l, in: in, class: l.classify(in.Method, in.URL), arrived: time.Now()}
		x.outcome.listener, x.outcome.class = l.name, x.class
		x.newLogin = x.class == Login && l.name == "public" && first(in.URL.Query(), verifiers) == ""

		// Bodies are read whole before anything is forwarded: a slow client must keep neither a hold from becoming
		// quiet nor a connection to a server from others.
		body, done, status := r.readBody(w, in)
		defer done()
		if status != 0 {
			x.refuse(w, status)
			return
		}
		x.body = body
		pass := in.WithContext(in.Context())
		if x.class.waits() {
			// A write that has been forwarded comes to its end, also when its client leaves: half of it could be done.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(in.Context()), r.config.Limits.Wait+2*r.config.Limits.Upstream)
			defer cancel()
			pass = in.WithContext(ctx)
		}
		pass.Body, pass.ContentLength, pass.TransferEncoding = http.NoBody, int64(len(body)), nil
		start := time.Now() // what a slow client takes for its body is not the server's time
		defer func() {
			x.outcome.took = time.Since(start) - x.outcome.held
			r.stats.record(x.outcome)
		}()
		proxy := httputil.ReverseProxy{
			Rewrite: x.rewrite, Transport: x, ModifyResponse: x.inspect, ErrorHandler: x.fail,
			ErrorLog: r.warn, BufferPool: r.buffers,
		}
		proxy.ServeHTTP(w, pass)
	})
}
