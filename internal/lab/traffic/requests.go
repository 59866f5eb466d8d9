package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// ask is who sends a request, and which way.
type ask struct {
	*caller
	worker string
	target Target
}

func (a ask) request(k Kind) Request { return Request{Worker: a.worker, Target: a.target, Kind: k} }

// createClient registers an app. Its secret is in the answer and nowhere in the record.
func (a ask) createClient(ctx context.Context, name, method string) (*app, reply) {
	out := &app{method: method, scope: "openid offline photos"}
	grants := []string{"authorization_code", "refresh_token"}
	if method != "none" {
		grants = append(grants, "client_credentials")
	}
	body := map[string]any{"client_name": name, "grant_types": grants, "response_types": []string{"code"}, "scope": out.scope,
		"redirect_uris": []string{callback}, "post_logout_redirect_uris": []string{callback},
		"token_endpoint_auth_method": method, "owner": "traffic"}
	r := a.call(ctx, a.request(CreateClient), put(http.MethodPost, a.admin(a.target, "/clients", nil), body), nil, func(r *reply) {
		var c struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
		}
		if r.decode(&c) {
			out.id, out.secret, r.Client, r.Claims = c.ID, c.Secret, c.ID, a.claims(r.body, clientClaims)
		}
	})
	return out, r
}

func (a ask) getClient(ctx context.Context, c *app) reply {
	q := a.request(GetClient)
	q.Client = c.id
	return a.call(ctx, q, get(a.admin(a.target, "/clients/"+url.PathEscape(c.id), nil)), nil, func(r *reply) {
		var got struct {
			ID string `json:"client_id"`
		}
		if r.decode(&got) {
			r.Client, r.Claims = got.ID, a.claims(r.body, clientClaims)
		}
	})
}

func (a ask) deleteClient(ctx context.Context, c *app) reply {
	q := a.request(DeleteClient)
	q.Client = c.id
	return a.call(ctx, q, request(http.MethodDelete, a.admin(a.target, "/clients/"+url.PathEscape(c.id), nil), "", ""), nil, nil)
}

func (a ask) introspect(ctx context.Context, t held) reply {
	q := a.request(Introspect)
	q.Token, q.Client = a.print(t.secret), t.app.id
	return a.call(ctx, q, form(a.admin(a.target, "/oauth2/introspect", nil), url.Values{"token": {t.secret}}), nil, func(r *reply) {
		var i struct {
			Active  *bool  `json:"active"`
			Subject string `json:"sub"`
			Client  string `json:"client_id"`
			Scope   string `json:"scope"`
			Issuer  string `json:"iss"`
		}
		if r.decode(&i) {
			r.Active, r.Subject, r.Client, r.Scope, r.Issuer = i.Active, i.Subject, i.Client, i.Scope, i.Issuer
			r.Claims = a.claims(r.body, tokenClaims)
		}
	})
}

func (a ask) userinfo(ctx context.Context, t held) reply {
	q := a.request(Userinfo)
	q.Token, q.Client = a.print(t.secret), t.app.id
	req := get(a.public(a.target) + "/userinfo")
	req.Header.Set("Authorization", "Bearer "+t.secret)
	return a.call(ctx, q, req, nil, func(r *reply) {
		var u struct {
			Subject string `json:"sub"`
		}
		if r.decode(&u) {
			r.Subject = u.Subject
		}
	})
}

// refresh trades the session's refresh token, or an older one, for new tokens.
func (a ask) refresh(ctx context.Context, k Kind, s *session, token string, twin int64) reply {
	q := a.request(k)
	q.Token, q.Client, q.Session, q.Twin = a.print(token), s.app.id, s.name, twin
	return a.token(ctx, q, s.app, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, s)
}

// machine is client credentials (RFC 6749 section 4.4).
func (a ask) machine(ctx context.Context, c *app) (held, reply) {
	q := a.request(ClientCredentials)
	q.Client, q.Scope = c.id, "photos"
	var s session
	r := a.token(ctx, q, c, url.Values{"grant_type": {"client_credentials"}, "scope": {"photos"}}, &s)
	return held{secret: s.access, app: c, expires: s.expires}, r
}

