package console

import (
	"net"
	"net/http"
	"time"
)

// Guard protects small pages besides the console as its own are: a browser is known by a cookie, a form by a token that goes with the
// cookie, and a request by the address that it names.
type Guard struct{ browsers *sessions }

// NewGuard makes a guard whose cookie has this name: ports do not tell cookies apart, so each server of a host wants another.
func NewGuard(cookie string) *Guard {
	g := &Guard{newSessions(time.Now, false)}
	g.browsers.name = cookie
	return g
}

// Browser is the browser's cookie; one that has none gets it.
func (g *Guard) Browser(w http.ResponseWriter, r *http.Request) string {
	id := g.browsers.cookieOf(r)
	if id == "" {
		id = newID()
		http.SetCookie(w, g.browsers.cookie(id))
	}
	return id
}

// Token is what every form of the browser's pages holds, as "csrf".
func (g *Guard) Token(browser string) string { return g.browsers.token(browser) }

// Around lets through to h what names the address at, comes from no other site, and, if it is a form, has its browser's token. Every
// answer is hardened as the console's are; to is where forms may lead to besides: sources of the policy's form-action.
func (g *Guard) Around(at net.Addr, to string, h http.Handler) http.Handler {
	foreign := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Harden(w.Header())
		w.Header().Set("Content-Security-Policy", policy(to))
		if r.Host != at.String() { // another name for this address would make its pages another site's
			http.Error(w, "this server is at http://"+at.String(), http.StatusMisdirectedRequest)
			return
		}
		if err := foreign.Check(r); err != nil {
			http.Error(w, text("fault.forged.title"), http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if r.Method != http.MethodGet && !g.browsers.genuine(g.browsers.cookieOf(r), r.PostFormValue("csrf")) {
			http.Error(w, text("fault.forged.title"), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}
