package console_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/console"
)

var (
	secretShown = regexp.MustCompile(`<code class="secret">([^<]+)</code>`)
	idShown     = regexp.MustCompile(`<dd><code>([^<]+)</code></dd>`)
	seenShown   = regexp.MustCompile(`name="seen" value="([0-9a-f]+)"`)
)

// newApp registers an app by the console, and reads what is shown of it once.
func (b *browser) newApp(form url.Values) app {
	b.t.Helper()
	if p := b.send("/apps", form); p.status != http.StatusSeeOther || p.to != "/apps" {
		b.t.Fatalf("not registered: %d\n%s", p.status, p.body)
	}
	return b.shownApp()
}

func (b *browser) shownApp() app {
	b.t.Helper()
	p := b.get("/apps")
	secret, id := secretShown.FindStringSubmatch(p.body), idShown.FindStringSubmatch(p.body)
	if secret == nil || id == nil {
		b.t.Fatalf("no secret is shown:\n%s", p.body)
	}
	if again := b.get("/apps"); strings.Contains(again.body, secret[1]) {
		b.t.Error("the secret is shown twice")
	}
	return app{html.UnescapeString(id[1]), html.UnescapeString(secret[1])}
}

// TestJourney: an app is registered, gets some of what it asks for, is listed, and loses it.
func TestJourney(t *testing.T) {
	t.Parallel()
	for _, generation := range []string{"1.1", "2.0"} {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, generation, nil)
			developer := r.as(t, "bob")
			a := developer.newApp(url.Values{"name": {"Calendar"}, "kind": {"web"}, "redirects": {redirectURI}, "scope": {"openid", "profile", "offline_access"}})

			b := r.browser(t)
			want := url.Values{"scope": {"openid profile offline_access"}}
			challenge, p := b.toConsent(r, a, "ann", want)
			p = b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {challenge}, "choice": {"allow"}, "scope": {"offline_access"}})
			at, _ := b.follow(p.to)
			got := r.exchange(t, a, query(t, at, "code"))
			if got.Scope != "openid offline_access" || got.Refresh == "" || !r.active(t, got.Access) {
				t.Fatalf("token: %+v", got)
			}
			p = b.get("/access")
			for _, says := range []string{"Calendar", "<bdi>bob</bdi>", "Stay connected while you are away"} {
				if !strings.Contains(p.body, says) {
					t.Errorf("the apps with access: no %q\n%s", says, p.body)
				}
			}
			if strings.Contains(p.body, "See your profile") {
				t.Error("a scope is listed that was not given")
			}

			// A new secret ends the old one.
			if p := developer.send("/apps/"+a.ID+"/secret", nil); p.to != "/apps" {
				t.Fatalf("no new secret: %d", p.status)
			}
			renewed := developer.shownApp()
			refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}}
			if old := r.token(t, a, refresh); old.Error != "invalid_client" {
				t.Errorf("the old secret: %+v", old)
			}
			if renewed.ID != a.ID {
				t.Errorf("a secret of %s is shown for %s", renewed.ID, a.ID)
			}

			// Another's revocation of the same app changes nothing; the person's own ends the tokens.
			r.as(t, "bob").send("/access/revoke", url.Values{"client": {a.ID}, "subject": {"ann"}})
			if !r.active(t, got.Access) {
				t.Error("another person took the access back")
			}
			if p := b.send("/access/revoke", url.Values{"client": {a.ID}}); p.to != "/access" {
				t.Fatalf("not revoked: %d\n%s", p.status, p.body)
			}
			if r.active(t, got.Access) || r.active(t, got.Refresh) {
				t.Error("a token lives after its access was taken back")
			}
			if strings.Contains(b.get("/access").body, "Calendar") {
				t.Error("an app is listed whose access was taken back")
			}

			if p := developer.send("/apps/"+a.ID+"/delete", nil); p.status != http.StatusBadRequest {
				t.Errorf("deleted without the box: %d", p.status)
			}
			developer.send("/apps/"+a.ID+"/delete", url.Values{"sure": {"yes"}})
			if strings.Contains(developer.get("/apps").body, a.ID) {
				t.Error("a deleted app is listed")
			}
			for _, leak := range []string{a.Secret, renewed.Secret, password, challenge} {
				if strings.Contains(r.audit.String(), leak) {
					t.Errorf("the audit log has %q", leak)
				}
			}
			for _, action := range []string{"register app", "log in", "grant", "renew secret", "revoke", "delete app"} {
				if !strings.Contains(r.audit.String(), `"msg":"`+action+`"`) {
					t.Errorf("the audit log has no %q", action)
				}
			}
		})
	}
}

