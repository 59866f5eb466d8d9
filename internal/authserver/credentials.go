package authserver

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// form is in front of the endpoints at which clients say who they are. It refuses what package op would read in one of
// several ways: parameters in the URI, which end in logs (RFC 6749, section 2.3.1), parameters that come twice, a body
// of another kind, and more than one authentication (section 2.3). What it hands on has one meaning.
func (s *Server) form(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Pragma", "no-cache") // RFC 6749, section 5.1
		if fault := checkForm(r); fault != nil {
			writeError(w, fault)
			return
		}
		if fault := checkCredentials(r); fault != nil {
			writeError(w, fault)
			return
		}
		r.Header.Set(addressHeader, s.address(r))
		next.ServeHTTP(w, r)
	})
}

// secretive is in front of what no public client may have: whoever shows no secret is nobody.
func secretive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" && r.PostForm.Get("client_secret") == "" && r.PostForm.Get("client_assertion") == "" {
			writeError(w, errWrongSecret)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// addressHeader hands a client's address on through package op, which passes headers and no addresses. What a client
// writes there itself is overwritten.
const addressHeader = "X-Tideover-Address"

// address is where a request comes from: the peer, or who the peer says it is, where that is known to be a proxy. Of an
// IPv6 address the network counts, which one client has as a whole.
func (s *Server) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if said := r.Header.Values("X-Forwarded-For"); s.config.BehindProxy && len(said) > 0 {
		all := strings.Split(said[len(said)-1], ",")
		host = strings.TrimSpace(all[len(all)-1])
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() && !a.Is4In6() {
		if network, err := a.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return host
}

// checkForm leaves r with the parameters of its body alone.
func checkForm(r *http.Request) *oauthError {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalid("the query cannot be read")
	}
	for _, name := range parameters {
		if query.Has(name) {
			return invalid("parameter " + name + " is in the URI; it belongs in the body")
		}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return invalid("the body is not application/x-www-form-urlencoded")
	}
	r.URL.RawQuery = ""
	if err := r.ParseForm(); err != nil {
		return invalid("the body cannot be read")
	}
	if name := repeated(r.PostForm); name != "" {
		return invalid("parameter " + name + " is there more than once")
	}
	return nil
}

// checkCredentials wants one client that says who it is in one way.
func checkCredentials(r *http.Request) *oauthError {
	wrong := errWrongSecret
	id, secret, assertion := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"), r.PostForm.Get("client_assertion")
	headers := r.Header.Values("Authorization")
	if secret != "" && assertion != "" {
		return invalid("the client says who it is in more than one way")
	}
	if len(headers) == 0 {
		if id == "" && assertion == "" {
			return wrong
		}
		return nil
	}
	if len(headers) > 1 {
		return invalid("there is more than one Authorization header")
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return wrong
	}
	user, err := url.QueryUnescape(user) // RFC 6749, section 2.3.1
	if _, broken := url.QueryUnescape(password); err != nil || broken != nil || user == "" {
		return wrong
	}
	if secret != "" || assertion != "" || r.PostForm.Get("client_assertion_type") != "" {
		return invalid("the client says who it is in more than one way")
	}
	if id != "" && id != user {
		return invalid("client_id is another than that of the Authorization header")
	}
	return nil
}

// noVisit answers a HEAD where browsers are sent to: it must spend no verifier and end no session.
func noVisit(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", "GET, POST")
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
}

// Challenges say which credentials would do (RFC 9110, section 11.6.1).
const (
	challengeBasic  = `Basic realm="tideover", charset="UTF-8"`
	challengeBearer = `Bearer realm="tideover"`
)

// quoted is a text as a parameter of a challenge.
func quoted(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
