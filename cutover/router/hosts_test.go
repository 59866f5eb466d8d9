package router

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tideover/tideover/plan"
)

// lying are the ways in which a request says that it was sent to another host.
var lying = []string{"X-Forwarded-Host", "X-Forwarded-Server", "X-Host", "X-Original-Host", "X-Http-Host-Override", "Forwarded",
	"X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-Port", "Origin", "Referer"}

// ask sends a request for a host that it is not sent to.
func ask(t *testing.T, c *http.Client, method, target, host string) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
		for _, name := range lying {
			req.Header.Set(name, host)
		}
		req.Header.Set("Forwarded", "for=6.6.6.6;host="+host+";proto=gopher")
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answered{resp.StatusCode, resp.Header, string(raw), err}
}

// Whatever host the one who began a login spoke of, or the one who is sent to begin it anew: neither is ever sent to it.
func TestLoginsBeginAnewWhereTheyShould(t *testing.T) {
	t.Parallel()
	const evil = "evil.example"
	clients := map[string]func(*http.Protocols){
		"h1":  func(p *http.Protocols) { p.SetHTTP1(true) },
		"h2c": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	}
	for _, tt := range []struct {
		name, public, discovery string
		browser, app            string // where each is sent; "": nowhere
	}{
		{"configured", "https://id.example.com", "", "https://id.example.com/oauth2/auth?", "https://id.example.com/oauth2/auth?"},
		{"configured, below a path", "https://example.com/id/", "", "https://example.com/id/oauth2/auth?", "https://example.com/id/oauth2/auth?"},
		{"configured, the server says otherwise", "https://id.example.com", "https://other.example/auth", "https://id.example.com/oauth2/auth?", "https://id.example.com/oauth2/auth?"},
		{"what the server says", "", "https://said.example/oauth2/auth", "/oauth2/auth?", "https://said.example/oauth2/auth?"},
		{"the server says nothing", "", "", "/oauth2/auth?", ""},
		{"the server says a path", "", "/oauth2/auth", "/oauth2/auth?", ""},
		{"the server says no web address", "", "javascript:alert(1)", "/oauth2/auth?", ""},
	} {
		for protocol, set := range clients {
			for _, liar := range []string{"", evil, evil + ":443"} {
				t.Run(fmt.Sprint(tt.name, " ", protocol, " ", liar), func(t *testing.T) {
					t.Parallel()
					b := setup(t, func(c *Config) { c.PublicURL = tt.public })
					c := speaking(set)
					c.CheckRedirect = plainClient.CheckRedirect
					t.Cleanup(c.CloseIdleConnections)
					like := hydraLike("green", "http://green")
					b.blue.answers(hydraLike("blue", "http://"+evil))
					b.green.answers(func(w http.ResponseWriter, r *http.Request, s seen) {
						if r.URL.Path != discoveryPath {
							like(w, r, s)
							return
						}
						if s.Host != strings.TrimPrefix(b.green.public.URL, "http://") {
							t.Errorf("the server is asked for what host %s is", s.Host)
						}
						json.NewEncoder(w).Encode(map[string]string{"authorization_endpoint": tt.discovery})
					})
					began := b.public + "/oauth2/auth?" + request
					challenge := func(n int) { // a login each: blue's names are always the same
						if n > 0 {
							b.blue.answers(func(w http.ResponseWriter, r *http.Request, _ seen) {
								http.Redirect(w, r, fmt.Sprintf("http://app/login?login_challenge=blue-%d", n), http.StatusFound)
							})
						}
						ask(t, c, "GET", began, liar)
					}
					challenge(0)
					ask(t, c, "PUT", b.admin+"/oauth2/auth/requests/login/accept?login_challenge=blue-c1", liar)
					challenge(1)
					challenge(2)
					b.move(run1, plan.Green)

					want := func(what, got, prefix string) {
						t.Helper()
						if prefix == "" && got != "" || prefix != "" && got != prefix+request || strings.Contains(got, evil) {
							t.Errorf("%s is sent to %q, want %s", what, got, prefix)
						}
					}
					for _, verifier := range []string{"blue-v1", "blue-of-another-replica"} {
						a := ask(t, c, "GET", began+"&login_verifier="+verifier, liar)
						want("the browser with "+verifier, a.header.Get("Location"), tt.browser)
					}
					for n, method := range []string{"GET", "PUT"} {
						path := "/oauth2/auth/requests/login"
						if method == "PUT" {
							path += "/accept"
						}
						var redirect struct {
							To string `json:"redirect_to"`
						}
						a := ask(t, c, method, fmt.Sprintf("%s%s?login_challenge=blue-%d", b.admin, path, n+1), liar)
						_ = json.Unmarshal([]byte(a.body), &redirect)
						want("the app's "+method, redirect.To, tt.app)
						if status := map[bool]int{true: 404, false: map[string]int{"GET": 410, "PUT": 200}[method]}[tt.app == ""]; a.status != status {
							t.Errorf("the app's %s: status %d, want %d", method, a.status, status)
						}
					}
				})
			}
		}
	}
}

// With a configured URL a server that builds addresses from what it is told builds none of another host.
func TestServersAreToldTheConfiguredHost(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.PublicURL, c.AdminURL = "https://id.example.com", "https://admin.internal:8443/x" })
	for _, tt := range []struct{ target, host string }{
		{b.public + "/oauth2/token", "id.example.com"},
		{b.public + "/.well-known/openid-configuration", "id.example.com"},
		{b.admin + "/clients", "admin.internal:8443"},
		{b.admin + "/oauth2/auth/requests/login?login_challenge=c", "admin.internal:8443"},
	} {
		s := ask(t, plainClient, "GET", tt.target, "evil.example").seen(t)
		if s.Host != tt.host || s.Header.Get("X-Forwarded-Host") != tt.host {
			t.Errorf("%s: the server is told %s and %s, want %s", tt.target, s.Host, s.Header.Get("X-Forwarded-Host"), tt.host)
		}
	}
}

// An authorization request that is longer than any browser's is not kept, and its login counts all the same.
func TestLongAuthorizationRequestsAreNotKept(t *testing.T) {
	t.Parallel()
	b, _, _ := loginBundle(t)
	do(t.Context(), "POST", b.public+"/oauth2/auth", form("state", strings.Repeat("s", longestRequest)), "Content-Type", formType)
	if n := b.router.State().Logins; n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	if original := b.router.logins.restart("blue-c1", plan.Green); original != "" {
		t.Errorf("%d bytes are kept", len(original))
	}
}
