package authserver

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

const (
	pathPushed     = "/oauth2/par"
	pushedPrefix   = "urn:ietf:params:oauth:request_uri:"
	pushedPurpose  = "pushed authorization request"
	pushedLifetime = 90 * time.Second
)

// pushed is an authorization request that its app has sent beforehand (RFC 9126). Nothing of it is stored: the
// request_uri is the request itself, sealed with the system secret, so that every server of the database reads it.
type pushed struct {
	Client  string    `json:"client_id"`
	Request string    `json:"request"` // form-encoded
	Until   time.Time `json:"until"`
}

// push takes an authorization request, authenticates its app, and judges it as the authorization endpoint would.
func (s *Server) push(judge http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, err := s.authenticate(r)
		if err != nil {
			op.WriteError(w, r, err, nil)
			return
		}
		form := url.Values{}
		for name, v := range r.PostForm {
			switch name {
			case "client_secret", "client_assertion", "client_assertion_type", "login_verifier", "consent_verifier":
			default:
				form[name] = v
			}
		}
		form.Set("client_id", client.GetID())
		if form.Has("request_uri") { // section 2.1
			writeError(w, invalid("a pushed request has no request_uri"))
			return
		}
		if !s.wouldServe(w, r, judge, form) {
			return
		}
		uri := s.requestURI(pushed{Client: client.GetID(), Request: form.Encode(), Until: time.Now().Add(pushedLifetime)})
		writeJSON(w, http.StatusCreated, map[string]any{"request_uri": uri, "expires_in": int(pushedLifetime.Seconds())})
	})
}

// requestURI seals a request.
func (s *Server) requestURI(p pushed) string {
	plain := []byte(store.NewDocument(p))
	return pushedPrefix + base64.RawURLEncoding.EncodeToString(s.config.seal(pushedPurpose, plain, nil))
}

// authenticate is for endpoints that package op does not have. The form has been checked.
func (s *Server) authenticate(r *http.Request) (op.Client, error) {
	c := op.ClientCredentials{ClientID: r.PostForm.Get("client_id"), ClientSecret: r.PostForm.Get("client_secret"),
		ClientAssertion: r.PostForm.Get("client_assertion"), ClientAssertionType: r.PostForm.Get("client_assertion_type")}
	if id, secret, ok := r.BasicAuth(); ok {
		// checkCredentials has seen that both can be read.
		c.ClientID, _ = url.QueryUnescape(id)
		c.ClientSecret, _ = url.QueryUnescape(secret)
	}
	return protocol{Server: s}.VerifyClient(r.Context(), &op.Request[op.ClientCredentials]{Header: r.Header, Data: &c})
}

// wouldServe asks a server that only judges, and passes a refusal on: what would go to the app in a redirect goes to it
// in JSON (section 2.3).
func (s *Server) wouldServe(w http.ResponseWriter, r *http.Request, judge http.Handler, form url.Values) bool {
	ask := r.Clone(r.Context())
	ask.Method, ask.URL = http.MethodGet, &url.URL{Path: pathAuth, RawQuery: form.Encode()}
	ask.Body, ask.Form, ask.PostForm, ask.Header = http.NoBody, nil, nil, http.Header{}
	said := &verdict{header: http.Header{}}
	judge.ServeHTTP(said, ask)
	if said.status >= 400 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(said.status)
		_, _ = w.Write(said.body.Bytes())
		return false
	}
	location := said.header.Get("Location")
	if location == judged {
		return true
	}
	to, err := url.Parse(location)
	if err != nil {
		writeError(w, err)
		return false
	}
	q := to.Query()
	if fragment, err := url.ParseQuery(to.Fragment); err == nil && q.Get("error") == "" {
		q = fragment
	}
	writeError(w, &oauthError{Status: http.StatusBadRequest, Code: q.Get("error"), Description: q.Get("error_description")})
	return false
}

// judged is where a request leads that only was to be judged, and is right.
const judged = "pushed:right"

// verdict is a response that goes nowhere.
type verdict struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) Write(b []byte) (int, error) { return v.body.Write(b) }
func (v *verdict) WriteHeader(status int)      { v.status = status }

// unwrap puts a pushed request in the place of its name. Beside it only client_id counts (RFC 9126, section 4, and RFC
// 9101, section 6.3). Any other request_uri is left to be refused.
func (s *Server) unwrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			writeError(w, invalid("the request cannot be read"))
			return
		}
		name, ok := strings.CutPrefix(r.Form.Get("request_uri"), pushedPrefix)
		if !ok || len(r.Form["request_uri"]) > 1 {
			next.ServeHTTP(w, r)
			return
		}
		var p pushed
		sealed, err := base64.RawURLEncoding.DecodeString(name)
		if err == nil {
			sealed, _, err = s.config.open(pushedPurpose, sealed, nil)
		}
		if err == nil {
			err = json.Unmarshal(sealed, &p)
		}
		if err != nil || time.Now().After(p.Until) || len(r.Form["client_id"]) != 1 || r.Form.Get("client_id") != p.Client {
			writeError(w, &oauthError{Status: http.StatusBadRequest, Code: "invalid_request_uri", Description: "the request_uri is unknown, another client's or too old"})
			return
		}
		r.Method, r.URL.RawQuery, r.Body = http.MethodGet, p.Request, http.NoBody
		r.Form, r.PostForm = nil, nil
		next.ServeHTTP(w, r)
	})
}
