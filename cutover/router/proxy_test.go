package router

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/plan"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	public := &listener{name: "public", spec: profile.Public}
	admin := &listener{name: "admin", spec: profile.Admin}
	for _, c := range []struct {
		l            *listener
		method, path string
		want         Class
	}{
		{public, "GET", "/oauth2/auth", Login},
		{public, "GET", "/oauth2/auth/", Write},
		{public, "GET", "/.well-known/jwks.json", Static},
		{public, "HEAD", "/.well-known/jwks.json", Static},
		{public, "POST", "/.well-known/jwks.json", Write},
		{public, "GET", "/.well-knownish", Write},
		{public, "GET", "/.well-known/../oauth2/token", Write},
		{public, "GET", "/.well-known/%2e%2e/oauth2/token", Write},
		{public, "GET", "/.well-known%2fjwks.json", Write},
		{public, "GET", "//.well-known/jwks.json", Write},
		{public, "GET", "/.well-known//jwks.json", Write},
		{public, "GET", `/.well-known/\..\oauth2/token`, Write},
		{public, "GET", "/.well-known/..;/oauth2/token", Write},
		{admin, "GET", "/clients", Static},
		{admin, "GET", "/clients/a", Static},
		{admin, "GET", "/admin/clients/a", Static},
		{admin, "DELETE", "/clients/a", Write},
		{admin, "GET", "/clientsecrets", Write},
		{admin, "POST", "/oauth2/introspect", Introspection},
		{admin, "POST", "/oauth2/introspect/../../clients", Write},
		{admin, "GET", "/unknown", Write},
	} {
		u, err := url.ParseRequestURI(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.l.classify(c.method, u); got != c.want {
			t.Errorf("%s %s %s: %s, want %s", c.l.name, c.method, c.path, got, c.want)
		}
	}
}

func TestPublicNeverReachesAdmin(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { // the worst case: both targets are one port
		c.Blue.Public, c.Green.Public = c.Blue.Admin, c.Green.Admin
	})
	for _, side := range []plan.Side{plan.Blue, plan.Green} {
		for _, line := range []string{
			"GET /clients", "GET //clients", "GET /x/../clients", "GET /%2fclients", "GET /clients/a", "GET /admin/clients",
			"DELETE /admin%2fclients/a", "GET /x/%2e%2e/clients", `GET /\clients`, "POST /oauth2/introspect",
			"PUT /oauth2/auth/requests/login/accept", "GET " + b.config.Blue.Admin + "/clients", "GET http://evil/admin/clients",
		} {
			if got := raw(t, b.public, line); !strings.HasPrefix(got, "HTTP/1.1 404") {
				t.Errorf("%s: %.60q", line, got)
			}
		}
		if got := raw(t, b.public, "CONNECT 127.0.0.1:1"); !strings.HasPrefix(got, "HTTP/1.1 40") {
			t.Errorf("connect: %.60q", got)
		}
		if got := raw(t, b.public, "OPTIONS *"); strings.HasPrefix(got, "HTTP/1.1 502") {
			t.Errorf("options: %.60q", got)
		}
		if n := len(b.blue.requests()) + len(b.green.requests()); n != 0 {
			t.Errorf("%d requests reached a server", n)
		}
		if side == plan.Blue {
			b.move(run1, plan.Green)
		}
	}
}

// raw sends a request line as it is: Go's client would clean it.
func raw(t *testing.T, base, line string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", line)
	got, _ := io.ReadAll(conn)
	return string(got)
}

