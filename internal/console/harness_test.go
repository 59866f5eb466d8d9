package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/console"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

const (
	redirectURI = "http://127.0.0.1:1/callback"
	password    = "correct horse"
	pkce        = "a-verifier-of-at-least-forty-three-characters-0123456789"
)

// rig is a console in front of a server.
type rig struct {
	thirdparty.Target
	url   string // of the console
	users string // path of the users file
	audit *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRig starts the bundled server of a generation, and a console for it.
func newRig(t *testing.T, generation string, change func(*console.Config)) *rig {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	if err := authserver.Migrate(t.Context(), dsn, generation); err != nil {
		t.Fatal(err)
	}
	var public, admin, pages http.Handler
	late := func(h *http.Handler) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*h).ServeHTTP(w, r) }))
		t.Cleanup(s.Close)
		return s
	}
	publicServer, adminServer, consoleServer := late(&public), late(&admin), late(&pages)
	s, err := authserver.New(t.Context(), authserver.Config{Generation: generation, DSN: dsn, Issuer: publicServer.URL, BcryptCost: 4,
		SystemSecret: "a secret of the tests", LoginURL: consoleServer.URL + "/login", ConsentURL: consoleServer.URL + "/consent", DeviceURL: consoleServer.URL + "/device"})
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
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not get ready")
	}
	prefix := ""
	if generation == "2.0" {
		prefix = "/admin"
	}
	r := &rig{Target: thirdparty.Target{Issuer: publicServer.URL, Public: publicServer.URL, Admin: adminServer.URL, AdminPrefix: prefix}, url: consoleServer.URL}
	pages = r.console(t, change)
	return r
}

// console is a console for the rig's server.
func (r *rig) console(t *testing.T, change func(*console.Config)) http.Handler {
	t.Helper()
	r.audit = &lockedBuffer{}
	r.users = filepath.Join(t.TempDir(), "users")
	lines := ""
	for _, name := range []string{"ann", "bob", "root"} {
		lines += console.CheapLine(name, password)
	}
	if err := os.WriteFile(r.users, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := console.OpenUsers(r.users)
	if err != nil {
		t.Fatal(err)
	}
	config := console.Config{Admin: r.Admin, AdminPrefix: r.AdminPrefix, Public: r.Public, Origin: r.url, Users: users,
		Admins: []string{"root"}, Audit: slog.New(slog.NewJSONHandler(r.audit, nil))}
	if change != nil {
		change(&config)
	}
	c, err := console.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c.Handler()
}

// browser keeps cookies, and follows no redirect by itself.
type browser struct {
	t    *testing.T
	http *http.Client
	base string
}

// page is an answer.
type page struct {
	status int
	header http.Header
	body   string
	to     string // Location
}

func (r *rig) browser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, base: r.url, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *browser) do(req *http.Request) page {
	b.t.Helper()
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{res.StatusCode, res.Header, string(body), res.Header.Get("Location")}
}

func (b *browser) request(method, at string, body io.Reader) *http.Request {
	b.t.Helper()
	if strings.HasPrefix(at, "/") {
		at = b.base + at
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, at, body)
	if err != nil {
		b.t.Fatal(err)
	}
	return req
}

func (b *browser) get(at string) page { b.t.Helper(); return b.do(b.request("GET", at, nil)) }

