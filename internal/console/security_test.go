package console_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/console"
)

// at is a route's path for some app.
func at(path, id string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path, "{$}"), "{id}", id)
}

// TestForms: no form is taken without its browser's token, from another page, from nobody or from who may not.
func TestForms(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	a := r.register(t, map[string]any{"owner": "root"})
	root, nobody := r.as(t, "root"), r.browser(t)
	other, mine := r.as(t, "root").get("/logout").csrf(t), root.get("/logout").csrf(t)
	nobody.get("/login")
	all := url.Values{"name": {"Calendar"}, "redirects": {"https://app.example/"}, "scope": {"openid"}, "sure": {"yes"}, "client": {a.ID}, "choice": {"leave"}, "password": {password}}
	posts := 0
	for _, route := range console.Routes() {
		if route.Method != http.MethodPost {
			continue
		}
		posts++
		path := at(route.Path, a.ID)
		for name, change := range map[string]func(*http.Request, url.Values){
			"no token":             func(*http.Request, url.Values) {},
			"an empty one":         func(_ *http.Request, f url.Values) { f.Set("csrf", "") },
			"a wrong one":          func(_ *http.Request, f url.Values) { f.Set("csrf", strings.Repeat("A", 43)) },
			"of another browser":   func(_ *http.Request, f url.Values) { f.Set("csrf", other) },
			"in the address alone": func(r *http.Request, _ url.Values) { r.URL.RawQuery = url.Values{"csrf": {mine}}.Encode() },
			"from another site": func(r *http.Request, f url.Values) {
				f.Set("csrf", mine)
				r.Header.Set("Sec-Fetch-Site", "cross-site")
			},
			"from another origin": func(r *http.Request, f url.Values) {
				f.Set("csrf", mine)
				r.Header.Set("Origin", "https://evil.example")
			},
			"without a cookie": func(r *http.Request, f url.Values) {
				f.Set("csrf", mine)
				r.Header.Set("Cookie", "tideover_console=; other=1")
			},
		} {
			form := url.Values{}
			for k, v := range all {
				form[k] = v
			}
			req := root.request("POST", path, nil)
			change(req, form)
			body := root.request("POST", req.URL.String(), strings.NewReader(form.Encode()))
			body.Header = req.Header
			body.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			b := root
			if name == "without a cookie" {
				b = r.browser(t)
			}
			if p := b.do(body); p.status != http.StatusForbidden {
				t.Errorf("POST %s %s: %d", path, name, p.status)
			}
		}
		if strings.HasPrefix(path, "/a") {
			if p := nobody.send(path, all); p.status != http.StatusForbidden {
				t.Errorf("POST %s by nobody: %d", path, p.status)
			}
		}
		if strings.HasPrefix(path, "/admin") {
			if p := r.as(t, "ann").send(path, all); p.status != http.StatusForbidden {
				t.Errorf("POST %s by one who is no administrator: %d", path, p.status)
			}
		}
	}
	if posts < 12 {
		t.Errorf("only %d forms", posts)
	}
	if p := root.get("/apps"); !strings.Contains(p.body, a.ID) || strings.Contains(p.body, "Calendar") || strings.Contains(p.body, "Blocked") {
		t.Errorf("a forged form had an effect:\n%s", p.body)
	}
}

var (
	tag       = regexp.MustCompile(`<[a-zA-Z][^>]*>`)
	harmless  = strings.Fields("html head meta title link body a header div strong nav ul li span b main h1 h2 h3 p form input label button section article dl dt dd bdi time code fieldset legend textarea details summary br")
	dangerous = regexp.MustCompile(`(?i)\son[a-z]+\s*=|\sstyle\s*=|javascript:|\ssrc\s*=`)
	postForm  = regexp.MustCompile(`<form[^>]*method="post"`)
)

