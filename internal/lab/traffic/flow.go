package traffic

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// callback is where codes go: nothing listens there, and nobody follows.
const callback = "http://" + sector + "/callback"

// sector is what all clients have in common (OpenID Connect Core 8.1).
const sector = "127.0.0.1:1"

// flow is one authorization: the browser, the login page and the consent page in one.
type flow struct {
	*caller
	target   Target
	session  *session
	remember bool
	verifier string // PKCE
}

func (f *flow) request(k Kind, s Step) Request {
	return Request{Worker: f.session.user.name, Target: f.target, Kind: k, Step: s, Session: f.session.name,
		Subject: f.session.user.name, Client: f.session.app.id, Scope: f.session.scope}
}

// authorize goes from the authorization request to a code. The second answer says that the server wants the login to
// begin anew, as it may during a switch; the third that the fence refused it.
func (f *flow) authorize(ctx context.Context) (code string, again, fenced bool) {
	r := f.begin(ctx)
	for _, page := range []struct {
		kind     Kind
		name     string
		next     Kind
		step     Step
		wants    string
		answerOf func(skip bool) any
	}{
		{Login, "login", Consent, Start, "consent_challenge", func(bool) any {
			return map[string]any{"subject": f.session.user.name, "remember": f.remember, "remember_for": 0, "acr": "1"}
		}},
		{Consent, "consent", Consent, Finish, "code", func(bool) any {
			return map[string]any{"grant_scope": strings.Fields(f.session.scope), "remember": true, "remember_for": 0,
				"session": map[string]any{"access_token": map[string]string{"flow": f.session.name}}}
		}},
	} {
		if !r.ok() || ctx.Err() != nil {
			return "", r.Restarted, r.refusedWrite()
		}
		challenge := parameter(r.location, page.name+"_challenge")
		path := "/oauth2/auth/requests/" + page.name
		cq := url.Values{page.name + "_challenge": {challenge}}
		var asked struct {
			Skip    bool   `json:"skip"`
			Subject string `json:"subject"`
		}
		r = f.call(ctx, f.request(page.kind, Read), get(f.admin(f.target, path, cq)), nil, func(r *reply) {
			if r.decode(&asked) && page.kind == Login {
				r.Skipped = &asked.Skip
			}
		})
		if r = f.restarts(r); !r.ok() {
			return "", r.Restarted, r.refusedWrite()
		}
		accept := f.request(page.kind, Accept)
		accept.Skip, accept.Remember = asked.Skip, page.kind == Login && f.remember
		var to struct {
			RedirectTo string `json:"redirect_to"`
		}
		r = f.call(ctx, accept, put(http.MethodPut, f.admin(f.target, path+"/accept", cq), page.answerOf(asked.Skip)), nil,
			func(r *reply) {
				if r.decode(&to); r.Transport == "" && parameter(to.RedirectTo, page.name+"_verifier") == "" {
					r.Restarted = true
				}
			})
		if !r.ok() {
			return "", r.Restarted, r.refusedWrite()
		}
		r = f.browse(ctx, f.request(page.next, page.step), pathOf(to.RedirectTo), page.wants)
	}
	if !r.ok() {
		return "", r.Restarted, r.refusedWrite()
	}
	return parameter(r.location, "code"), false, false
}

// begin sends the browser to the authorization endpoint, which sends it on to the login page.
func (f *flow) begin(ctx context.Context) reply {
	a := f.session.app
	q := url.Values{"client_id": {a.id}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {f.session.scope},
		"state": {"state-" + f.session.name}, "nonce": {"nonce-" + f.session.name},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(f.verifier)}, "code_challenge_method": {"S256"}}
	return f.browse(ctx, f.request(Login, Start), "/oauth2/auth?"+q.Encode(), "login_challenge")
}

// browse follows one redirect, past the issuer's host to the target's, and wants a parameter in the next one.
func (f *flow) browse(ctx context.Context, q Request, path, wants string) reply {
	return f.call(ctx, q, get(f.public(f.target)+path), f.session.user.jar, func(r *reply) {
		found := parameter(r.location, wants)
		switch {
		case found != "" && wants == "code":
			if parameter(r.location, "state") != "state-"+f.session.name {
				r.Error = "wrong_state"
			}
			r.Issued = &Issued{Code: f.print(found)}
		case found != "":
		case q.Kind != Login && (strings.Contains(r.location, "login_challenge=") || strings.HasPrefix(pathOf(r.location), "/oauth2/auth?")):
			r.Restarted = true
		default:
			r.Error = "redirect_without_" + wants
		}
	})
}

// restarts takes 410 Gone, by which a server says that a challenge has been dealt with, for a restart: the router answers
// a challenge of the other side like this. The record has the 410 as it came; Check knows what it means.
func (f *flow) restarts(r reply) reply {
	if r.Status == http.StatusGone {
		r.Restarted = true
	}
	return r
}

func parameter(location, name string) string {
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	return u.Query().Get(name)
}

// pathOf cuts the host off: issuers name the router, and past it the same path is at the old server.
func pathOf(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return "/"
	}
	return u.RequestURI()
}

// exchange trades the code.
func (f *flow) exchange(ctx context.Context, code string) reply {
	s := f.session
	q := f.request(Exchange, "")
	q.Token = f.print(code)
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {f.verifier}}
	return f.token(ctx, q, s.app, v, s)
}

// token asks the token endpoint and takes what comes into the session.
func (c *caller) token(ctx context.Context, q Request, a *app, v url.Values, s *session) reply {
	return c.call(ctx, q, c.authenticated(q.Target, "/oauth2/token", a, v), nil, func(r *reply) {
		var t struct {
			Access    string `json:"access_token"`
			Refresh   string `json:"refresh_token"`
			ID        string `json:"id_token"`
			ExpiresIn int64  `json:"expires_in"`
			Scope     string `json:"scope"`
		}
		if !r.decode(&t) {
			return
		}
		r.Scope = t.Scope
		r.Issued = &Issued{Access: c.print(t.Access), Refresh: c.print(t.Refresh), ExpiresIn: t.ExpiresIn}
		if t.ID != "" {
			c.identify(ctx, q, r.Issued, t.ID, "nonce-"+s.name)
		}
		s.access, s.expires = t.Access, time.Now().Add(time.Duration(t.ExpiresIn)*time.Second)
		if t.Refresh != "" {
			s.refresh = t.Refresh
		}
		if t.ID != "" {
			s.id = t.ID
		}
	})
}

// identify reads an ID token. For a key that it has not seen it asks the server for its keys, as clients do.
func (c *caller) identify(ctx context.Context, q Request, i *Issued, token, nonce string) {
	if c.keys.read(i, token, nonce, q.Kind.Refreshes()) {
		return
	}
	if r := (ask{c, q.Worker, q.Target}).jwks(ctx); r.ok() && !c.keys.read(i, token, nonce, q.Kind.Refreshes()) {
		i.IDForged = true // the server does not show such a key
	}
}

// authenticated is a form with the client's credentials, the way it registered for (RFC 6749 section 2.3.1).
func (c *caller) authenticated(t Target, path string, a *app, v url.Values) *http.Request {
	if a.method != "client_secret_basic" {
		v.Set("client_id", a.id)
	}
	if a.method == "client_secret_post" {
		v.Set("client_secret", a.secret)
	}
	req := form(c.public(t)+path, v)
	if a.method == "client_secret_basic" {
		req.SetBasicAuth(url.QueryEscape(a.id), url.QueryEscape(a.secret))
	}
	return req
}