func TestGreenPrefix(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	if s := do(t.Context(), "GET", b.admin+"/clients/a%2Fb?x=1;2&y=%zz", "").seen(t); s.URI != "/clients/a%2Fb?x=1;2&y=%zz" {
		t.Errorf("blue got %s", s.URI)
	}
	b.move(run1, plan.Green)
	for path, want := range map[string]string{
		"/clients/a%2Fb?x=1;2": "/admin/clients/a%2Fb?x=1;2",
		"/admin/clients":       "/admin/clients",
		"/adminish":            "/admin/adminish",
		"/health/ready":        "/health/ready",
		"/version":             "/version",
		"/versions":            "/admin/versions",
	} {
		if s := do(t.Context(), "GET", b.admin+path, "").seen(t); s.URI != want || s.Side != "green" || s.Listener != "admin" {
			t.Errorf("%s: green got %s on %s", path, s.URI, s.Listener)
		}
	}
	if s := do(t.Context(), "POST", b.public+"/oauth2/token", "").seen(t); s.URI != "/oauth2/token" {
		t.Errorf("public got %s", s.URI)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.ForwardedProto = "https" })
	for _, path := range []string{"/oauth2/token", "/.well-known/x"} {
		s := do(t.Context(), "GET", b.public+path, "",
			"X-Forwarded-For", "6.6.6.6", "X-Forwarded-Host", "evil", "X-Forwarded-Prefix", "/evil", "X-Real-Ip", "6.6.6.6",
			"Forwarded", "for=6.6.6.6", "Connection", "X-Secret, Upgrade", "X-Secret", "s", "Upgrade", "h2c",
			"Proxy-Authorization", "p", "Authorization", "Basic a", "Te", "x").seen(t)
		for _, gone := range []string{"X-Forwarded-Prefix", "X-Real-Ip", "Forwarded", "X-Secret", "Upgrade", "Connection", "Proxy-Authorization", "Te"} {
			if v, there := s.Header[gone]; there {
				t.Errorf("%s: %s: %s", path, gone, v)
			}
		}
		host := strings.TrimPrefix(b.public, "http://")
		for name, want := range map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": host, "X-Forwarded-Proto": "https", "Authorization": "Basic a",
		} {
			if got := strings.Join(s.Header[name], ","); got != want {
				t.Errorf("%s: %s: %q, want %q", path, name, got, want)
			}
		}
		if s.Host != host {
			t.Errorf("%s: host %q, want %q", path, s.Host, host)
		}
	}
}

func TestDeadServer(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.blue.public.Close()
	for _, path := range []string{"/oauth2/token", "/userinfo"} {
		if a := do(t.Context(), "POST", b.public+path, "x"); a.status != 502 {
			t.Errorf("%s: %+v", path, a)
		}
	}
	st := b.router.State()
	if st.Sides[plan.Blue].Unreachable != 2 || st.Errors != 2 || st.InFlight != 0 {
		t.Errorf("state %+v", st)
	}
	b.move(run1, plan.Green)
	if a := do(t.Context(), "POST", b.public+"/oauth2/token", "x"); a.status != 200 {
		t.Errorf("green: %+v", a)
	}
}

func TestSlowServer(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Limits.Upstream = 100 * time.Millisecond })
	let := make(chan struct{})
	defer close(let)
	b.blue.answers(func(http.ResponseWriter, *http.Request, seen) { <-let })
	for _, path := range []string{"/oauth2/token", "/userinfo"} {
		if a := do(t.Context(), "POST", b.public+path, "x"); a.status != 502 {
			t.Errorf("%s: %+v", path, a)
		}
	}
}

func TestBrokenAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.blue.answers(func(w http.ResponseWriter, _ *http.Request, _ seen) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
	})
	if a := do(t.Context(), "POST", b.public+"/oauth2/token", "x"); a.status != 502 {
		t.Errorf("%+v", a)
	}
	if st := b.router.State(); st.InFlight != 0 {
		t.Errorf("in flight %d", st.InFlight)
	}
}

func TestStreaming(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	let := make(chan struct{})
	b.blue.answers(func(w http.ResponseWriter, _ *http.Request, _ seen) {
		io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		<-let
		io.WriteString(w, "last\n")
	})
	resp, err := http.Get(b.public + "/.well-known/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if l, err := lines.ReadString('\n'); l != "first\n" {
		t.Fatalf("%q %v", l, err)
	}
	close(let)
	if l, err := lines.ReadString('\n'); l != "last\n" {
		t.Fatalf("%q %v", l, err)
	}
}

func TestLongAnswerToAWrite(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	long := strings.Repeat("0123456789abcdef", whole/8)
	b.blue.answers(func(w http.ResponseWriter, _ *http.Request, _ seen) { io.WriteString(w, long) })
	if a := do(t.Context(), "POST", b.public+"/export", ""); a.body != long {
		t.Errorf("%d bytes, want %d", len(a.body), len(long))
	}
	await.That(t, "answered", func() bool { return b.router.State().InFlight == 0 })
}

// A client that dribbles its body must not keep a hold from becoming quiet.
func TestSlowBodyDoesNotBlockAHold(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /oauth2/token HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
	b.hold(run1, 2*time.Second)
	fmt.Fprint(conn, "-other")
	b.heldNow(1)
	b.release(run1)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	if got := b.blue.requests(); len(got) != 1 || got[0].Body != "half-other" {
		t.Errorf("forwarded %+v", got)
	}
}

