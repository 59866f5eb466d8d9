package console_test

import (
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/console"
)

// TestSomeScopes: what a person took away is not in the token, whatever the app asked for.
func TestSomeScopes(t *testing.T) {
	t.Parallel()
	for _, generation := range []string{"1.1", "2.0"} {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, generation, nil)
			a := r.register(t, map[string]any{"audience": []string{"https://api.example", "https://pay.example"}})
			b := r.browser(t)
			challenge, p := b.toConsent(r, a, "ann", url.Values{"audience": {"https://api.example https://pay.example"}})
			for _, want := range []string{"Photo printer", "an app on this device (127.0.0.1:1)", "https://api.example", "Know who you are", "<code><bdi>photos</bdi></code>", "not verified", "This app is new here"} {
				if !strings.Contains(p.body, want) {
					t.Errorf("the consent page does not say %q", want)
				}
			}
			p = b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {challenge}, "choice": {"allow"},
				"scope": {"photos", "a-scope-that-was-not-asked-for"}, "audience": {"https://api.example", "https://evil.example"}})
			at, _ := b.follow(p.to)
			if query(t, at, "state") != "a-state-of-mine" {
				t.Errorf("the app is answered at %s", at)
			}
			got := r.exchange(t, a, query(t, at, "code"))
			if got.Scope != "openid photos" || !r.active(t, got.Access) {
				t.Errorf("the token has the scope %q: %s", got.Scope, got.Error)
			}
			if aud := r.audience(t, got.Access); !slices.Equal(aud, []string{"https://api.example"}) {
				t.Errorf("the token is for %q", aud)
			}
		})
	}
}

// TestRefusals go back to the app as errors.
func TestRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	a := r.register(t, nil)
	b := r.browser(t)
	challenge, p := b.toLogin(r, a, nil)
	p = b.raw("/login", url.Values{"csrf": {p.csrf(t)}, "login_challenge": {challenge}, "choice": {"cancel"}})
	if at, _ := b.follow(p.to); query(t, at, "error") != "access_denied" || query(t, at, "code") != "" {
		t.Errorf("a cancelled log-in ends at %s", at)
	}
	challenge, p = b.toConsent(r, a, "ann", nil)
	p = b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {challenge}, "choice": {"refuse"}, "scope": {"photos"}})
	if at, _ := b.follow(p.to); query(t, at, "error") != "access_denied" || query(t, at, "code") != "" {
		t.Errorf("a refused consent ends at %s", at)
	}
	// Nothing taken, of scopes of which none is needed: asked again.
	challenge, p = b.toConsent(r, a, "ann", url.Values{"scope": {"photos"}})
	p = b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {challenge}, "choice": {"allow"}})
	if p.status != http.StatusBadRequest || !strings.Contains(p.body, "Choose at least one") {
		t.Errorf("nothing granted: %d\n%s", p.status, p.body)
	}
}

// TestRemembered: who is remembered goes through both pages without being asked, as themselves; who was taken out of the
// users file does not, and is forgotten.
func TestRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	a := r.register(t, nil)
	b := r.browser(t)
	login, p := b.toLogin(r, a, nil)
	p = b.raw("/login", url.Values{"csrf": {p.csrf(t)}, "login_challenge": {login}, "name": {"ann"}, "password": {password}, "remember": {"yes"}})
	at, p := b.follow(p.to)
	p = b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {query(t, at, "consent_challenge")}, "choice": {"allow"},
		"scope": {"openid", "offline_access", "profile", "photos"}, "remember": {"yes"}})
	b.follow(p.to)
	// The console has forgotten the person, the server has not: no session of the console comes of that.
	b.send("/logout", url.Values{"choice": {"leave"}})
	at, _ = b.follow(r.authURL(a, nil))
	if got := r.exchange(t, a, query(t, at, "code")); got.Scope != "openid offline_access profile photos" {
		t.Errorf("remembered: %s, token of %q", at, got.Scope)
	}
	if p := b.get("/logout"); strings.Contains(p.body, "logged in as") {
		t.Errorf("a log-in that was skipped makes a session:\n%s", p.body)
	}
	if err := os.WriteFile(r.users, []byte(console.CheapLine("bob", password)), 0o600); err != nil {
		t.Fatal(err)
	}
	if at, _ = b.follow(r.authURL(a, nil)); query(t, at, "error") != "access_denied" {
		t.Errorf("a person who is gone ends at %s", at)
	}
	if at, p = b.follow(r.authURL(a, nil)); p.status != http.StatusOK || query(t, at, "login_challenge") == "" {
		t.Errorf("a person who is gone is still remembered: %s", at)
	}
}

// TestChallenges that are unknown, used or another's get a page that says so.
func TestChallenges(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	a := r.register(t, nil)
	b := r.browser(t)
	login, _ := b.toLogin(r, a, nil)
	consent, consentPage := b.toConsent(r, a, "ann", nil)
	used, p := b.toConsent(r, a, "ann", nil)
	p = b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {used}, "choice": {"allow"}})
	b.follow(p.to)
	stranger := r.as(t, "bob")
	for _, tt := range []struct {
		name   string
		b      *browser
		method string
		path   string
		status int
		says   string
	}{
		{"unknown login", b, "GET", "/login?login_challenge=nonsense", 404, "does not work any more"},
		{"unknown consent", b, "GET", "/consent?consent_challenge=nonsense", 404, "does not work any more"},
		{"no consent", b, "GET", "/consent", 404, "does not work any more"},
		{"log-out of a server without challenges", b, "GET", "/logout?logout_challenge=nonsense", 404, "does not work any more"},
		{"bytes that no database takes", b, "GET", "/login?login_challenge=%00%ff", 404, "does not work any more"},
		{"used consent", b, "GET", "/consent?consent_challenge=" + used, 410, "answered already"},
		{"used consent, form", b, "POST", "/consent?consent_challenge=" + used, 410, "answered already"},
		{"another's consent", stranger, "GET", "/consent?consent_challenge=" + consent, 403, "another log-in"},
		{"another's consent, form", stranger, "POST", "/consent?consent_challenge=" + consent, 403, "another log-in"},
		{"a look ahead", b, "HEAD", "/login?login_challenge=" + login, 405, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p page
			path, q, _ := strings.Cut(tt.path, "?")
			if tt.method == "POST" {
				form, err := url.ParseQuery(q)
				if err != nil {
					t.Fatal(err)
				}
				form.Set("choice", "allow")
				p = tt.b.send(path, form)
			} else {
				p = tt.b.do(tt.b.request(tt.method, tt.path, nil))
			}
			if p.status != tt.status || !strings.Contains(p.body, tt.says) || strings.Contains(p.body, "goroutine") {
				t.Errorf("status %d, want %d and %q\n%s", p.status, tt.status, tt.says, p.body)
			}
		})
	}
	// The stranger's attempts have used nothing up.
	if p := b.raw("/consent", url.Values{"csrf": {consentPage.csrf(t)}, "consent_challenge": {consent}, "choice": {"refuse"}}); p.status != http.StatusForbidden {
		t.Errorf("a token from before another log-in is taken: %d", p.status)
	}
	if p := b.send("/consent", url.Values{"consent_challenge": {consent}, "choice": {"allow"}}); p.status != http.StatusSeeOther {
		t.Errorf("the person's own consent: %d\n%s", p.status, p.body)
	}
}
