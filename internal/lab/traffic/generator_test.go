package traffic

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the server warns of every refused token
	os.Exit(pgtest.RunTests(m))
}

// theatre is a real server behind two proxies: the "router", which can hold and can lie, and the way past it, which can
// be fenced.
type theatre struct {
	config Config
	hold   atomic.Pointer[chan struct{}] // closed when the hold is over
	fenced atomic.Bool
	lie    atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool] // answers itself, or says no
	lied   atomic.Int64                                                      // how often it has answered
}

func newTheatre(t *testing.T, generation string) *theatre {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	if err := authserver.Migrate(t.Context(), dsn, generation); err != nil {
		t.Fatal(err)
	}
	th := &theatre{}
	var public, admin http.Handler
	listen := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	realPublic := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { public.ServeHTTP(w, r) }))
	realAdmin := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { admin.ServeHTTP(w, r) }))
	th.config = Config{Public: listen(th.router(t, realPublic)), Admin: listen(th.router(t, realAdmin)), Clients: 6, Rate: 120, Seed: 7,
		Timeout: 10 * time.Second}
	th.config.BypassPublic, th.config.BypassAdmin = listen(th.fence(t, realPublic)), listen(th.fence(t, realAdmin))
	th.config.Issuer = th.config.Public
	if generation == "2.0" {
		th.config.AdminPrefix = "/admin"
		th.config.BypassPublic, th.config.BypassAdmin = "", ""
	}
	s, err := authserver.New(t.Context(), authserver.Config{Generation: generation, DSN: dsn, Issuer: th.config.Public,
		SystemSecret: "a secret of the tests", LoginURL: "http://127.0.0.1:1/login", ConsentURL: "http://127.0.0.1:1/consent", BcryptCost: 4})
	if err != nil {
		t.Fatal(err)
	}
	public, admin = s.Public(), s.Admin()
	ctx, stop := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	<-ready
	return th
}

func proxy(t *testing.T, to string) http.Handler {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(u) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
}

