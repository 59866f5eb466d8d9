package traffic

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// flow judges a step of a login or a consent. A revocation that meets the flow may break it.
func (j *judge) flow(o *op) {
	begun := o.start
	for _, other := range j.flows()[o.Session] {
		begun = min(begun, other.start)
	}
	if o.answer.Restarted || o.Step == Read && o.answer.Status == 410 {
		j.restarted++ // 410 Gone stands for a challenge that has been dealt with
		if !j.switching(begun, o.end) {
			j.fail(o, "the login was sent back to its start, and no switch was near")
		}
		return
	}
	if j.effect(o) == done {
		if o.Kind == Consent && o.Step == Accept && o.Skip {
			j.remembered(o)
		}
		if o.Kind == Consent && o.Step == Finish && (o.answer.Issued == nil || o.answer.Issued.Code == "") {
			j.fail(o, "the browser came back without a code")
		}
		return
	}
	if c := j.clients[o.Client]; c != nil && mayBeDead(c.deaths, o.end) {
		return
	}
	for _, r := range j.ops {
		meets := r.Kind == RevokeSubject || r.Kind == RevokeConsent && r.Client == o.Client
		if meets && r.Subject == o.Subject && r.start < o.end && j.over(r) > begun && j.effect(r) != without {
			return
		}
	}
	j.fail(o, "the %s step was refused: status %d %s", o.Step, o.answer.Status, o.answer.Error)
}

func (j *judge) exchange(o *op) {
	c := j.codes[o.Token]
	if c == nil {
		return
	}
	if j.effect(o) != done {
		j.refusedToken(o, &c.mortal, c.exchanges, "was refused for")
		return
	}
	for _, other := range c.exchanges {
		if other.id < o.id && j.effect(other) == done {
			j.find(DoubleSpend, []*op{other, o}, "%s and %s both traded %s for tokens", about(other), about(o), c.name)
			return
		}
	}
	j.accepted(o, &c.mortal, "traded")
	if i := o.answer.Issued; i == nil || i.Access == "" {
		j.find(WrongAnswer, []*op{o}, "%s succeeded and handed out no access token", about(o))
		return
	}
	if chain := j.chains[o.Token]; chain != nil {
		chain.seen = append(chain.seen, sight{op: o, alive: true})
	}
	j.handedOut(o, c.grant.subject, c.grant.client, c.grant.scope)
}

func (j *judge) refresh(o *op) {
	t := j.tokens[o.Token]
	if t == nil {
		return
	}
	if !t.refresh {
		j.find(BrokenHistory, []*op{o}, "%s presents an access token as a refresh token", about(o))
		return
	}
	if j.effect(o) != done {
		j.refusedToken(o, &t.mortal, nil, "was refused for")
		return
	}
	j.accepted(o, &t.mortal, "refreshed")
	if i := o.answer.Issued; i == nil || i.Access == "" {
		j.find(WrongAnswer, []*op{o}, "%s succeeded and handed out no access token", about(o))
		return
	}
	j.handedOut(o, t.chain.subject, t.chain.client, t.chain.scope)
}

// refusedToken judges a refusal at the token endpoint. others are requests with the same code: one that may have spent
// it explains the refusal.
func (j *judge) refusedToken(o *op, m *mortal, others []*op, what string) {
	if o.answer.Error == "" {
		j.fail(o, "status %d without an OAuth error: no OAuth server said this", o.answer.Status)
		return
	}
	for _, other := range others {
		if other != o && j.effect(other) != without && other.start < o.end {
			return
		}
	}
	j.denied(o, m, what)
}

// handedOut compares what came with new tokens with what was granted. A server that gives ID tokens gives one for every
// code of scope openid; both scopes that ask for refresh tokens get one with every answer.
func (j *judge) handedOut(o *op, subject, client, scope string) {
	a := o.answer
	granted := strings.Fields(scope)
	if a.Issued.Refresh == "" && (slices.Contains(granted, "offline") || slices.Contains(granted, "offline_access")) {
		j.find(WrongAnswer, []*op{o}, "%s handed out no refresh token", about(o))
	}
	if o.Kind == Exchange && j.givesIDTokens() && a.Issued.IDKey == "" && a.Issued.IDSubject == "" && slices.Contains(granted, "openid") {
		j.find(WrongAnswer, []*op{o}, "%s handed out no ID token", about(o))
	}
	if a.Scope != "" && !sameScope(a.Scope, scope) {
		j.find(WrongAnswer, []*op{o}, "%s handed out scope %q; granted was %q", about(o), a.Scope, scope)
	}
	i := a.Issued
	if i == nil || (i.IDSubject == "" && i.IDKey == "" && i.IDClient == "") {
		return
	}
	if subject = j.shown(subject); i.IDSubject != subject || i.IDClient != client {
		j.find(WrongAnswer, []*op{o}, "%s handed out an ID token of %q for %q; it should be of %q for %q", about(o),
			i.IDSubject, i.IDClient, subject, client)
	}
	if i.IDForged {
		j.find(WrongAnswer, []*op{o}, "%s handed out an ID token that key %q did not sign, or that the server does not show", about(o), i.IDKey)
	}
	if i.IDWrongNonce {
		j.find(WrongAnswer, []*op{o}, "%s handed out an ID token for another login: its nonce is not this one's", about(o))
	}
	if i.IDExpiresIn <= 0 {
		j.find(WrongAnswer, []*op{o}, "%s handed out an ID token that had expired", about(o))
	}
	j.issuer("ID tokens", o, i.IDIssuer)
}

