package console_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tideover/tideover/internal/console"
)

// hydra answers as Ory Hydra does where the bundled server differs: log-out challenges, pages of lists by Link, fields
// that only it has. It keeps what it was sent.
type hydra struct {
	mu      sync.Mutex
	answers map[string]any // by method and path
	sent    map[string]string
}

func newHydra(t *testing.T, answers map[string]any, change func(*console.Config)) (*hydra, *rig) {
	t.Helper()
	h := &hydra{answers: answers, sent: map[string]string{}}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, elsewhere(t, func(c *console.Config) {
		c.Admin, c.Public, c.AdminToken = s.URL, "http://hydra.example", "a token of the tests"
		if change != nil {
			change(c)
		}
	})
}

func (h *hydra) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := r.Method + " " + r.URL.Path
	body := json.RawMessage{}
	_ = json.NewDecoder(r.Body).Decode(&body) // many have none
	h.sent[key] = r.URL.RawQuery + " " + string(body)
	if r.Header.Get("Authorization") != "Bearer a token of the tests" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	answer, ok := h.answers[key]
	if f, is := answer.(func(http.ResponseWriter, *http.Request)); is {
		f(w, r)
		return
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":"Unable to locate the resource"}`))
		return
	}
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (h *hydra) got(key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent[key]
}

// TestLogoutChallenge: Hydra asks on the console's page, and is told what the person chose.
func TestLogoutChallenge(t *testing.T) {
	t.Parallel()
	const path = "/oauth2/auth/requests/logout"
	h, r := newHydra(t, map[string]any{
		"GET " + path:             map[string]any{"subject": "ann", "client": map[string]any{"client_id": "c", "client_name": "Calendar"}, "request_url": "http://hydra.example/x"},
		"PUT " + path + "/accept": map[string]any{"redirect_to": "http://hydra.example/oauth2/sessions/logout?logout_verifier=v"},
		"PUT " + path + "/reject": nil,
	}, nil)
	b := r.as(t, "ann")
	p := b.get("/logout?logout_challenge=c1")
	wellMade(t, "log-out", p)
	if !strings.Contains(p.body, "Calendar") || h.got("PUT "+path+"/accept") != "" {
		t.Errorf("the log-out page:\n%s", p.body)
	}
	stay := b.send("/logout", url.Values{"logout_challenge": {"c1"}, "choice": {"stay"}})
	if stay.to != "/access" || h.got("PUT "+path+"/reject") == "" || b.get("/apps/new").status != http.StatusOK {
		t.Errorf("staying: %d %s", stay.status, stay.to)
	}
	leave := b.send("/logout", url.Values{"logout_challenge": {"c1"}, "choice": {"leave"}})
	if leave.to != "http://hydra.example/oauth2/sessions/logout?logout_verifier=v" || b.get("/apps/new").status != http.StatusSeeOther {
		t.Errorf("leaving: %d %s", leave.status, leave.to)
	}
}

// TestAstray: a browser is sent nowhere but to the server, whatever the admin API says.
func TestAstray(t *testing.T) {
	t.Parallel()
	const path = "/oauth2/auth/requests/login"
	for _, to := range []string{"https://evil.example/", "http://hydra.example.evil.example/", "//evil.example/", "http://hydra.example@evil.example/", "http://user@hydra.example/", "javascript:alert(1)", "https://hydra.example/", "/login", ""} {
		_, r := newHydra(t, map[string]any{
			"GET " + path:             map[string]any{"skip": true, "subject": "ann", "client": map[string]any{"client_id": "c"}},
			"PUT " + path + "/accept": map[string]any{"redirect_to": to},
		}, nil)
		p := r.browser(t).get("/login?login_challenge=c1")
		if p.status != http.StatusBadGateway || p.to != "" {
			t.Errorf("redirect_to %q: %d %q", to, p.status, p.to)
		}
		wellMade(t, "astray", p)
		// The same for the way back that a used challenge has.
		_, r = newHydra(t, map[string]any{"GET " + path: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusGone)
			_ = json.NewEncoder(w).Encode(map[string]string{"redirect_to": to})
		}}, nil)
		if p := r.browser(t).get("/login?login_challenge=c1"); p.status != http.StatusGone || strings.Contains(p.body, "Start again") {
			t.Errorf("used, redirect_to %q: %d\n%s", to, p.status, p.body)
		}
	}
}

