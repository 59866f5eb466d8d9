package authserver

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// unsafeSchemes are what a browser runs, shows or opens itself: a code sent there reaches no app.
var unsafeSchemes = []string{"javascript", "vbscript", "data", "file", "about", "blob", "filesystem", "view-source"}

// redirectFault says why no answer may ever be sent to the URI, whoever registered it; "" where one may.
func redirectFault(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil || !u.IsAbs():
		return "is no absolute URL"
	case strings.Contains(uri, "#"):
		return "has a fragment"
	case u.User != nil:
		return "has user information"
	case slices.Contains(unsafeSchemes, u.Scheme):
		return "has a scheme that no app answers to"
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() == "":
		return "has no host"
	case strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }):
		return "has characters that no URL has"
	}
	return ""
}

// registrationFault is what more is asked of a URI that is registered now; old rows may hold such.
func (s *Server) registrationFault(uri string) string {
	if fault := redirectFault(uri); fault != "" {
		return fault
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return "is no absolute URL"
	case u.Scheme != "http" && u.Scheme != "https" && !strings.Contains(u.Scheme, "."):
		return "has a scheme of its own that is no domain name in reverse (RFC 8252, section 7.1)"
	case s.exposed(u):
		return "is http, and not of this machine (RFC 9700, section 2.6)"
	}
	return ""
}

// exposed tells URIs to which a code would travel unencrypted. A server whose own issuer is http is a rehearsal, where
// everything does.
func (s *Server) exposed(u *url.URL) bool {
	return s.issuer.Scheme == "https" && u.Scheme == "http" && !ownMachine(u)
}

func ownMachine(u *url.URL) bool {
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

// redirects tells whether the client may be answered at the URI: it registered it, to the letter (RFC 9700, section
// 4.1.3), or as a public client registered the same loopback address with another port, which a native app learns only
// when it runs (RFC 8252, section 7.3).
func (s *Server) redirects(a app, uri string) bool {
	public := a.AuthMethod() == oidc.AuthMethodNone
	u, err := url.Parse(uri)
	if err != nil || redirectFault(uri) != "" || s.exposed(u) || public && u.Scheme == "http" && !ownMachine(u) {
		return false
	}
	registered := a.RedirectURIs()
	if slices.Contains(registered, uri) {
		return true
	}
	wanted, ok := loopback(uri)
	return ok && public && slices.ContainsFunc(registered, func(r string) bool {
		have, ok := loopback(r)
		return ok && have == wanted
	})
}

// loopbackURI has the address and the rest of an http URI whose port may vary. A name such as localhost can be made to
// mean another machine (RFC 8252, section 8.3), so it is none.
var loopbackURI = regexp.MustCompile(`^(http://(?:127\.0\.0\.1|\[::1\]))(?::([0-9]{1,5}))?((?:[/?][^#]*)?)$`)

// loopback is a loopback redirect URI without its port.
func loopback(uri string) (string, bool) {
	m := loopbackURI.FindStringSubmatch(uri)
	if m == nil {
		return "", false
	}
	if port, err := strconv.Atoi(m[2]); m[2] != "" && (err != nil || port < 1 || port > 65535) {
		return "", false
	}
	return m[1] + m[3], true
}