func (j *judge) introspect(o *op) {
	t := j.tokens[o.Token]
	if t == nil {
		return
	}
	a := o.answer
	if j.effect(o) != done || a.Active == nil {
		j.fail(o, "introspection answered status %d %s and not whether the token is active", a.Status, a.Error)
		return
	}
	if !*a.Active {
		j.denied(o, &t.mortal, "called inactive")
		return
	}
	j.accepted(o, &t.mortal, "called active")
	c := t.chain
	if wrongSubject := a.Subject != c.subject && (!c.machine || a.Subject != "" && a.Subject != c.client); wrongSubject {
		j.find(WrongAnswer, []*op{o}, "%s gives %s to subject %q; it is of %q", about(o), t.name, a.Subject, c.subject)
	}
	if a.Client != c.client {
		j.find(WrongAnswer, []*op{o}, "%s gives %s to client %q; it is of %q", about(o), t.name, a.Client, c.client)
	}
	if !sameScope(a.Scope, c.scope) {
		j.find(WrongAnswer, []*op{o}, "%s gives %s scope %q; granted was %q", about(o), t.name, a.Scope, c.scope)
	}
	j.issuer("introspection", o, a.Issuer)
	t.told = j.unchanged(o, t.told, t.name)
	j.lifetime(o, t)
}

// shown is the subject that a client is told.
func (j *judge) shown(subject string) string {
	if j.expect.Pairwise == "" {
		return subject
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(sector+subject+j.expect.Pairwise)))
}

func (j *judge) userinfo(o *op) {
	t := j.tokens[o.Token]
	if t == nil {
		return
	}
	switch a := o.answer; {
	case a.Status == 401:
		j.denied(o, &t.mortal, "was refused for")
	case j.effect(o) != done:
		j.fail(o, "status %d %s", a.Status, a.Error)
	default:
		j.accepted(o, &t.mortal, "accepted")
		if subject := j.shown(t.chain.subject); a.Subject != subject {
			j.find(WrongAnswer, []*op{o}, "%s tells of subject %q; %s is of %q", about(o), a.Subject, t.name, subject)
		}
	}
}

// clientRefused judges invalid_client, whatever was asked.
func (j *judge) clientRefused(o *op) {
	c := j.clients[o.Client]
	if c == nil {
		j.fail(o, "client %s is refused and was not made in this history", o.Client)
		return
	}
	j.denied(o, &c.mortal, "was refused for")
}

func (j *judge) client(o *op) {
	a := o.answer
	c := j.clients[o.Client]
	switch {
	case o.Kind == CreateClient:
		if j.effect(o) != done || a.Client == "" {
			j.fail(o, "no client was made: status %d %s", a.Status, a.Error)
		}
	case c == nil:
		j.find(BrokenHistory, []*op{o}, "%s is about a client that this history did not make", about(o))
	case o.Kind != ClientCredentials && a.Status == 404:
		j.denied(o, &c.mortal, "did not find")
	case j.effect(o) != done:
		j.fail(o, "status %d %s", a.Status, a.Error)
	case o.Kind == GetClient:
		j.accepted(o, &c.mortal, "found")
		if a.Client != o.Client {
			j.find(WrongAnswer, []*op{o}, "%s was given client %q", about(o), a.Client)
		}
		c.told = j.unchanged(o, c.told, c.name)
	case o.Kind == ClientCredentials:
		j.accepted(o, &c.mortal, "accepted")
		if a.Issued == nil || a.Issued.Access == "" {
			j.find(WrongAnswer, []*op{o}, "%s succeeded and handed out no access token", about(o))
		}
		if a.Scope != "" && !sameScope(a.Scope, o.Scope) {
			j.find(WrongAnswer, []*op{o}, "%s handed out scope %q; asked for was %q", about(o), a.Scope, o.Scope)
		}
	}
}

// issuer judges that a source names one issuer, always the same: clients compare it byte for byte (OpenID Connect Core
// section 3.1.3.7). Between sources a trailing slash may differ, as it does on real servers.
func (j *judge) issuer(source string, o *op, got string) {
	if got == "" {
		return
	}
	if j.issuers == nil {
		j.issuers = map[string]*op{}
	}
	trim := func(s string) string { return strings.TrimSuffix(s, "/") }
	if want := j.expect.Issuer; want != "" && trim(want) != trim(got) {
		j.find(WrongAnswer, []*op{o}, "%s names issuer %q; it should be %q", about(o), got, want)
		return
	}
	for _, s := range []string{source, "any"} {
		first := j.issuers[s]
		if first == nil {
			j.issuers[s] = o
			continue
		}
		was := issuerOf(first)
		if s == source && was != got || trim(was) != trim(got) {
			j.find(WrongAnswer, []*op{o, first}, "%s names issuer %q; it was %q before", about(o), got, was)
			return
		}
	}
}

func issuerOf(o *op) string {
	if o.answer.Issuer != "" {
		return o.answer.Issuer
	}
	return o.answer.Issued.IDIssuer
}

// flows groups the requests of logins and consents by their session.
func (j *judge) flows() map[string][]*op {
	if j.sessions == nil {
		j.sessions = map[string][]*op{}
		for _, o := range j.ops {
			if o.Kind == Login || o.Kind == Consent {
				j.sessions[o.Session] = append(j.sessions[o.Session], o)
			}
		}
	}
	return j.sessions
}

// sameScope compares two lists of scopes as sets (RFC 6749 section 3.3).
func sameScope(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(slices.Compact(x), slices.Compact(y))
}
