package authserver

import (
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/tideover/tideover/internal/authserver/store"
)

// logout is OpenID Connect RP-Initiated Logout 1.0. An ID token of the person who is logged in here is asked no more:
// the app that holds it speaks for them, and the sessions of token and browser end. Whoever brings none, or that of
// somebody else, may be a link on any page, so the person is asked (section 2). Tokens live on.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		writeError(w, invalid("the request cannot be read"))
		return
	}
	if name := repeated(r.Form); name != "" {
		writeError(w, invalid("parameter "+name+" is there more than once"))
		return
	}
	client, hint, err := s.leaving(r)
	if err != nil {
		writeError(w, err)
		return
	}
	target, err := s.afterLogout(r, client)
	if err != nil {
		writeError(w, err)
		return
	}
	here, err := s.loggedIn(r)
	if err != nil {
		writeError(w, err)
		return
	}
	var ended []string
	switch {
	case hint != nil && (here == nil || here.Subject == hint.GetSubject()):
		ended = append(ended, hint.SessionID)
	case here == nil: // nobody to log out
	case r.Method != http.MethodPost || !s.confirmed(r):
		s.askToLogOut(w, r)
		return
	}
	if here != nil {
		ended = append(ended, here.ID)
	}
	slices.Sort(ended)
	for _, id := range slices.Compact(ended) {
		if id == "" {
			continue
		}
		if err := s.store.EndSession(r.Context(), id); err != nil {
			writeError(w, err)
			return
		}
	}
	http.SetCookie(w, s.cookie(cookieSession, "", -1))
	status := http.StatusFound
	if r.Method == http.MethodPost {
		status = http.StatusSeeOther // the form must not go on to the app
	}
	w.Header().Set("Location", target)
	w.WriteHeader(status)
}

// leaving is the app that asks for the log-out and the ID token that it brings, or nil.
func (s *Server) leaving(r *http.Request) (client string, hint *oidc.IDTokenClaims, err error) {
	client = r.Form.Get("client_id")
	if r.Form.Get("id_token_hint") == "" {
		return client, nil, nil
	}
	hint, err = s.hint(r.Context(), r.Form.Get("id_token_hint"))
	if err != nil || client != "" && client != hint.GetAuthorizedParty() {
		return "", nil, invalid("the id_token_hint is invalid")
	}
	return hint.GetAuthorizedParty(), hint, nil
}

// afterLogout is where the browser goes then: to an address that the app registered for it, or to a page of ours.
func (s *Server) afterLogout(r *http.Request, client string) (string, error) {
	to := r.Form.Get("post_logout_redirect_uri")
	if to == "" {
		return s.config.Issuer + pathLoggedOut, nil
	}
	c, err := s.store.Client(r.Context(), client)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	if err != nil || !slices.Contains(c.PostLogoutRedirectURIs.List(), to) || redirectFault(to) != "" {
		return "", invalid("the post_logout_redirect_uri is not registered")
	}
	if state := r.Form.Get("state"); state != "" {
		to = withQuery(to, "state", state)
	}
	return to, nil
}

// loggedIn is the session that the browser's cookie names, or nil where it has ended.
func (s *Server) loggedIn(r *http.Request) (*store.Session, error) {
	v := cookieValue(r.Header, cookieSession)
	if v == "" {
		return nil, nil
	}
	session, err := s.store.Session(r.Context(), Signature(v))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return &session, err
}

// confirmation is what only the page of this browser's session has: every server of the database makes the same.
func (s *Server) confirmation(r *http.Request, secret string) string {
	return hex.EncodeToString(derivedMAC("log-out", secret, cookieValue(r.Header, cookieSession)))
}

// confirmed tells a form that came of such a page.
func (s *Server) confirmed(r *http.Request) bool {
	return slices.ContainsFunc(s.config.systemSecrets(), func(secret string) bool {
		return hmac.Equal([]byte(r.PostForm.Get("confirmation")), []byte(s.confirmation(r, secret)))
	})
}

var logoutPage = template.Must(template.New("logout").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Log out</title>
<h1>Do you want to log out?</h1>
<form method="post" action="{{.Action}}">
{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">
{{end}}<button>Log out</button>
</form></html>
`))

// askToLogOut shows a page whose form repeats the request.
func (s *Server) askToLogOut(w http.ResponseWriter, r *http.Request) {
	fields := map[string]string{"confirmation": s.confirmation(r, s.config.SystemSecret)}
	for _, name := range []string{"client_id", "post_logout_redirect_uri", "state", "id_token_hint"} {
		if v := r.Form.Get(name); v != "" {
			fields[name] = v
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = logoutPage.Execute(w, map[string]any{"Action": s.config.Issuer + pathLogout, "Fields": fields})
}
