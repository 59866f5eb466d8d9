package console

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// ownSchemes are what a browser runs, shows or opens itself: no app answers there.
var ownSchemes = []string{"javascript", "vbscript", "data", "file", "about", "blob", "filesystem", "view-source", "mailto", "tel"}

const longestURI = 2000

// redirectFault says why an app may not register the address, as the key of a text; "" where it may. It is stricter than
// the server is: what is registered here is read by people.
func redirectFault(uri string, public bool) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil || !u.IsAbs() || len(uri) > longestURI:
		return "redirect.absolute"
	case strings.Contains(uri, "#"):
		return "redirect.fragment"
	case u.User != nil:
		return "redirect.user"
	case strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' || r == '"' || r == '<' || r == '>' }):
		return "redirect.characters"
	case strings.Contains(uri, "*"):
		return "redirect.wildcard"
	case slices.Contains(ownSchemes, u.Scheme):
		return "redirect.scheme"
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() == "":
		return "redirect.absolute"
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return ""
	case u.Scheme == "http":
		return "redirect.http"
	case !public:
		return "redirect.web"
	case !strings.Contains(u.Scheme, "."):
		return "redirect.reverse"
	}
	return ""
}
