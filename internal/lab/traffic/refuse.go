package traffic

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
)

// refuse is a person who says no, and an app that is told so.
func (g *Generator) refuse(ctx context.Context, a ask) {
	u, err := g.newUser()
	if err != nil {
		return
	}
	defer g.back(u)
	s := g.newSession(u, g.anyApp())
	f := &flow{caller: g.caller, target: a.target, session: s, verifier: rand.Text() + rand.Text()}
	f.decline(ctx, []Kind{Login, Consent}[g.dice.n(2)])
}

// decline goes from the authorization request to the page where the person says no, and back to the app.
func (f *flow) decline(ctx context.Context, at Kind) {
	r := f.begin(ctx)
	for _, page := range []struct {
		kind Kind
		name string
	}{{Login, "login"}, {Consent, "consent"}} {
		if !r.ok() || ctx.Err() != nil {
			return
		}
		path := "/oauth2/auth/requests/" + page.name
		q := url.Values{page.name + "_challenge": {parameter(r.location, page.name+"_challenge")}}
		if r = f.restarts(f.call(ctx, f.request(page.kind, Read), get(f.admin(f.target, path, q)), nil, nil)); !r.ok() {
			return
		}
		var to struct {
			RedirectTo string `json:"redirect_to"`
		}
		read := func(r *reply) {
			if r.decode(&to); r.Transport == "" && parameter(to.RedirectTo, page.name+"_verifier") == "" {
				r.Restarted = true
			}
		}
		if page.kind == at {
			no := put(http.MethodPut, f.admin(f.target, path+"/reject", q), map[string]any{"error": "access_denied", "error_description": "The person said no."})
			if f.call(ctx, f.request(Refuse, Accept), no, nil, read).ok() {
				f.browse(ctx, f.request(Refuse, Finish), pathOf(to.RedirectTo), "code")
			}
			return
		}
		yes := put(http.MethodPut, f.admin(f.target, path+"/accept", q), map[string]any{"subject": f.session.user.name, "acr": "1"})
		if !f.call(ctx, f.request(page.kind, Accept), yes, nil, read).ok() {
			return
		}
		r = f.browse(ctx, f.request(Consent, Start), pathOf(to.RedirectTo), "consent_challenge")
	}
}

// declined judges what comes of a no: the app learns of it, and gets nothing.
func (j *judge) declined(o *op) {
	begun := o.start
	for _, other := range j.flows()[o.Session] {
		begun = min(begun, other.start)
	}
	switch a := o.answer; {
	case a.Issued != nil && a.Issued.Code != "":
		j.find(AcceptedDead, []*op{o}, "%s gave a code to an app that %s had refused", about(o), o.Subject)
	case o.Step == Accept && j.effect(o) == done && !a.Restarted, o.Step == Finish && a.Error == "access_denied":
	case j.switching(begun, o.end):
		j.restarted++
	case a.Restarted:
		j.fail(o, "a refusal was sent back to its start, and no switch was near")
	default:
		j.fail(o, "the app was not told of a refusal: status %d %s", a.Status, a.Error)
	}
}

// wrongSecret asks for a token in an app's name, with another secret.
func (a ask) wrongSecret(ctx context.Context, c *app) reply {
	q := a.request(WrongSecret)
	q.Client = c.id
	stranger := *c
	stranger.secret = "guessed-" + c.id
	v := url.Values{"grant_type": {"client_credentials"}, "scope": {"photos"}}
	return a.call(ctx, q, a.authenticated(a.target, "/oauth2/token", &stranger, v), nil, nil)
}

// stranger judges what somebody gets who does not know the secret.
func (j *judge) stranger(o *op) {
	switch a := o.answer; {
	case j.effect(o) == done:
		j.find(AcceptedDead, []*op{o}, "%s was accepted for client %s", about(o), o.Client)
	case a.Status != http.StatusUnauthorized && a.Status != http.StatusBadRequest && a.Status != http.StatusTooManyRequests:
		j.fail(o, "status %d %s", a.Status, a.Error)
	}
}
