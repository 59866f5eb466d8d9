package authserver_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/thirdparty"
)

var hidden = regexp.MustCompile(`name="([a-z_]+)" value="([^"]*)"`)

// person is somebody with a remembered login, an app that they use, and its ID token.
type person struct {
	s       running
	name    string
	app     registered
	cookies string
	id      string
}

func (s running) person(t *testing.T, app registered, name string) person {
	t.Helper()
	b := thirdparty.NewBrowser(s.Target)
	v, err := b.Authorize(t.Context(), s.authURL(app, nil), redirectURI, thirdparty.Answers{Subject: name, RememberLogin: true})
	if err != nil {
		t.Fatal(err)
	}
	var cookies []string
	for k, v := range b.Cookies() {
		cookies = append(cookies, k+"="+v)
	}
	return person{s, name, app, strings.Join(cookies, "; "), s.exchange(t, app, v.Code).ID}
}

func (p person) loggedIn(t *testing.T) bool {
	return p.s.number(t, `SELECT count(*) FROM oauth_session WHERE subject = $1`, p.name) > 0
}

// leave sends the person's browser to the log-out, or its form.
func (p person) leave(t *testing.T, method string, q url.Values) (status int, to, page string) {
	t.Helper()
	at, body := p.s.Public+"/oauth2/sessions/logout", ""
	if method == http.MethodGet {
		at += "?" + q.Encode()
	} else {
		body = q.Encode()
	}
	req, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", p.cookies)
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode, res.Header.Get("Location"), text(t, res)
}

// logoutAsks: a link on any page can send a browser to the log-out; only a person or an app that knows them ends it.
func logoutAsks(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	olga, pia := s.person(t, app, "olga"), s.person(t, app, "pia")
	back := url.Values{"post_logout_redirect_uri": {redirectURI}, "client_id": {app.ID}, "state": {`"><script>`}}
	for name, try := range map[string]struct {
		method string
		q      url.Values
	}{
		"a link":                 {"GET", nil},
		"a link that leads back": {"GET", back},
		"a form of another page": {"POST", nil},
		"a form that leads back": {"POST", back},
		"a guess":                {"POST", url.Values{"confirmation": {strings.Repeat("0", 64)}}},
		"a confirmation by GET":  {"GET", url.Values{"confirmation": {pia.confirmation(t)}}},
		"another's confirmation": {"POST", url.Values{"confirmation": {pia.confirmation(t)}}},
		"another's ID token":     {"GET", url.Values{"id_token_hint": {pia.id}}},
		"another's, by POST":     {"POST", url.Values{"id_token_hint": {pia.id}}},
	} {
		status, to, page := olga.leave(t, try.method, try.q)
		if status != http.StatusOK || to != "" || !strings.Contains(page, "<form") || strings.Contains(page, "<script") || !olga.loggedIn(t) {
			t.Errorf("%s: %d %s; still logged in: %v", name, status, to, olga.loggedIn(t))
		}
	}
	if !pia.loggedIn(t) {
		t.Error("another browser's visit logged pia out")
	}
	for _, q := range []url.Values{{"post_logout_redirect_uri": {"https://evil.example/"}, "client_id": {app.ID}}, {"post_logout_redirect_uri": {redirectURI}},
		{"id_token_hint": {"nonsense"}}, {"id_token_hint": {olga.id}, "client_id": {"other"}}, {"id_token_hint": {olga.id}, "state": {"a", "b"}}} {
		if status, to, _ := olga.leave(t, http.MethodGet, q); status != http.StatusBadRequest || !olga.loggedIn(t) {
			t.Errorf("%v: %d %s", q, status, to)
		}
	}
	// The person says yes.
	_, _, page := olga.leave(t, http.MethodGet, back)
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		form.Set(m[1], strings.NewReplacer("&#34;", `"`, "&gt;", ">", "&lt;", "<", "&amp;", "&").Replace(m[2]))
	}
	if status, to, _ := olga.leave(t, http.MethodPost, form); status != http.StatusSeeOther || to != redirectURI+"?state="+url.QueryEscape(back.Get("state")) || olga.loggedIn(t) {
		t.Errorf("confirmed: %d %s", status, to)
	}
	// There is nobody left to ask about.
	if status, to, _ := olga.leave(t, http.MethodGet, nil); status != http.StatusFound || !strings.HasPrefix(to, s.Issuer) {
		t.Errorf("once more: %d %s", status, to)
	}
	// An app that knows them need not ask, from another browser either.
	olga.cookies = ""
	if status, _, _ := olga.leave(t, http.MethodGet, url.Values{"id_token_hint": {pia.id}}); status != http.StatusFound || pia.loggedIn(t) {
		t.Errorf("by ID token: %d", status)
	}
	// An old row's address is no way out.
	s.plant(t, app, "javascript:alert(1)")
	if status, to, _ := olga.leave(t, http.MethodGet, url.Values{"client_id": {app.ID}, "post_logout_redirect_uri": {"javascript:alert(1)"}}); status != http.StatusBadRequest {
		t.Errorf("a script: %d %s", status, to)
	}
}

// confirmation is what the page of the person's browser holds.
func (p person) confirmation(t *testing.T) string {
	t.Helper()
	_, _, page := p.leave(t, http.MethodGet, nil)
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		if m[1] == "confirmation" {
			return m[2]
		}
	}
	t.Fatalf("no confirmation in %q", page)
	return ""
}