// wellMade holds what every page must be, whatever strangers wrote into it.
func wellMade(t *testing.T, name string, p page) {
	t.Helper()
	h := p.header
	csp := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("%s: the policy %q has no %s", name, csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "script") {
		t.Errorf("%s: the policy %q is too wide", name, csp)
	}
	for k, v := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"} {
		if h.Get(k) != v {
			t.Errorf("%s: %s is %q", name, k, h.Get(k))
		}
	}
	for _, found := range tag.FindAllString(p.body, -1) {
		element := strings.ToLower(strings.FieldsFunc(found[1:], func(r rune) bool { return r == ' ' || r == '>' || r == '/' })[0])
		if !slices.Contains(harmless, element) || dangerous.MatchString(unquoted(found)) {
			t.Errorf("%s: %s", name, found)
		}
	}
	if forms, tokens := len(postForm.FindAllString(p.body, -1)), strings.Count(p.body, `name="csrf"`); forms != tokens {
		t.Errorf("%s: %d forms and %d tokens", name, forms, tokens)
	}
}

var value = regexp.MustCompile(`(value|content)="[^"]*"`)

// unquoted is a tag without the attributes whose value is a mere text.
func unquoted(tag string) string { return value.ReplaceAllString(tag, "") }

// TestStrangersWords: whatever an app or a link says of itself is text.
func TestStrangersWords(t *testing.T) {
	t.Parallel()
	const evil = `"><script>alert(1)</script><img/src=x/onerror=alert(1)>'{{.}}`
	r := newRig(t, "2.0", nil)
	fields := map[string]any{"client_name": evil, "owner": "ann", "scope": evil + " openid", "audience": []string{evil}, "redirect_uris": []string{redirectURI, "https://evil.example/?" + "'onmouseover='alert(1)"},
		"client_id": "x/../../admin?" + evil, "contacts": []string{evil}, "metadata": map[string]any{"tideover_console": evil}}
	a := r.register(t, fields)
	fields["client_id"], fields["owner"] = "another", evil
	r.register(t, fields)
	b, root := r.browser(t), r.as(t, "root")
	asked := url.Values{"scope": {evil + " openid"}, "audience": {evil}, "state": {evil}, "login_hint": {evil}}
	_, p := b.toLogin(r, a, asked)
	wellMade(t, "log-in", p)
	challenge, p := b.toConsent(r, a, "ann", asked)
	wellMade(t, "consent", p)
	if !strings.Contains(p.body, "&lt;script&gt;alert(1)") {
		t.Error("the app's name and scope are not shown as they are")
	}
	p = b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {challenge}, "choice": {"allow"}, "scope": {evil}, "audience": {evil}})
	if back, _ := b.follow(p.to); query(t, back, "state") != evil || query(t, back, "code") == "" {
		t.Errorf("the app is answered at %s", back)
	}
	for _, path := range []string{"/access", "/apps", "/apps/new", "/logout", "/error?error=" + url.QueryEscape(evil) + "&error_description=" + url.QueryEscape(evil),
		"/login?login_challenge=" + url.QueryEscape(evil), "/consent?consent_challenge=" + url.QueryEscape(evil), "/logout?logout_challenge=" + url.QueryEscape(evil), "/" + url.PathEscape(evil), "/admin"} {
		wellMade(t, path, b.get(path))
	}
	for _, path := range []string{"/admin", "/admin?owner=" + url.QueryEscape(evil)} {
		p := root.get(path)
		wellMade(t, path, p)
		if !strings.Contains(p.body, "&lt;script&gt;") || strings.Contains(p.body, `action="/admin/apps/x/`) {
			t.Errorf("%s:\n%s", path, p.body)
		}
	}
	for path, form := range map[string]url.Values{
		"/login":         {"name": {evil}, "password": {evil}, "next": {evil}},
		"/apps":          {"name": {evil}, "redirects": {evil}, "scope": {evil}, "kind": {evil}},
		"/access/revoke": {"client": {""}},
		"/apps/" + url.PathEscape(evil) + "/delete": {"sure": {"yes"}},
	} {
		wellMade(t, "POST "+path, b.send(path, form))
	}
	// Its odd id does not keep an app from being taken back, or deleted.
	if p := b.send("/access/revoke", url.Values{"client": {a.ID}}); p.to != "/access" || strings.Contains(b.get("/access").body, "script") {
		t.Errorf("not taken back: %d", p.status)
	}
	if p := b.send("/apps/"+url.PathEscape(a.ID)+"/delete", url.Values{"sure": {"yes"}}); p.to != "/apps" {
		t.Errorf("not deleted: %d\n%s", p.status, p.body)
	}
}

// TestOthersApps: another's app is to a person as one that is not there.
func TestOthersApps(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	a := r.register(t, map[string]any{"owner": "ann"})
	unowned := r.register(t, map[string]any{"owner": ""})
	b := r.as(t, "bob")
	for _, action := range []string{"/secret", "/delete"} {
		missing := b.send("/apps/nothing"+action, url.Values{"sure": {"yes"}})
		for _, id := range []string{a.ID, unowned.ID, "..", ".", "..%2f..%2fadmin", "%2e%2e", url.PathEscape(a.ID + "?x"), "%00", strings.Repeat("x", 300)} {
			p := b.send("/apps/"+id+action, url.Values{"sure": {"yes"}})
			redirected := p.status == http.StatusTemporaryRedirect || p.status == http.StatusMovedPermanently || p.status == http.StatusMethodNotAllowed // a path with dots is none
			if !redirected && (p.status != http.StatusNotFound || csrfField.ReplaceAllString(p.body, "") != csrfField.ReplaceAllString(missing.body, "")) {
				t.Errorf("%s of %s: %d\n%s", action, id, p.status, p.body)
			}
		}
	}
	if p := b.get("/apps"); strings.Contains(p.body, a.ID) || strings.Contains(p.body, unowned.ID) {
		t.Error("another's app is listed")
	}
	if p := b.get("/admin"); p.status != http.StatusForbidden || strings.Contains(p.body, a.ID) {
		t.Errorf("the administrators' page: %d", p.status)
	}
	var still app
	if err := r.Call(t.Context(), "GET", "/clients/"+a.ID, nil, &still); err != nil || still.ID != a.ID {
		t.Errorf("the app: %v", err)
	}
}

// elsewhere is a console without a server.
func elsewhere(t *testing.T, change func(*console.Config)) *rig {
	t.Helper()
	var pages http.Handler
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { pages.ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	r := &rig{url: s.URL}
	r.Admin, r.Public = "http://127.0.0.1:1", "http://127.0.0.1:1"
	pages = r.console(t, change)
	return r
}

func cookieOf(p page, name string) string {
	for _, c := range p.header.Values("Set-Cookie") {
		if strings.HasPrefix(c, name+"=") {
			return c
		}
	}
	return ""
}

// TestSessions: a log-in has a new id, ends everywhere at once, and its cookie is nobody else's.
func TestSessions(t *testing.T) {
	t.Parallel()
	var hours atomic.Int64
	begin := time.Now()
	r := elsewhere(t, func(c *console.Config) {
		c.Now = func() time.Time { return begin.Add(time.Duration(hours.Load()) * time.Minute) }
	})
	loggedIn := func(cookie string) bool {
		b := r.browser(t)
		req := b.request("GET", "/apps/new", nil)
		req.Header.Set("Cookie", cookie)
		return b.do(req).status == http.StatusOK
	}
	planted := "tideover_console=" + strings.Repeat("P", 43)
	b := r.browser(t)
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	b.http.Jar.SetCookies(u, []*http.Cookie{{Name: "tideover_console", Value: strings.Repeat("P", 43)}})
	p := b.send("/login", url.Values{"name": {" Ann "}, "password": {password}})
	set := cookieOf(p, "tideover_console")
	fresh, _, _ := strings.Cut(set, ";")
	if p.to != "/access" || fresh == planted || loggedIn(planted) || !loggedIn(fresh) {
		t.Errorf("after a log-in with a planted cookie: %d %q", p.status, set)
	}
	for _, want := range []string{"; Path=/", "; HttpOnly", "; SameSite=Lax"} {
		if !strings.Contains(set, want) {
			t.Errorf("the cookie %q has no %s", set, want)
		}
	}
	if strings.Contains(set, "Domain") || strings.Contains(set, "Max-Age") {
		t.Errorf("the cookie %q goes too far", set)
	}
	b.send("/logout", url.Values{"choice": {"stay"}})
	if !loggedIn(fresh) {
		t.Error("who stays is logged out")
	}
	b.send("/logout", url.Values{"choice": {"leave"}})
	if loggedIn(fresh) {
		t.Error("the cookie is worth something after the log-out")
	}
	session := func() string {
		b.enter("ann")
		return "tideover_console=" + b.http.Jar.Cookies(u)[slices.IndexFunc(b.http.Jar.Cookies(u), func(c *http.Cookie) bool { return c.Name == "tideover_console" })].Value
	}
	idle := session()
	hours.Add(31)
	if loggedIn(idle) {
		t.Error("a session that nobody used for half an hour lives")
	}
	used := session()
	for range 24 {
		if !loggedIn(used) {
			t.Fatal("a session that is used ends")
		}
		hours.Add(30)
	}
	if hours.Add(1); loggedIn(used) {
		t.Error("a session lives for more than half a day")
	}
	changed := session()
	if err := os.WriteFile(r.users, []byte("# one\n"+console.CheapLine("ann", "another password")), 0o600); err != nil {
		t.Fatal(err)
	}
	if loggedIn(changed) {
		t.Error("a session outlives its password")
	}

	// By https, no other host and no plain http can set the cookie.
	secure := elsewhere(t, func(c *console.Config) { c.Origin = "https://login.example" })
	if set := cookieOf(secure.browser(t).get("/login"), "__Host-tideover_console"); !strings.Contains(set, "; Secure") || !strings.Contains(set, "; HttpOnly") || !strings.Contains(set, "; Path=/;") {
		t.Errorf("by https: %q", set)
	}
}

// TestGuessing: wrong passwords run out, for names that nobody has as for others, and not for who has logged in before.
func TestGuessing(t *testing.T) {
	t.Parallel()
	var seconds atomic.Int64
	begin := time.Now()
	r := elsewhere(t, func(c *console.Config) {
		c.Now = func() time.Time { return begin.Add(time.Duration(seconds.Load()) * time.Second) }
		c.BehindProxy = true
	})
	from := func(b *browser, address, name, given string) page {
		token := b.get("/logout").csrf(t)
		req := b.request("POST", "/login", strings.NewReader(url.Values{"csrf": {token}, "name": {name}, "password": {given}}.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("X-Forwarded-For", "203.0.113.9, "+address)
		return b.do(req)
	}
	known := r.as(t, "ann")
	known.send("/logout", url.Values{"choice": {"leave"}})
	stranger := r.browser(t)
	plain := func(p page, name string) string {
		return strings.ReplaceAll(csrfField.ReplaceAllString(p.body, ""), name, "NAME")
	}
	for i := range 10 {
		wrong, unknown := from(stranger, "198.51.100.1", "ann", "wrong password"), from(stranger, "198.51.100.2", "carl", "wrong password")
		if wrong.status != http.StatusUnauthorized || unknown.status != wrong.status || plain(wrong, "ann") != plain(unknown, "carl") {
			t.Fatalf("try %d: %d, and of nobody %d", i, wrong.status, unknown.status)
		}
	}
	for _, name := range []string{"ann", "carl"} {
		p := from(stranger, "198.51.100.3", name, password)
		if p.status != http.StatusTooManyRequests || p.header.Get("Retry-After") == "" {
			t.Errorf("try 11 of %s, from another address: %d", name, p.status)
		}
	}
	if p := from(stranger, "198.51.100.1", "bob", password); p.status != http.StatusSeeOther {
		t.Errorf("another person: %d", p.status)
	}
	if p := from(known, "198.51.100.4", "ann", password); p.status != http.StatusSeeOther {
		t.Errorf("the person, in their own browser: %d", p.status)
	}
	// One address that tries many names runs out, too; a network of IPv6 is one.
	tries := 0
	for ; tries < 60; tries++ {
		if p := from(stranger, "2001:db8::"+string(rune('1'+tries%9)), "name"+string(rune('a'+tries%26))+string(rune('a'+tries/26)), "wrong password"); p.status == http.StatusTooManyRequests {
			break
		}
	}
	if tries != 40 {
		t.Errorf("an address has %d tries", tries)
	}
	seconds.Add(30)
	if p := from(stranger, "198.51.100.1", "ann", password); p.status != http.StatusSeeOther {
		t.Errorf("half a minute later: %d", p.status)
	}
	if strings.Contains(r.audit.String(), "wrong password\",\"password") || strings.Contains(r.audit.String(), password) {
		t.Error("a password is in the audit log")
	}
}

// TestBounds: what is no form of ours is turned away, as a page.
func TestBounds(t *testing.T) {
	t.Parallel()
	r := elsewhere(t, nil)
	b := r.browser(t)
	large := b.send("/login", url.Values{"name": {strings.Repeat("x", console.MaxForm)}})
	multipart := b.request("POST", "/login", strings.NewReader("--x--"))
	multipart.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	broken := b.request("POST", "/login", strings.NewReader("csrf=%zz"))
	broken.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, tt := range []struct {
		name   string
		p      page
		status int
	}{
		{"a large form", large, 413}, {"a form of parts", b.do(multipart), 415}, {"a broken form", b.do(broken), 400},
		{"no such page", b.get("/nowhere"), 404}, {"no server", b.get("/login?login_challenge=x"), 503}, {"a look ahead", b.do(b.request("HEAD", "/login", nil)), 405},
	} {
		if tt.p.status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, tt.p.status, tt.status)
		}
		wellMade(t, tt.name, tt.p)
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
		p := b.do(b.request(method, "/login", nil))
		if p.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, p.status)
		}
		wellMade(t, method, p)
	}
	if p := b.get("/style.css"); p.status != http.StatusOK || !strings.Contains(p.header.Get("Content-Type"), "text/css") || strings.Contains(p.body, "url(") {
		t.Errorf("the stylesheet: %d", p.status)
	}
	for _, to := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "/apps/../../evil", "javascript:alert(1)", "/logout", ""} {
		if p := r.browser(t).send("/login", url.Values{"name": {"ann"}, "password": {password}, "next": {to}}); p.to != "/access" {
			t.Errorf("next %q leads to %q", to, p.to)
		}
	}
	if p := b.get("/apps"); p.status != http.StatusSeeOther || p.to != "/login?next=%2Fapps" {
		t.Errorf("who is logged out is sent to %q", p.to)
	}
}