// TestHydraClient: what an app says of itself in Hydra's fields is shown where it is harmless, and where its answer goes
// is among what its forms may lead to, and nothing else is.
func TestHydraClient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, registered, asked string
		says, leads             string
	}{
		{"https", "https://app.example/cb", "https://app.example/cb", "<b><bdi>app.example</bdi></b>", "http://hydra.example https:"},
		{"an address that is not registered", "https://app.example/cb", "https://evil.example/cb", "<b><bdi>app.example</bdi></b>", "http://hydra.example https:"},
		{"a scheme of its own", "com.example.app:/cb", "com.example.app:/cb", "an app on this device (com.example.app)", "http://hydra.example com.example.app:"},
		{"a port of this machine", "http://127.0.0.1/cb", "http://127.0.0.1:4711/cb", "an app on this device (127.0.0.1:4711)", "http://hydra.example http:"},
		{"plain http", "http://app.example/cb", "http://app.example/cb", "app.example, without encryption", "http://hydra.example http:"},
		{"a policy in the address", "https://app.example;script-src 'unsafe-inline'", "", "", "http://hydra.example"},
		{"none", "", "", "an address that it did not register", "http://hydra.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app := map[string]any{"client_id": "c", "client_name": "Cal\u202een\u200bdar", "redirect_uris": []string{tt.registered}, "logo_uri": "https://app.example/logo.png",
				"client_uri": "javascript:alert(1)", "policy_uri": "http://app.example/", "tos_uri": "https://user@app.example/", "metadata": nil}
			_, r := newHydra(t, map[string]any{
				"GET /oauth2/auth/requests/consent": map[string]any{"challenge": "c1", "subject": "ann", "client": app, "requested_scope": []string{"openid"},
					"request_url": "http://hydra.example/oauth2/auth?redirect_uri=" + url.QueryEscape(tt.asked)},
				"GET /clients": []any{app},
			}, nil)
			p := r.as(t, "ann").get("/consent?consent_challenge=c1")
			wellMade(t, "consent", p)
			csp := p.header.Get("Content-Security-Policy")
			if !strings.Contains(p.body, tt.says) || !strings.HasSuffix(csp, "form-action 'self' "+tt.leads) {
				t.Errorf("policy %q\n%s", csp, p.body)
			}
			if !strings.Contains(p.body, "<bdi>Calendar</bdi>") || !strings.Contains(p.body, "cannot be seen") || strings.ContainsAny(p.body, "\u202e\u200b") {
				t.Errorf("its name:\n%s", p.body)
			}
			if strings.Count(p.body, "noreferrer") != 1 || !strings.Contains(p.body, `<a href="https://app.example/logo.png" rel="noreferrer noopener nofollow">Logo</a>`) {
				t.Errorf("its links:\n%s", p.body)
			}
		})
	}
}

// TestAllPages: apps that look alike are found on whatever page of the list they are.
func TestAllPages(t *testing.T) {
	t.Parallel()
	for _, linked := range []bool{true, false} {
		app := func(id int, name string) map[string]any {
			return map[string]any{"client_id": fmt.Sprint(id), "client_name": name, "owner": fmt.Sprint("owner ", id)}
		}
		asked := app(1, "Calendar")
		_, r := newHydra(t, map[string]any{
			"GET /oauth2/auth/requests/consent": map[string]any{"challenge": "c1", "subject": "ann", "client": asked},
			"GET /clients": func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				var page []any
				switch {
				case linked && q.Get("page_token") == "":
					w.Header().Set("Link", `<http://evil.example/clients?page_size=1&page_token=one>; rel="first",<http://evil.example/clients?page_size=1&page_token=two>; rel="next"`)
					page = []any{asked}
				case linked:
					w.Header().Set("Link", `<http://evil.example/clients?page_size=1&page_token=one>; rel="first"`)
					page = []any{app(2, "CaIendar")}
				case q.Get("offset") == "":
					for i := range 250 {
						page = append(page, app(i+10, fmt.Sprint("App ", i)))
					}
				case q.Get("offset") == "250":
					page = []any{asked, app(2, "CaIendar")}
				}
				_ = json.NewEncoder(w).Encode(page)
			},
		}, nil)
		if p := r.as(t, "ann").get("/consent?consent_challenge=c1"); !strings.Contains(p.body, "a name that looks the same: &#34;CaIendar&#34;") {
			t.Errorf("linked %v: %d\n%s", linked, p.status, p.body)
		}
	}
}

