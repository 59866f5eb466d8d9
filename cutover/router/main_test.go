package router

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/plan"
)

const token = "0123456789abcdef"

var profile = plan.HTTP{
	Public: plan.Listener{Routes: []plan.Route{
		{Path: "=/oauth2/auth", Class: "login"},
		{Path: "/.well-known", Methods: []string{"GET"}, Class: "static"},
		{Path: "/health", Methods: []string{"GET"}, Class: "static"},
		{Path: "=/userinfo", Class: "introspection"},
		{Path: "/", Class: "write"},
	}},
	Admin: plan.Listener{
		Routes: []plan.Route{
			{Path: "=/oauth2/introspect", Class: "introspection"},
			{Path: "/health", Methods: []string{"GET"}, Class: "static"},
			{Path: "/clients", Methods: []string{"GET"}, Class: "static"},
			{Path: "/oauth2/auth/requests", Class: "write"},
		},
		GreenPrefix: "/admin", GreenPlain: []string{"/health", "/version"},
	},
	Health: "/health/ready", RefreshPath: "/oauth2/token",
}

func routes(paths ...string) (all []plan.Route) {
	for _, p := range paths {
		all = append(all, plan.Route{Path: p, Class: "write"})
	}
	return all
}

// seen is a request as an upstream server got it.
type seen struct {
	Side, Listener, Method, URI, Host, Body string
	Header                                  http.Header
}

// upstream is one fake server with both listeners. answer may be replaced while it runs.
type upstream struct {
	side          string
	public, admin *httptest.Server

	mu     sync.Mutex
	answer func(http.ResponseWriter, *http.Request, seen)
	seen   []seen
}

func newUpstream(t testing.TB, side string) *upstream {
	u := &upstream{side: side}
	u.public, u.admin = u.listen(t, "public"), u.listen(t, "admin")
	return u
}

func (u *upstream) listen(t testing.TB, name string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := seen{u.side, name, r.Method, r.RequestURI, r.Host, string(body), r.Header.Clone()}
		u.mu.Lock()
		u.seen = append(u.seen, got)
		answer := u.answer
		u.mu.Unlock()
		if answer != nil {
			answer(w, r, got)
			return
		}
		json.NewEncoder(w).Encode(got)
	}))
	t.Cleanup(s.Close)
	return s
}

func (u *upstream) answers(f func(http.ResponseWriter, *http.Request, seen)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = f
}

func (u *upstream) requests() []seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]seen(nil), u.seen...)
}

type bundle struct {
	t           testing.TB
	blue, green *upstream
	config      Config
	router      *Router
	control     *Client
	public      string
	admin       string
	stop        func()
}

func setup(t testing.TB, change func(*Config)) *bundle {
	t.Helper()
	b := &bundle{t: t, blue: newUpstream(t, "blue"), green: newUpstream(t, "green")}
	b.config = Config{
		PublicListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", ControlListen: "127.0.0.1:0",
		Token: token, StatePath: filepath.Join(t.TempDir(), "state.json"), Profile: profile, Coalesce: true,
		Blue:  Target{Public: b.blue.public.URL, Admin: b.blue.admin.URL},
		Green: Target{Public: b.green.public.URL, Admin: b.green.admin.URL},
	}
	if change != nil {
		change(&b.config)
	}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bundle) start() {
	b.t.Helper()
	r, err := New(b.config)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	b.router = r
	b.control = NewClient("http://"+r.Addresses().Control, token)
	b.public, b.admin = "http://"+r.Addresses().Public, "http://"+r.Addresses().Admin
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
}

// answered is what a client got.
type answered struct {
	status int
	header http.Header
	body   string
	err    error
}

func (a answered) seen(t *testing.T) seen {
	t.Helper()
	var s seen
	if a.err != nil || json.Unmarshal([]byte(a.body), &s) != nil {
		t.Fatalf("answer %+v is not an echo", a)
	}
	return s
}

var plainClient = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func do(ctx context.Context, method, target, body string, header ...string) answered {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return answered{err: err}
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		return answered{err: err}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answered{resp.StatusCode, resp.Header, string(raw), err}
}

func later(ctx context.Context, method, target, body string, header ...string) <-chan answered {
	c := make(chan answered, 1)
	go func() { c <- do(ctx, method, target, body, header...) }()
	return c
}

func (b *bundle) hold(o Order, deadline time.Duration) {
	b.t.Helper()
	if err := b.control.Hold(b.t.Context(), o, deadline, deadline); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) switchTo(o Order, side plan.Side) {
	b.t.Helper()
	if err := b.control.Switch(b.t.Context(), o, side); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) release(o Order) {
	b.t.Helper()
	if err := b.control.Release(b.t.Context(), o); err != nil {
		b.t.Fatal(err)
	}
}

// move switches for good.
func (b *bundle) move(o Order, side plan.Side) {
	b.t.Helper()
	b.hold(o, 5*time.Second)
	b.switchTo(o, side)
	b.release(o)
}

func (b *bundle) heldNow(n int) {
	b.t.Helper()
	await.That(b.t, "held", func() bool { return b.router.State().Held == n })
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

const formType = "application/x-www-form-urlencoded"

var run1 = Order{Run: "r", Term: 1}

func contains(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }
