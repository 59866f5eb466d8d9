package authserver

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/tideover/tideover/internal/authserver/store"
)

// bearer is the token of a request (RFC 6750, section 2): in the header, or in the body of a form. In the URI, where
// section 2.3 allowed it, it ends in logs, and RFC 9700, section 4.3.2, forbids it. It is "" where there is none.
func bearer(r *http.Request) (string, *oauthError) {
	if r.URL.Query().Has("access_token") {
		return "", invalid("an access token has no place in a URI")
	}
	var found []string
	for _, h := range r.Header.Values("Authorization") {
		scheme, token, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", nil // another scheme is no bearer token
		}
		if token = strings.TrimSpace(token); token != "" {
			found = append(found, token)
		}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.Method == http.MethodPost && err == nil && kind == "application/x-www-form-urlencoded" {
		if err := r.ParseForm(); err != nil {
			return "", invalid("the body cannot be read")
		}
		found = append(found, r.PostForm["access_token"]...)
	}
	if len(found) > 1 {
		return "", invalid("there is more than one access token")
	}
	if len(found) == 0 {
		return "", nil
	}
	return found[0], nil
}

// userinfo is OpenID Connect Core, section 5.3, with the errors of RFC 6750, section 3.
func (s *Server) userinfo(w http.ResponseWriter, r *http.Request) {
	refuse := func(f *oauthError, more string) {
		w.Header().Set("WWW-Authenticate", challengeBearer+", error="+quoted(f.Code)+", error_description="+quoted(f.Description)+more)
		writeError(w, f)
	}
	token, fault := bearer(r)
	if fault != nil {
		refuse(fault, "")
		return
	}
	if token == "" { // who shows nothing learns nothing but how to
		w.Header().Set("WWW-Authenticate", challengeBearer)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	t, err := s.store.Access(r.Context(), s.generation.signature(token))
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && t.Expired:
		refuse(&oauthError{Status: http.StatusUnauthorized, Code: "invalid_token", Description: "the access token is invalid or expired"}, "")
	case err != nil:
		writeError(w, err)
	case !store.Covers(t.Scope, oidc.ScopeOpenID) || t.ConsentChallenge == nil && t.Subject == t.ClientID: // nobody logged in
		refuse(&oauthError{Status: http.StatusForbidden, Code: "insufficient_scope", Description: "the access token has no openid scope"}, `, scope="openid"`)
	default:
		var g grant
		t.SessionData.Decode(&g)
		info := custom(g.IDToken)
		info["sub"] = t.Subject
		writeJSON(w, http.StatusOK, info)
	}
}