// TestNotKept: a server that keeps no metadata is not said to.
func TestNotKept(t *testing.T) {
	t.Parallel()
	app := map[string]any{"client_id": "c", "client_name": "Calendar", "jwks": map[string]any{}, "a_number": json.RawMessage("12345678901234567890")}
	h, r := newHydra(t, map[string]any{"GET /hydra/clients/c": app, "PUT /hydra/clients/c": app}, func(c *console.Config) { c.AdminPrefix = "/hydra" })
	if p := r.as(t, "root").send("/admin/apps/c/block", nil); p.status != http.StatusConflict || !strings.Contains(p.body, "did not keep") {
		t.Errorf("blocked: %d\n%s", p.status, p.body)
	}
	if sent := h.got("PUT /hydra/clients/c"); !strings.Contains(sent, "12345678901234567890") || !strings.Contains(sent, `"blocked":true`) {
		t.Errorf("the app is replaced by %s", sent)
	}
	if strings.Contains(r.audit.String(), "block app") {
		t.Error("the audit log says that it was blocked")
	}
}

// TestNotTheServer: a wrong token of the admin API is told to the log, and not to the visitor.
func TestNotTheServer(t *testing.T) {
	t.Parallel()
	_, r := newHydra(t, nil, func(c *console.Config) { c.AdminToken = "another token" })
	if p := r.browser(t).get("/login?login_challenge=c1"); p.status != http.StatusBadGateway || strings.Contains(p.body, "401") {
		t.Errorf("status %d\n%s", p.status, p.body)
	}
}

// TestCatalogue: what the file says of scopes is what people read.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, says string }{
		{"no title", "scopes: {photos: {detail: x}}", "no title"},
		{"a key that there is not", "scopes: {photos: {titel: x}}", "titel"},
		{"a name that is none", "scopes: {'a b': {title: x}}", "no scope"},
		{"no YAML", "scopes: [", "catalogue"},
	} {
		if _, err := console.LoadCatalogue(write(t, tt.file)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	catalogue, err := console.LoadCatalogue(write(t, "scopes:\n  photos:\n    title: See your photos\n    detail: All of <them>.\n  pay:\n    title: Pay for you\n    restricted: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, r := newHydra(t, map[string]any{
		"GET /oauth2/auth/requests/consent": map[string]any{"challenge": "c1", "subject": "ann", "requested_scope": []string{"openid", "photos", "pay", "other", "photos"}},
		"GET /clients":                      []any{},
	}, func(c *console.Config) { c.Catalogue = catalogue })
	b := r.as(t, "ann")
	p := b.get("/consent?consent_challenge=c1")
	for _, says := range []string{"See your photos", "All of &lt;them&gt;.", "Pay for you", "<code><bdi>other</bdi></code>", "needed for logging in"} {
		if strings.Count(p.body, says) != 1 {
			t.Errorf("%q is there %d times\n%s", says, strings.Count(p.body, says), p.body)
		}
	}
	if p := b.get("/apps/new"); !strings.Contains(p.body, `value="photos"`) || strings.Contains(p.body, `value="pay"`) {
		t.Errorf("the scopes of a new app:\n%s", p.body)
	}
}

// TestUsersFile: a line that is wrong is named, and changes nothing.
func TestUsersFile(t *testing.T) {
	t.Parallel()
	good := console.CheapLine("ann", password)
	for _, tt := range []struct{ name, file, says string }{
		{"no hash", "ann:secret", "no argon2id"}, {"twice", good + good, "twice"}, {"no name", ":x", "name"}, {"upper case", "Ann:x", "name"},
		{"what nobody owns", strings.Replace(good, "ann", "unknown", 1), "name"}, {"bcrypt", "ann:$2a$10$abc", "no argon2id"},
		{"memory without end", "ann:$argon2id$v=19$m=99999999,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "out of range"},
		{"no passes", "ann:$argon2id$v=19$m=64,t=0,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "out of range"},
	} {
		path := write(t, tt.file)
		if _, err := console.OpenUsers(path); err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