func TestFencedWriteWaitsForTheSwitch(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	refuses := func(w http.ResponseWriter, _ *http.Request, _ seen) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"error":"temporarily_unavailable"}`)
	}
	b.blue.answers(refuses)
	early := later(t.Context(), "POST", b.public+"/oauth2/token", "early")
	await.That(t, "refused", func() bool { return len(b.blue.requests()) > 0 })
	b.hold(run1, 5*time.Second) // the waiting write is not counted as under way
	b.switchTo(run1, plan.Green)
	b.release(run1)
	if s := (<-early).seen(t); s.Side != "green" || s.Body != "early" {
		t.Errorf("%+v", s)
	}

	// An abort: blue is opened again, and the write goes there.
	b.move(run1, plan.Blue)
	waits := later(t.Context(), "POST", b.public+"/oauth2/token", "waits")
	n := len(b.blue.requests())
	await.That(t, "refused", func() bool { return len(b.blue.requests()) > n })
	b.blue.answers(nil)
	if s := (<-waits).seen(t); s.Side != "blue" || s.Body != "waits" {
		t.Errorf("%+v", s)
	}
}

func TestOther503sPass(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Limits.Fenced = 100 * time.Millisecond })
	b.blue.answers(func(w http.ResponseWriter, _ *http.Request, s seen) {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, s.Body)
	})
	for _, body := range []string{"", "overloaded", `{"error":"server_error"}`} {
		before := len(b.blue.requests())
		if a := do(t.Context(), "POST", b.public+"/x", body); a.status != 503 || a.body != body {
			t.Errorf("%q: %+v", body, a)
		}
		if n := len(b.blue.requests()) - before; n != 1 {
			t.Errorf("%q: sent %d times", body, n)
		}
	}
	// A fence that nobody lifts: the server's own answer, after a while.
	if a := do(t.Context(), "POST", b.public+"/x", `{"error":"temporarily_unavailable"}`); a.status != 503 || !strings.Contains(a.body, "temporarily") {
		t.Errorf("%+v", a)
	}
}

func TestControlNeedsTheToken(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	control := "http://" + b.router.Addresses().Control
	for _, auth := range []string{"", "Bearer ", "Bearer wrong", "Basic " + token, token} {
		if a := do(t.Context(), "POST", control+"/v1/hold", `{"run":"r","term":1,"deadline_ms":1000}`, "Authorization", auth); a.status != 401 {
			t.Errorf("%q: %+v", auth, a)
		}
	}
	for _, body := range []string{"", "{}", `{"run":"r","term":0}`, `{"run":"r","term":1,"sid":"x"}`, "[", strings.Repeat("x", 1<<17)} {
		if a := do(t.Context(), "POST", control+"/v1/hold", body, "Authorization", "Bearer "+token); a.status != 400 {
			t.Errorf("%.20q: %+v", body, a)
		}
	}
	if err := b.control.Switch(t.Context(), run1, "red"); err == nil || errors.Is(err, ErrNotHolding) {
		t.Errorf("switch to red: %v", err)
	}
	if st := b.router.State(); st.Phase != Open {
		t.Errorf("state %+v", st)
	}
	do(t.Context(), "GET", b.public+"/userinfo", "")
	a := do(t.Context(), "GET", control+"/metrics", "")
	if !strings.Contains(a.body, `tideover_router_requests_total{class="introspection",code="200",listener="public",side="blue"} 1`) ||
		!strings.Contains(a.body, "tideover_router_held 0") || strings.Contains(a.body, token) {
		t.Errorf("metrics: %s", a.body)
	}
	if err := second(NewClient("http://127.0.0.1:1", token).State(t.Context())); err == nil {
		t.Error("no router answers")
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for name, change := range map[string]func(*Config){
		"short token": func(c *Config) { c.Token = "x" },
		"no state":    func(c *Config) { c.StatePath = "" },
		"no url":      func(c *Config) { c.Green.Admin = "green:80" },
		"public url":  func(c *Config) { c.PublicURL = "id.example.com" },
		"admin url":   func(c *Config) { c.AdminURL = "https://a/?x=y" },
		"proto":       func(c *Config) { c.ForwardedProto = "gopher" },
		"class": func(c *Config) {
			c.Profile.Admin.Routes = append(c.Profile.Admin.Routes[:0:0], c.Profile.Admin.Routes[0])
			c.Profile.Admin.Routes[0].Class = "red"
		},
		"prefix": func(c *Config) { c.Profile.Admin.GreenPrefix = "admin/" },
	} {
		config := b.config
		config.StatePath += "2"
		change(&config)
		if r, err := New(config); err == nil {
			r.Close()
			t.Errorf("%s: taken", name)
		}
	}
}