func (a ask) revoke(ctx context.Context, k Kind, c *app, token string) reply {
	q := a.request(k)
	q.Token, q.Client = a.print(token), c.id
	return a.call(ctx, q, a.authenticated(a.target, "/oauth2/revoke", c, url.Values{"token": {token}}), nil, nil)
}

// revokeConsents takes a subject's consents back: for one client, or without one for all.
func (a ask) revokeConsents(ctx context.Context, subject string, c *app) reply {
	q := a.request(RevokeSubject)
	v := url.Values{"subject": {subject}, "all": {"true"}}
	if c != nil {
		q.Kind, q.Client = RevokeConsent, c.id
		v = url.Values{"subject": {subject}, "client": {c.id}}
	}
	q.Subject = subject
	return a.call(ctx, q, request(http.MethodDelete, a.admin(a.target, "/oauth2/auth/sessions/consent", v), "", ""), nil, nil)
}

func (a ask) listConsents(ctx context.Context, subject string) reply {
	q := a.request(ListConsents)
	q.Subject = subject
	u := a.admin(a.target, "/oauth2/auth/sessions/consent", url.Values{"subject": {subject}})
	return a.call(ctx, q, get(u), nil, func(r *reply) {
		var list []struct {
			Grant   []string `json:"grant_scope"`
			Request struct {
				Subject string `json:"subject"`
				Client  struct {
					ID string `json:"client_id"`
				} `json:"client"`
			} `json:"consent_request"`
		}
		if !r.decode(&list) {
			return
		}
		for _, e := range list {
			r.Consents = append(r.Consents, Listed{e.Request.Subject, e.Request.Client.ID, strings.Join(e.Grant, " ")})
		}
	})
}

// logout ends the browser's login session, and says whether the browser came back from it. Hydra takes several redirects for it, and asks the logout page between them.
func (a ask) logout(ctx context.Context, u *user, idToken string) bool {
	v := url.Values{"id_token_hint": {idToken}, "post_logout_redirect_uri": {callback}, "state": {"bye"}}
	path := "/oauth2/sessions/logout?" + v.Encode()
	q := a.request(Logout)
	q.Subject = u.name
	for range 4 {
		r := a.call(ctx, q, get(a.public(a.target)+path), u.jar, func(r *reply) { r.LoggedOut = strings.HasPrefix(r.location, callback) })
		if !r.ok() {
			return false
		}
		to := r.location
		if challenge := parameter(to, "logout_challenge"); challenge != "" {
			if to = a.acceptLogout(ctx, q, challenge); to == "" {
				return false
			}
		}
		if path = pathOf(to); !strings.HasPrefix(path, "/oauth2/sessions/logout") {
			return r.LoggedOut
		}
	}
	return false
}

// acceptLogout is the logout page: it says yes, and where the browser is to go.
func (a ask) acceptLogout(ctx context.Context, q Request, challenge string) string {
	var to struct {
		RedirectTo string `json:"redirect_to"`
	}
	u := a.admin(a.target, "/oauth2/auth/requests/logout/accept", url.Values{"logout_challenge": {challenge}})
	a.call(ctx, q, request(http.MethodPut, u, "", ""), nil, func(r *reply) { r.decode(&to) })
	return to.RedirectTo
}

func (a ask) jwks(ctx context.Context) reply {
	return a.call(ctx, a.request(JWKS), get(a.public(a.target)+"/.well-known/jwks.json"), nil, func(r *reply) {
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(r.body, &set); err != nil {
			r.Transport = fmt.Sprintf("no JWK set (%d bytes, status %d)", len(r.body), r.Status)
			return
		}
		r.Keys = a.keys.learn(set)
	})
}

func (a ask) discovery(ctx context.Context) reply {
	return a.call(ctx, a.request(Discovery), get(a.public(a.target)+"/.well-known/openid-configuration"), nil, func(r *reply) {
		var d struct {
			Issuer string `json:"issuer"`
		}
		if r.decode(&d) {
			r.Issuer = d.Issuer
		}
	})
}
