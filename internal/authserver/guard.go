package authserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard is in front of the admin API. It keeps out what a browser inside the private network can be made to send for
// somebody outside: requests of other pages, and those of a page whose name has been made to mean this address (DNS
// rebinding). Where a token is wanted, it wants that, too.
func (s *Server) guard(next http.Handler) http.Handler {
	foreign := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/health/") {
			next.ServeHTTP(w, r)
			return
		}
		if host := hostOf(r.Host); !s.served(host) {
			writeError(w, &oauthError{Status: http.StatusMisdirectedRequest, Code: "invalid_request",
				Description: fmt.Sprintf("host %q is none of this server's; --admin-host names more", host)})
			return
		}
		if err := foreign.Check(r); err != nil {
			writeError(w, &oauthError{Status: http.StatusForbidden, Code: "access_denied", Description: "a page of another origin may not use this API", cause: err})
			return
		}
		if !s.authorized(r) {
			w.Header().Set("WWW-Authenticate", challengeBearer)
			writeError(w, &oauthError{Status: http.StatusUnauthorized, Code: "invalid_token", Description: "the admin API wants its bearer token"})
			return
		}
		if !bodyFits(r) {
			writeError(w, &oauthError{Status: http.StatusUnsupportedMediaType, Code: "invalid_request", Description: "the body is not application/json"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func hostOf(authority string) string {
	host := authority
	if h, _, err := net.SplitHostPort(authority); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// served tells hosts that mean this server: addresses, names of one word, as a private network has them, and those that
// the operator named. A name with a domain is somebody's, who can make it mean any address.
func (s *Server) served(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") {
		return true
	}
	return slices.ContainsFunc(s.config.AdminHosts, func(h string) bool { return hostOf(h) == host })
}

// authorized compares the token in constant time, whatever its length.
func (s *Server) authorized(r *http.Request) bool {
	if s.config.AdminToken == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want, got := sha256.Sum256([]byte(s.config.AdminToken)), sha256.Sum256([]byte(strings.TrimSpace(token)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// bodyFits wants JSON where there is a body: forms and plain text are what a browser sends anywhere without asking. The
// introspection, which changes nothing, takes a form (RFC 7662, section 2.1).
func bodyFits(r *http.Request) bool {
	if r.ContentLength == 0 || strings.HasSuffix(r.URL.Path, "/oauth2/introspect") {
		return true
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}
