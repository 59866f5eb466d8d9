package authserver

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

// Both generations use the same cookies, so that a login survives the upgrade. The database holds signatures of them.
const (
	cookieSession = "tideover_session" // a remembered login
	cookieBrowser = "tideover_browser" // ties a login's steps to the browser that began it
)

// cookie makes a cookie that lives for some seconds, or until the browser closes where seconds is 0.
func (s *Server) cookie(name, value string, seconds int) *http.Cookie {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: s.issuer.Scheme == "https", MaxAge: seconds}
	if seconds > 0 {
		c.Expires = time.Now().Add(time.Duration(seconds) * time.Second)
	}
	return c
}

func setCookie(r *op.Redirect, c *http.Cookie) {
	if c != nil {
		r.Header.Add("Set-Cookie", c.String())
	}
}

func cookieValue(h http.Header, name string) string {
	c, err := (&http.Request{Header: h}).Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// browser is the value that names this browser, with the cookie that sets it where it is new.
func (s *Server) browser(h http.Header) (string, *http.Cookie) {
	if v := cookieValue(h, cookieBrowser); v != "" {
		return v, nil
	}
	v := newToken("")
	return v, s.cookie(cookieBrowser, v, 0)
}

// sameBrowser refuses a verifier that another browser or another client's request brings: a link with somebody else's
// verifier would log its victim in as the attacker.
func (s *Server) sameBrowser(r *op.ClientRequest[oidc.AuthRequest], a app, client string, q request) error {
	brought := Signature(cookieValue(r.Header, cookieBrowser))
	if client != a.ID || r.Data.RedirectURI != q.RedirectURI || subtle.ConstantTimeCompare([]byte(brought), []byte(q.Browser)) != 1 {
		return oidc.ErrAccessDenied().WithDescription("the login was begun in another browser, or its cookie is gone; start again")
	}
	return nil
}

// session is the browser's remembered login, or nil.
func (s *Server) session(ctx context.Context, h http.Header) (*store.Session, error) {
	v := cookieValue(h, cookieSession)
	if v == "" {
		return nil, nil
	}
	session, err := s.store.Session(ctx, Signature(v))
	if errors.Is(err, store.ErrNotFound) || err == nil && (!session.Remember || session.Subject == "") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &session, nil
}
