package console

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
)

// visit is one request, with who makes it.
type visit struct {
	w       http.ResponseWriter
	r       *http.Request
	form    url.Values // of a POST
	cookie  string     // names the browser, logged in or not
	session *session   // nil where nobody is logged in
	user    string     // "" where nobody is
	admin   bool
	leads   string // where a form of the page may lead to, beside the console: sources of the policy's form-action
}

// visit finds out who is there. A browser without a cookie gets one, to which the tokens of its forms belong.
func (c *Console) visit(w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{w: w, r: r, cookie: c.sessions.cookieOf(r)}
	if v.cookie == "" {
		c.enter(v, newID())
	}
	v.session = c.sessions.find(v.cookie)
	if v.session == nil {
		return v
	}
	// Whoever was taken out of the users file, or has a new password, is logged out by that.
	if mark, ok := c.config.Users.mark(v.session.user); !ok || mark != v.session.mark {
		c.sessions.end(v.cookie)
		v.session = nil
		return v
	}
	v.user = v.session.user
	v.admin = slices.Contains(c.config.Admins, v.user)
	return v
}

// enter gives the browser a cookie.
func (c *Console) enter(v *visit, id string) {
	v.cookie = id
	http.SetCookie(v.w, c.sessions.cookie(id))
}

// readForm takes a urlencoded body; what the query says is not part of it.
func (v *visit) readForm() error {
	if kind, _, err := mime.ParseMediaType(v.r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return &fault{status: http.StatusUnsupportedMediaType, name: "form"}
	}
	if err := v.r.ParseForm(); err != nil {
		if large := new(http.MaxBytesError); errors.As(err, &large) {
			return &fault{status: http.StatusRequestEntityTooLarge, name: "large", cause: err}
		}
		return &fault{status: http.StatusBadRequest, name: "form", cause: err}
	}
	v.form = v.r.PostForm
	return nil
}

// ownPages are where a log-in to the console may lead to.
var ownPages = []string{"/access", "/apps", "/admin"}

// next is the page that was wanted before the log-in, where it is one of ours.
func next(wanted string) string {
	if slices.Contains(ownPages, wanted) {
		return wanted
	}
	return ownPages[0]
}

// toOwn sends the browser to a page of the console.
func (v *visit) toOwn(path string) error {
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// toServer sends the browser where the server said, which is always the server itself.
func (c *Console) toServer(v *visit, to string) error {
	if !c.atServer(to) {
		return &fault{status: http.StatusBadGateway, name: "astray", cause: errors.New("the server sends browsers to another origin than --public: " + originOf(to))}
	}
	v.w.Header().Set("Location", to)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

func (c *Console) atServer(to string) bool {
	u, err := url.Parse(to)
	return err == nil && u.Scheme == c.public.Scheme && u.Host == c.public.Host && u.User == nil
}

func originOf(to string) string {
	u, err := url.Parse(to)
	if err != nil {
		return "no URL"
	}
	return u.Scheme + "://" + u.Host
}

func (c *Console) home(v *visit) error { return v.toOwn(ownPages[0]) }
