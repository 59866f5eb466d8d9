package console_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/console"
)

// A page behind a guard is left alone by strangers: other names for its address, other sites, and forms that are not its browser's.
func TestGuard(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000}
	g := console.NewGuard("mine")
	var token string
	h := g.Around(at, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token = g.Token(g.Browser(w, r))
	}))
	ask := func(method, host, form string, cookies []*http.Cookie, header ...string) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), method, "http://"+host+"/", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	first := ask("GET", "127.0.0.1:4000", "", nil)
	cookies := first.Cookies()
	if first.StatusCode != http.StatusOK || len(cookies) != 1 || cookies[0].Name != "mine" || token == "" {
		t.Fatalf("the first look: status %d, cookies %v, token %q", first.StatusCode, cookies, token)
	}
	if p := first.Header.Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
		t.Errorf("the policy is %q", p)
	}
	form, other := url.Values{"csrf": {token}}.Encode(), console.NewGuard("mine").Token(cookies[0].Value)
	for name, c := range map[string]struct {
		method, host, form string
		cookies            []*http.Cookie
		header             []string
		want               int
	}{
		"its own form":          {"POST", "127.0.0.1:4000", form, cookies, nil, http.StatusOK},
		"another name":          {"GET", "rebound.example:4000", "", cookies, nil, http.StatusMisdirectedRequest},
		"another site":          {"POST", "127.0.0.1:4000", form, cookies, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"another port":          {"POST", "127.0.0.1:4000", form, cookies, []string{"Origin", "http://127.0.0.1:4001"}, http.StatusForbidden},
		"no token":              {"POST", "127.0.0.1:4000", "", cookies, nil, http.StatusForbidden},
		"another guard's token": {"POST", "127.0.0.1:4000", url.Values{"csrf": {other}}.Encode(), cookies, nil, http.StatusForbidden},
		"no cookie":             {"POST", "127.0.0.1:4000", form, nil, nil, http.StatusForbidden},
	} {
		if got := ask(c.method, c.host, c.form, c.cookies, c.header...); got.StatusCode != c.want {
			t.Errorf("%s: status %d, want %d", name, got.StatusCode, c.want)
		}
	}
}
