// Package console is the pages that people see of an OAuth server: log-in, consent and log-out, what apps they gave access
// to, the apps that they registered, and an administrator's view of all apps. It drives the bundled server, or Ory Hydra
// 1.x and 2.x, by its login and consent challenges and its admin API, and keeps nothing of its own but who is logged in
// here, which lies in memory.
//
// The pages are HTML with one stylesheet and no script. What an app says of itself is a stranger's word: it is escaped,
// stripped of characters that cannot be seen, and shown beside what the server knows (who owns it, since when, where it
// sends people). A browser is only ever sent to [Config.Public] or to a page of the console.
package console

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config is what a console needs. Zero durations take the defaults that the fields name.
type Config struct {
	Admin       string   // base URL of the server's admin listener
	AdminPrefix string   // before the admin API's paths: "/admin" for 2.x, "" for 1.x
	AdminToken  string   // bearer token of the admin API, where it wants one
	Public      string   // base URL under which browsers reach the server, its issuer
	Origin      string   // base URL under which browsers reach the console; https makes its cookies Secure
	Title       string   // what the pages call the service
	Users       *Users   // who can log in
	Admins      []string // those of them who see every app
	Catalogue   Catalogue
	BehindProxy bool          // a visitor's address is the last one of X-Forwarded-For, which only a proxy can set
	Young       time.Duration // until when an app is pointed out as new; 7 days
	Remember    time.Duration // how long a remembered login or consent lasts; 30 days
	Audit       *slog.Logger  // what people did here; never a password, secret or challenge
	Now         func() time.Time
}

// Console serves the pages.
type Console struct {
	config    Config
	public    *url.URL
	api       *api
	sessions  *sessions
	flows     *flows
	tries     *throttle
	templates map[string]*template.Template
	names     *directory
}

// New checks the configuration. It asks the server nothing.
func New(c Config) (*Console, error) {
	if c.Young == 0 {
		c.Young = 7 * 24 * time.Hour
	}
	if c.Remember == 0 {
		c.Remember = 30 * 24 * time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Title == "" {
		c.Title = "Tideover"
	}
	if c.Audit == nil {
		c.Audit = slog.New(slog.DiscardHandler)
	}
	if c.Users == nil {
		return nil, errors.New("a console needs users")
	}
	var public *url.URL
	for _, u := range []struct{ name, value string }{{"admin", c.Admin}, {"origin", c.Origin}, {"public", c.Public}} {
		parsed, err := url.Parse(u.value)
		if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.RawQuery != "" || parsed.Fragment != "" {
			return nil, fmt.Errorf("%s URL %q is no http or https URL without query and fragment", u.name, u.value)
		}
		public = parsed
	}
	if c.AdminPrefix != "" && (!strings.HasPrefix(c.AdminPrefix, "/") || strings.HasSuffix(c.AdminPrefix, "/")) {
		return nil, fmt.Errorf("admin prefix %q does not begin with a slash, or ends with one", c.AdminPrefix)
	}
	for _, name := range c.Admins {
		if !userName.MatchString(name) {
			return nil, fmt.Errorf("administrator %q is no name that a user can have", name)
		}
	}
	pages, err := parseTemplates()
	if err != nil {
		return nil, err
	}
	a := newAPI(strings.TrimSuffix(c.Admin, "/")+c.AdminPrefix, c.AdminToken)
	return &Console{config: c, public: public, api: a, sessions: newSessions(c.Now, strings.HasPrefix(c.Origin, "https://")),
		flows: newFlows(c.Now), tries: newThrottle(c.Now), templates: pages, names: newDirectory(a, c.Now)}, nil
}

// role is who may use a route.
type role int

const (
	anyone role = iota
	person      // who is logged in to the console
	admin       // and is one of Config.Admins
)

// route is a page, or what a form does. Every POST wants the CSRF token of its browser before its handler runs.
type route struct {
	method, path string
	who          role
	handle       func(*Console, *visit) error
}

var routes = []route{
	{"GET", "/{$}", anyone, (*Console).home},
	{"GET", "/login", anyone, (*Console).showLogin},
	{"POST", "/login", anyone, (*Console).login},
	{"GET", "/consent", anyone, (*Console).showConsent},
	{"POST", "/consent", anyone, (*Console).consent},
	{"GET", "/device", anyone, (*Console).showDevice},
	{"POST", "/device", anyone, (*Console).device},
	{"GET", "/logout", anyone, (*Console).showLogout},
	{"POST", "/logout", anyone, (*Console).logout},
	{"GET", "/error", anyone, (*Console).showError},
	{"GET", "/access", person, (*Console).showAccess},
	{"POST", "/access/revoke", person, (*Console).revoke},
	{"POST", "/access/revoke-all", person, (*Console).revokeAll},
	{"POST", "/access/forget-me", person, (*Console).forgetMe},
	{"GET", "/apps", person, (*Console).showApps},
	{"POST", "/apps", person, (*Console).createApp},
	{"GET", "/apps/new", person, (*Console).showNewApp},
	{"GET", "/apps/{id}/edit", person, (*Console).showEdit},
	{"POST", "/apps/{id}/edit", person, (*Console).editApp},
	{"POST", "/apps/{id}/secret", person, (*Console).renewSecret},
	{"POST", "/apps/{id}/delete", person, (*Console).deleteOwnApp},
	{"GET", "/admin", admin, (*Console).showAdmin},
	{"GET", "/admin/audit", admin, (*Console).showAudit},
	{"POST", "/admin/apps/{id}/verify", admin, (*Console).verify},
	{"POST", "/admin/apps/{id}/unverify", admin, (*Console).unverify},
	{"POST", "/admin/apps/{id}/block", admin, (*Console).block},
	{"POST", "/admin/apps/{id}/unblock", admin, (*Console).unblock},
	{"POST", "/admin/apps/{id}/tokens", admin, (*Console).endTokens},
	{"POST", "/admin/apps/{id}/delete", admin, (*Console).deleteAnyApp},
}

// Handler is the whole console.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) { c.serve(w, req, r) })
	}
	mux.HandleFunc("GET /style.css", Style)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, req *http.Request) {
		c.serve(w, req, route{"GET", "/", anyone, func(*Console, *visit) error { return &fault{status: http.StatusNotFound, name: "nopage"} }})
	})
	foreign := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Harden(w.Header())
		if err := foreign.Check(r); err != nil {
			http.Error(w, text("fault.forged.title"), http.StatusForbidden)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		mux.ServeHTTP(w, r)
	})
}