// TestRevokeAll takes everything back, of one person alone.
func TestRevokeAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	token := map[string]tokens{}
	for _, name := range []string{"ann", "bob"} {
		a, b := r.register(t, nil), r.browser(t)
		challenge, p := b.toConsent(r, a, name, nil)
		p = b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {challenge}, "choice": {"allow"}})
		at, _ := b.follow(p.to)
		token[name] = r.exchange(t, a, query(t, at, "code"))
	}
	b := r.as(t, "ann")
	b.send("/access/revoke-all", nil)
	if r.active(t, token["ann"].Access) || !r.active(t, token["bob"].Access) {
		t.Error("not the tokens of the one person, and of nobody else, were ended")
	}
}

// TestNewApp: each field says what is wrong with it, and nothing is registered.
func TestNewApp(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	verified := r.register(t, map[string]any{"client_name": "Paypal", "owner": "ann"})
	root := r.as(t, "root")
	root.verifyApp(t, verified)
	b := r.as(t, "bob")
	good := url.Values{"name": {"Calendar"}, "kind": {"web"}, "redirects": {"https://app.example/callback"}, "scope": {"openid"}}
	for _, tt := range []struct {
		name, field, value, says string
	}{
		{"no name", "name", "", "name with letters"},
		{"only dots", "name", "...", "name with letters"},
		{"a long name", "name", strings.Repeat("x", 61), "at most 60"},
		{"letters of two alphabets", "name", "Cаlendar", "several alphabets"},
		{"an invisible letter", "name", "Cal\u200bendar", "cannot be seen"},
		{"a name that turns round", "name", "Cal\u202eendar", "cannot be seen"},
		{"the service's", "name", "T1deover", "service itself"},
		{"a verified app's", "name", "PayPaI", "verified app of somebody else"},
		{"a verified app's in Cyrillic", "name", "Раураl", "several alphabets"},
		{"a verified app's with accents", "name", "Páypàl", "verified app of somebody else"},
		{"no address", "redirects", " \n", "at least one"},
		{"eleven addresses", "redirects", strings.Repeat("https://a.example/ https://a.example/?", 1) + strings.Join([]string{" https://a.example/1", "https://a.example/2", "https://a.example/3", "https://a.example/4", "https://a.example/5", "https://a.example/6", "https://a.example/7", "https://a.example/8", "https://a.example/9"}, " "), "at most 10"},
		{"a path", "redirects", "/callback", "complete address"},
		{"a fragment", "redirects", "https://app.example/#x", "has a #"},
		{"a script", "redirects", "javascript:alert(1)", "browsers open themselves"},
		{"a user", "redirects", "https://bank.example@evil.example/", "user name"},
		{"a wildcard", "redirects", "https://*.example/", "has a *"},
		{"http", "redirects", "http://app.example/", "use https"},
		{"a device's scheme", "redirects", "com.example.app:/callback", "no https address"},
		{"a Cyrillic host", "redirects", "https://аpp.example/", "xn--"},
		{"a backslash", "redirects", `https://app.example\@evil.example/`, "complete address"},
		{"one bad of two", "redirects", "https://app.example/\nhttp://app.example/", "use https"},
		{"no scope", "scope", "", "cannot be had"},
		{"a scope of the server's own", "scope", "photos", "cannot be had"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			form := url.Values{}
			for k, v := range good {
				form[k] = v
			}
			form[tt.field] = []string{tt.value}
			p := b.send("/apps", form)
			if p.status != http.StatusBadRequest || !strings.Contains(p.body, tt.says) || !strings.Contains(p.body, `role="alert"`) {
				t.Errorf("status %d, want 400 and %q\n%s", p.status, tt.says, p.body)
			}
		})
	}
	if p := b.get("/apps"); !strings.Contains(p.body, "You have not registered an app.") {
		t.Errorf("something was registered:\n%s", p.body)
	}
	// An app on devices has no secret, and may have a scheme of its own.
	good["kind"], good["redirects"] = []string{"public"}, []string{"com.example.app:/callback\nhttp://127.0.0.1/callback"}
	if p := b.send("/apps", good); p.to != "/apps" {
		t.Fatalf("not registered: %d\n%s", p.status, p.body)
	}
	p := b.get("/apps")
	if strings.Contains(p.body, `class="secret"`) || !strings.Contains(p.body, "com.example.app:/callback") || !strings.Contains(p.body, "without a secret") {
		t.Errorf("a public app is shown as\n%s", p.body)
	}
}

