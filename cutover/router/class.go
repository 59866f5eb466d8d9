package router

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/tideover/tideover/plan"
)

// Class says how a request is treated while the router holds.
type Class string

// The classes of a profile's routes.
const (
	Write         Class = "write"         // changes something: waits during a hold
	Login         Class = "login"         // begins or continues a login: waits during a hold, a new one also during a drain
	Introspection Class = "introspection" // asks about a token: always served
	Static        Class = "static"        // discovery, keys, health: always served
)

// waits reports whether requests of the class are held. They are also read whole before they are forwarded, so that
// they can be sent again, and a slow client can't keep a hold from becoming quiet.
func (c Class) waits() bool { return c != Introspection && c != Static }

// listener is one of the two fronts: where its requests go, and what its paths mean.
type listener struct {
	name    string // "public" or "admin"
	spec    plan.Listener
	targets map[plan.Side]*url.URL
	profile plan.HTTP
	reached *url.URL       // where clients reach it; nil: not configured
	foreign *plan.Listener // the admin listener's paths, which the public one refuses
}

func checkRoutes(name string, l plan.Listener) error {
	for _, r := range l.Routes {
		switch Class(r.Class) {
		case Write, Login, Introspection, Static:
		default:
			return fmt.Errorf("router: %s route %q: class %q: want write, login, introspection or static", name, r.Path, r.Class)
		}
		if !strings.HasPrefix(strings.TrimPrefix(r.Path, "="), "/") {
			return fmt.Errorf("router: %s route %q: a path begins with /", name, r.Path)
		}
	}
	if p := l.GreenPrefix; p != "" && (!strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/")) {
		return fmt.Errorf("router: %s green_prefix %q: want a path such as /admin", name, p)
	}
	return nil
}

// classify says the class of a request. What no route names is a write, and so is a path that servers may read in two
// ways (dot segments, doubled or encoded slashes): it waits rather than slipping past a hold.
func (l *listener) classify(method string, u *url.URL) Class {
	clean, plain := canonical(u)
	if !plain {
		return Write
	}
	if method == "HEAD" {
		method = "GET"
	}
	for _, p := range []string{l.withoutPrefix(clean), clean} {
		for _, r := range l.spec.Routes {
			if matches(r.Path, p) > 0 && (len(r.Methods) == 0 || slices.Contains(r.Methods, method)) {
				return Class(r.Class)
			}
		}
	}
	return Write
}

// refused reports whether the public listener must not pass the path on, because it means something on the admin
// listener and nothing, or less, on the public one, in any way in which a server may read it. The public listener of a
// server does not serve such paths; this holds also where somebody has pointed both targets at one port.
func (l *listener) refused(u *url.URL) bool {
	if l.foreign == nil {
		return false
	}
	for _, clean := range readings(u) {
		if p := l.foreign.GreenPrefix; p != "" && matches(p, clean) > 0 {
			return true
		}
		if longest(l.foreign.Routes, clean) > longest(l.spec.Routes, clean) {
			return true
		}
	}
	return false
}

// readings are the ways in which servers may read a path: decoded once or again, with dot segments before or after
// that, without parameters (;v=1) and control characters, and in small letters.
func readings(u *url.URL) []string {
	if simple(u) {
		return []string{u.Path}
	}
	var all []string
	add := func(p string) {
		p = path.Clean("/" + strings.ReplaceAll(p, `\`, "/"))
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	p := u.Path
	for range 4 { // four times encoded is nobody's mistake
		add(p)
		bare := strings.Map(func(r rune) rune {
			if r <= ' ' || r == 0x7f {
				return -1
			}
			return r
		}, parameters.ReplaceAllString(strings.ReplaceAll(p, `\`, "/"), ""))
		add(bare)
		add(strings.ToLower(bare))
		if cut := strings.IndexAny(bare, "?#"); cut >= 0 { // encoded, so that they ended nothing
			add(strings.ToLower(bare[:cut]))
		}
		decoded, err := url.PathUnescape(p)
		if err != nil || decoded == p {
			break
		}
		p = decoded
	}
	return all
}

// simple reports whether there is one way to read a path: small letters, digits and the like, single slashes.
func simple(u *url.URL) bool {
	if u.RawPath != "" || u.Path == "" || u.Path[0] != '/' {
		return false
	}
	for i := 0; i < len(u.Path); i++ {
		switch c := u.Path[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		case c == '.' && u.Path[i-1] != '/' || c == '.' && i+1 < len(u.Path) && u.Path[i+1] >= 'a' && u.Path[i+1] <= 'z':
		case c == '/' && (i == 0 || u.Path[i-1] != '/') && (i == 0 || i+1 < len(u.Path)):
		default:
			return false
		}
	}
	return true
}

// parameters are what RFC 3986 section 3.3 lets a path segment carry.
var parameters = regexp.MustCompile(`;[^/]*`)

func longest(routes []plan.Route, clean string) int {
	n := 0
	for _, r := range routes {
		if r.Path != "/" { // a catch-all says nothing about whose path it is
			n = max(n, matches(r.Path, clean))
		}
	}
	return n
}

// matches is the length of the pattern that the path matches, 0 where it does not. A prefix ends at a path segment:
// "/clients" is not "/clientsecrets". An exact match counts more than a prefix of the same length.
func matches(pattern, clean string) int {
	if exact, ok := strings.CutPrefix(pattern, "="); ok {
		if clean == exact {
			return 2*len(exact) + 1
		}
		return 0
	}
	if clean == pattern || strings.HasPrefix(clean, strings.TrimSuffix(pattern, "/")+"/") {
		return 2 * len(pattern)
	}
	return 0
}

// canonical is the decoded path without dot segments and doubled slashes, and whether it was so already.
func canonical(u *url.URL) (clean string, plain bool) {
	if simple(u) {
		return u.Path, true
	}
	p := strings.ReplaceAll(u.Path, `\`, "/")
	clean = path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	escaped := strings.ToLower(u.EscapedPath())
	plain = clean == u.Path &&
		!strings.Contains(escaped, "%2f") && !strings.Contains(escaped, "%5c") && !strings.Contains(escaped, "%2e") &&
		!strings.ContainsAny(u.Path, ";\x00")
	return clean, plain
}

func (l *listener) withoutPrefix(clean string) string {
	if p := l.spec.GreenPrefix; p != "" && strings.HasPrefix(clean, p+"/") {
		return clean[len(p):]
	}
	return clean
}

// aim points a request at a side: its address, and on green the prefix that the new server wants. The escaping of the
// path is kept as the client sent it.
func (l *listener) aim(u *url.URL, side plan.Side) {
	target := l.targets[side]
	prefix := strings.TrimSuffix(target.Path, "/")
	if side == plan.Green && l.wantsPrefix(u) {
		prefix += l.spec.GreenPrefix
	}
	u.Scheme, u.Host, u.User = target.Scheme, target.Host, nil
	if u.RawPath != "" {
		u.RawPath = prefix + u.RawPath
	}
	u.Path = prefix + u.Path
}

func (l *listener) wantsPrefix(u *url.URL) bool {
	p := l.spec.GreenPrefix
	if p == "" {
		return false
	}
	clean, _ := canonical(u)
	if matches(p, clean) > 0 {
		return false
	}
	return !slices.ContainsFunc(l.spec.GreenPlain, func(plain string) bool { return matches(plain, clean) > 0 })
}