// raw sends a form as it is.
func (b *browser) raw(at string, form url.Values) page {
	b.t.Helper()
	req := b.request("POST", at, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

func (p page) csrf(t *testing.T) string {
	t.Helper()
	m := csrfField.FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("status %d, and no form:\n%s", p.status, p.body)
	}
	return html.UnescapeString(m[1])
}

// send sends a form with the token that a page of this browser has.
func (b *browser) send(at string, form url.Values) page {
	b.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	form.Set("csrf", b.get("/logout").csrf(b.t))
	return b.raw(at, form)
}

// enter logs a person in to the console.
func (b *browser) enter(name string) {
	b.t.Helper()
	if p := b.send("/login", url.Values{"name": {name}, "password": {password}}); p.status != http.StatusSeeOther || p.to != "/access" {
		b.t.Fatalf("%s is not logged in: %d %s\n%s", name, p.status, p.to, p.body)
	}
}

func (r *rig) as(t *testing.T, name string) *browser {
	t.Helper()
	b := r.browser(t)
	b.enter(name)
	return b
}

// follow goes on from an address until a page is shown, or an app's address is reached, and returns where that is.
func (b *browser) follow(at string) (string, page) {
	b.t.Helper()
	for range 10 {
		if strings.HasPrefix(at, redirectURI) {
			return at, page{}
		}
		p := b.get(at)
		if p.to == "" {
			return at, p
		}
		next, err := url.Parse(at)
		if err == nil {
			next, err = next.Parse(p.to)
		}
		if err != nil {
			b.t.Fatal(err)
		}
		at = next.String()
	}
	b.t.Fatal("the browser is sent in circles")
	return "", page{}
}

func query(t *testing.T, at, name string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get(name)
}

// app is a registered one.
type app struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}

// register registers an app by the admin API, as anybody may have.
func (r *rig) register(t *testing.T, change map[string]any) app {
	t.Helper()
	fields := map[string]any{"client_name": "Photo printer", "owner": "ann", "redirect_uris": []string{redirectURI},
		"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid offline_access profile photos", "audience": []string{"https://api.example"}}
	for k, v := range change {
		fields[k] = v
	}
	var a app
	if err := r.Call(t.Context(), http.MethodPost, "/clients", fields, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *rig) authURL(a app, change url.Values) string {
	q := url.Values{"client_id": {a.ID}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "state": {"a-state-of-mine"},
		"scope": {"openid offline_access profile photos"}, "code_challenge": {oauth2.S256ChallengeFromVerifier(pkce)}, "code_challenge_method": {"S256"}}
	for k, v := range change {
		q[k] = v
	}
	return r.Issuer + "/oauth2/auth?" + q.Encode()
}

// toLogin begins an authorization and stops at the log-in page.
func (b *browser) toLogin(r *rig, a app, change url.Values) (challenge string, p page) {
	b.t.Helper()
	at, p := b.follow(r.authURL(a, change))
	if challenge = query(b.t, at, "login_challenge"); challenge == "" || p.status != http.StatusOK {
		b.t.Fatalf("no log-in page: %d %s\n%s", p.status, at, p.body)
	}
	return challenge, p
}

// toConsent goes on to the consent page.
func (b *browser) toConsent(r *rig, a app, name string, change url.Values) (challenge string, p page) {
	b.t.Helper()
	login, p := b.toLogin(r, a, change)
	p = b.raw("/login", url.Values{"csrf": {p.csrf(b.t)}, "login_challenge": {login}, "name": {name}, "password": {password}})
	if p.status != http.StatusSeeOther {
		b.t.Fatalf("not logged in: %d\n%s", p.status, p.body)
	}
	at, p := b.follow(p.to)
	if challenge = query(b.t, at, "consent_challenge"); challenge == "" || p.status != http.StatusOK {
		b.t.Fatalf("no consent page: %d %s\n%s", p.status, at, p.body)
	}
	return challenge, p
}

// tokens are an answer of the token endpoint.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope"`
	Error   string `json:"error"`
}

func (r *rig) token(t *testing.T, a app, form url.Values) tokens {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Public+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(a.ID, a.Secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out tokens
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *rig) exchange(t *testing.T, a app, code string) tokens {
	t.Helper()
	return r.token(t, a, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {pkce}})
}

func (r *rig) active(t *testing.T, token string) bool {
	t.Helper()
	ok, err := r.Active(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// write makes a file.
func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// audience is what a token may be used at.
func (r *rig) audience(t *testing.T, token string) []string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Admin+r.AdminPrefix+"/oauth2/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var out struct {
		Audience []string `json:"aud"`
	}
	if err := thirdparty.Do(req, &out); err != nil {
		t.Fatal(err)
	}
	return out.Audience
}