func (th *theatre) router(t *testing.T, to string) http.Handler {
	next := proxy(t, to)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writes := !strings.HasSuffix(r.URL.Path, "/oauth2/introspect") && (r.Method != http.MethodGet || r.URL.Path == "/oauth2/auth")
		if hold := th.hold.Load(); hold != nil && writes {
			select {
			case <-*hold:
			case <-r.Context().Done():
				return
			}
		}
		if lie := th.lie.Load(); lie != nil && (*lie)(w, r) {
			th.lied.Add(1)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (th *theatre) fence(t *testing.T, to string) http.Handler {
	next := proxy(t, to)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if th.fenced.Load() && (r.Method != http.MethodGet || r.URL.Path == "/oauth2/auth") && r.URL.Path != "/oauth2/introspect" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"error":"temporarily_unavailable"}`))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// perform plays a whole switch: traffic, replay, hold with a fence, release, traffic, sweep. It waits by the history,
// not by the clock: each phase ends when enough has happened in it, the first one when the history has all that it is to have.
func (th *theatre) perform(t *testing.T, each int, enough func(*History) bool, change func(*Config)) *Generator {
	t.Helper()
	if change != nil {
		change(&th.config)
	}
	g, err := New(t.Context(), th.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	wait := func(n int) {
		for from := len(g.History().Records); len(g.History().Records) < from+2*n && ctx.Err() == nil; {
			pause(ctx, 20*time.Millisecond)
		}
	}
	wait(each)
	for !enough(g.History()) && ctx.Err() == nil {
		pause(ctx, 20*time.Millisecond)
	}
	g.Mark(MarkReplay)
	wait(each)
	g.Mark(MarkHold)
	over := make(chan struct{})
	th.hold.Store(&over)
	th.fenced.Store(true)
	wait(30)
	th.hold.Store(nil)
	close(over)
	g.Mark(MarkReleased)
	wait(each)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := g.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestTrafficAgainstRealServers(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, generation := range slice.Pick(t, 1, []string{"1.1", "2.0"}) {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			th := newTheatre(t, generation)
			// 2.0 forgives a retry within its grace period; 1.1 rightly does not, without a router that coalesces.
			g := th.perform(t, 500, func(h *History) bool { return len(missing(h)) == 0 }, func(c *Config) { c.RetryRefresh = generation == "2.0" })
			h := g.History()
			v := Check(h)
			for i, f := range v.Findings {
				if i < 10 {
					t.Error(f)
				}
			}
			t.Log(strings.SplitN(v.String(), "\n", 2)[0], v.Probes, "refused writes", v.RefusedWrites)
			if none := missing(h); len(none) > 0 {
				t.Errorf("no %v in %d requests", none, v.Requests)
			}
			if generation == "2.0" && !slices.ContainsFunc(h.Records, func(r Record) bool { return r.Request != nil && r.Request.Kind == RefreshTwice }) {
				t.Error("nobody retried")
			}
			if v.Revocations*40 < v.Requests { // 2.5 in a hundred
				t.Errorf("%d revocations in %d requests", v.Revocations, v.Requests)
			}
			if generation == "1.1" && v.RefusedWrites == 0 {
				t.Error("nobody met the fence")
			}
			if held := h.Held(); held.Count == 0 || held.Max <= 0 {
				t.Errorf("held: %+v", held)
			}
			if l := h.Latency(MarkReplay, MarkHold); l.Count == 0 || l.P50 > l.P95 || l.P95 > l.Max {
				t.Errorf("latency: %+v", l)
			}
			secretless(t, g)
		})
	}
}

// missing are the kinds of requests that a history has none of.
func missing(h *History) (none []Kind) {
	seen := map[Kind]bool{}
	for _, r := range h.Records {
		if r.Request != nil {
			seen[r.Request.Kind] = true
		}
	}
	for _, k := range []Kind{Login, Consent, Exchange, Refresh, Introspect, Userinfo, RevokeAccess, RevokeRefresh, RevokeConsent,
		RevokeSubject, DeleteClient, CreateClient, GetClient, Logout, ClientCredentials, JWKS, Discovery, ListConsents} {
		if !seen[k] {
			none = append(none, k)
		}
	}
	return none
}

// secretless checks that no token, code or client secret is in the written history.
func secretless(t *testing.T, g *Generator) {
	t.Helper()
	var buf bytes.Buffer
	if _, err := g.History().WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	for _, token := range g.tokens {
		if strings.Contains(buf.String(), token.secret) {
			t.Fatal("a token is in the history")
		}
	}
	for _, a := range append(g.apps, g.disposable...) {
		if a.secret != "" && strings.Contains(buf.String(), a.secret) {
			t.Fatal("a client secret is in the history")
		}
	}
	h, err := ReadHistory(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Check(h).String(), Check(g.History()).String(); got != want {
		t.Errorf("read again, the verdict is %s\nit was %s", got, want)
	}
}

// leakless checks that nothing of a generator runs on.
func leakless(t *testing.T) {
	t.Helper()
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		t.Fatal(err)
	}
	for _, s := range strings.Split(stacks.String(), "\n\n") {
		if strings.Contains(s, "traffic.(*Generator)") {
			t.Errorf("a goroutine runs on:\n%s", s)
		}
	}
}

// A router that lies must be caught by the generator's own questions.
func TestTrafficCatchesLiars(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	after := func(g *atomic.Int64, n int64) bool { return g.Add(1) > n }
	tests := []struct {
		name string
		lie  func() func(w http.ResponseWriter, r *http.Request) bool
		want Class
	}{
		{"swallows revocations of tokens", func() func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool { return r.URL.Path == "/oauth2/revoke" }
		}, AcceptedDead},
		{"swallows revocations of consents", func() func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodDelete || !strings.HasSuffix(r.URL.Path, "/sessions/consent") {
					return false
				}
				w.WriteHeader(http.StatusNoContent)
				return true
			}
		}, AcceptedDead},
		{"calls some tokens inactive", func() func(http.ResponseWriter, *http.Request) bool {
			var n atomic.Int64
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/oauth2/introspect") || !after(&n, 60) {
					return false
				}
				_, _ = w.Write([]byte(`{"active":false}`))
				return true
			}
		}, RefusedLiving},
		{"forgets consents", func() func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/sessions/consent") {
					return false
				}
				_, _ = w.Write([]byte(`[]`))
				return true
			}
		}, RefusedLiving},
		{"fails now and then", func() func(http.ResponseWriter, *http.Request) bool {
			var n atomic.Int64
			return func(w http.ResponseWriter, r *http.Request) bool {
				if n.Add(1) != 300 {
					return false
				}
				w.WriteHeader(http.StatusBadGateway)
				return true
			}
		}, FailedRequest},
	}
	for _, tt := range slice.Pick(t, 1, tests) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			th := newTheatre(t, "1.1")
			lie := tt.lie()
			th.lie.Store(&lie)
			lies := int64(8)
			if tt.want == FailedRequest {
				lies = 1
			}
			g := th.perform(t, 150, func(*History) bool { return th.lied.Load() >= lies }, nil)
			v := Check(g.History())
			if !slices.Contains(v.Classes(), tt.want) {
				t.Errorf("not caught: %s", v)
			}
		})
	}
}

// The only test here that is not parallel: no other generator is at work while it looks.
func TestRunLeavesNothingBehind(t *testing.T) {
	quick.Skip(t)
	th := newTheatre(t, "1.1")
	over := make(chan struct{})
	defer close(over)
	g, err := New(t.Context(), th.config)
	if err != nil {
		t.Fatal(err)
	}
	g.config.Timeout = time.Second
	th.hold.Store(&over) // every write waits for longer than its client
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	for len(g.History().Records) < 40 {
		pause(ctx, 10*time.Millisecond)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run does not end")
	}
	leakless(t)
	v := Check(g.History())
	if slices.Contains(v.Classes(), UnansweredWorker) || v.Failed == 0 {
		t.Errorf("the requests under way: %s", v)
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{}, {Public: "http://x", Admin: "nonsense"}, {Public: "http://x", Admin: "http://y", Rate: -1},
		{Public: "http://x", Admin: "http://y", BypassPublic: "http://z"}, {Public: "http://127.0.0.1:1", Admin: "http://127.0.0.1:1", Timeout: time.Second}} {
		if _, err := New(t.Context(), c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}