const (
	requestTimeout = 20 * time.Second
	maxForm        = 64 << 10
)

// serve finds out who is there, checks the form's token and the role, and shows what went wrong as a page.
func (c *Console) serve(w http.ResponseWriter, r *http.Request, at route) {
	v := c.visit(w, r)
	err := c.admit(v, at)
	if err == nil {
		err = at.handle(c, v)
	}
	if err != nil {
		c.showFault(v, err)
	}
}

func (c *Console) admit(v *visit, at route) error {
	if v.r.Method == http.MethodHead { // a look ahead, for a preview, must not use a challenge up
		return &fault{status: http.StatusMethodNotAllowed, name: "method"}
	}
	if at.method == http.MethodPost {
		if err := v.readForm(); err != nil {
			return err
		}
		if !c.sessions.genuine(v.cookie, v.form.Get("csrf")) {
			return &fault{status: http.StatusForbidden, name: "forged"}
		}
	}
	switch {
	case at.who == anyone:
	case v.user == "" && at.method == http.MethodGet:
		return &fault{status: http.StatusSeeOther, again: "/login?next=" + url.QueryEscape(v.r.URL.Path)}
	case v.user == "":
		return &fault{status: http.StatusForbidden, name: "loggedout"}
	case at.who == admin && !v.admin:
		return &fault{status: http.StatusForbidden, name: "notadmin"}
	}
	return nil
}

// audit writes down what somebody did.
func (c *Console) audit(v *visit, action, client string, more ...any) {
	c.config.Audit.Info(action, append([]any{"user", v.user, "address", c.address(v.r), "client", client}, more...)...)
}

// acting is the admin API for what somebody does.
func (c *Console) acting(v *visit, intent string) *api {
	out := *c.api
	out.actor, out.address, out.intent = v.user, c.address(v.r), intent
	return &out
}

// address is the visitor's: of IPv6 the network, which is one customer's.
func (c *Console) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if c.config.BehindProxy {
		list := r.Header.Values("X-Forwarded-For")
		if len(list) > 0 {
			last := list[len(list)-1]
			host = strings.TrimSpace(last[strings.LastIndex(last, ",")+1:])
		}
	}
	ip := net.ParseIP(host)
	switch {
	case ip == nil:
		return "unknown"
	case ip.To4() != nil:
		return ip.To4().String()
	}
	return ip.Mask(net.CIDRMask(64, 128)).String() + "/64"
}