// TestTexts: each text of the pages is there, and each one that is there is used.
func TestTexts(t *testing.T) {
	t.Parallel()
	pages, err := os.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	source := ""
	for _, dir := range []string{".", "templates"} {
		found, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if !f.IsDir() && f.Name() != "texts.go" && !strings.HasSuffix(f.Name(), "_test.go") {
				text, err := os.ReadFile(dir + "/" + f.Name())
				if err != nil {
					t.Fatal(err)
				}
				source += string(text)
			}
		}
	}
	if len(pages) < 9 {
		t.Errorf("only %d templates", len(pages))
	}
	for _, m := range regexp.MustCompile(`(?:\bt|text\()\s*"([a-z0-9._]+)"`).FindAllStringSubmatch(source, -1) {
		if _, ok := console.Texts[m[1]]; !ok && !strings.HasSuffix(m[1], ".") {
			t.Errorf("there is no text %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?:name: |fault\{[A-Za-z.]+, )"([a-z]+)"`).FindAllStringSubmatch(source, -1) {
		for _, part := range []string{".title", ".text"} {
			if _, ok := console.Texts["fault."+m[1]+part]; !ok {
				t.Errorf("there is no text fault.%s%s", m[1], part)
			}
		}
	}
	for key := range console.Texts {
		name, _, _ := strings.Cut(strings.TrimPrefix(key, "fault."), ".")
		built := strings.HasPrefix(key, "scope.") || strings.HasPrefix(key, "fault.") && strings.Contains(source, `"`+name+`"`)
		if !built && !strings.Contains(source, `"`+key+`"`) {
			t.Errorf("text %s is used nowhere", key)
		}
	}
}