// verifyApp has an administrator verify what they see of an app.
func (b *browser) verifyApp(t *testing.T, a app) {
	t.Helper()
	p := b.get("/admin")
	_, card, ok := strings.Cut(p.body, "<code>"+a.ID+"</code>")
	seen := seenShown.FindStringSubmatch(card)
	if !ok || seen == nil {
		t.Fatalf("the app is not listed:\n%s", p.body)
	}
	if p := b.send("/admin/apps/"+a.ID+"/verify", url.Values{"seen": {seen[1]}}); p.to != "/admin" {
		t.Fatalf("not verified: %d\n%s", p.status, p.body)
	}
}

// TestAdmin: what an administrator says of an app holds until the app is another, and what they block is refused.
func TestAdmin(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	a := r.register(t, map[string]any{"metadata": map[string]any{"team": "printers"}})
	look := r.register(t, map[string]any{"client_name": "Рhоtо рrіntеr", "owner": "bob"})
	root, b := r.as(t, "root"), r.browser(t)
	if p := root.send("/admin/apps/"+a.ID+"/verify", url.Values{"seen": {"something else"}}); p.status != http.StatusConflict {
		t.Errorf("verified unseen: %d", p.status)
	}
	root.verifyApp(t, a)
	if _, p := b.toConsent(r, a, "ann", nil); !strings.Contains(p.body, "Verified by") || strings.Contains(p.body, "not verified this app") {
		t.Errorf("a verified app:\n%s", p.body)
	}
	if _, p := b.toConsent(r, look, "ann", nil); !strings.Contains(p.body, "looks like that of a verified app") || !strings.Contains(p.body, "several alphabets") {
		t.Errorf("an app that looks like it:\n%s", p.body)
	}
	var stored map[string]any
	if err := r.Call(t.Context(), "GET", "/clients/"+a.ID, nil, &stored); err != nil {
		t.Fatal(err)
	}
	if stored["metadata"].(map[string]any)["team"] != "printers" || stored["scope"] != "openid offline_access profile photos" {
		t.Errorf("what others keep of the app is changed: %v", stored)
	}
	stored["redirect_uris"] = []string{redirectURI, "https://evil.example/"}
	if err := r.Call(t.Context(), "PUT", "/clients/"+a.ID, stored, nil); err != nil {
		t.Fatal(err)
	}
	if _, p := b.toConsent(r, a, "ann", nil); strings.Contains(p.body, "Verified by") {
		t.Error("an app with another address is still verified")
	}

	challenge, p := b.toConsent(r, a, "ann", nil)
	consented := url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {challenge}, "choice": {"allow"}, "scope": {"offline_access"}}
	at, _ := b.follow(b.raw("/consent", consented).to)
	token := r.exchange(t, a, query(t, at, "code"))
	challenge, p = b.toConsent(r, a, "ann", nil)
	root.send("/admin/apps/"+a.ID+"/block", nil)
	at, _ = b.follow(b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {challenge}, "choice": {"allow"}}).to)
	if query(t, at, "error") != "access_denied" {
		t.Errorf("a blocked app is answered at %s", at)
	}
	root.send("/admin/apps/"+a.ID+"/tokens", nil)
	if r.active(t, token.Access) || !r.active(t, token.Refresh) {
		t.Error("not what the page says of access and refresh tokens")
	}
	root.send("/admin/apps/"+a.ID+"/unblock", nil)
	b.toConsent(r, a, "ann", nil)
	root.send("/admin/apps/"+a.ID+"/delete", url.Values{"sure": {"yes"}})
	if r.active(t, token.Refresh) {
		t.Error("a token lives after its app was deleted")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b  string
		alike bool
	}{
		{"PayPal", "paypal", true}, {"PayPal", "PayPaI", true}, {"PayPal", "Раураӏ", true}, {"Google", "G00gle", true}, {"Modern", "Modem", true},
		{"Ｇｏｏｇｌｅ", "google", true}, {"Photo printer", "Photo-Printer", true}, {"Ann’s app", "Anns app", true},
		{"Calendar", "Calender", false}, {"Photos", "Photo", false}, {"日本", "中国", false},
	} {
		if got := console.Skeleton(tt.a) == console.Skeleton(tt.b); got != tt.alike {
			t.Errorf("%q and %q alike: %v", tt.a, tt.b, got)
		}
	}
	for name, mixed := range map[string]bool{"Calendar": false, "Календарь": false, "カレンダー app": false, "Cаlendar": true, "Αpp": true} {
		if console.Mixed(name) != mixed {
			t.Errorf("%q mixed: %v", name, !mixed)
		}
	}
	if got := console.Visible("a\u202eb\u0000c\u200bd\ne"); got != "abcd e" {
		t.Errorf("visible: %q", got)
	}
}
