package traffic

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// model is a sequential reference server: what the checker holds real servers to, in a hundred lines. Tokens are named
// after the request that got them, so that two models that get the same requests hand out the same names.
type model struct {
	tokens  map[string]*modelToken
	chains  map[string]*modelChain
	grants  map[string]*modelGrant
	codes   map[string]string // code → session
	clients map[string]bool   // alive
}

type modelToken struct {
	chain   string
	refresh bool
	used    bool
	gone    bool
}

type modelChain struct{ session, client, subject, scope string }

type modelGrant struct {
	subject, client string
	listed          bool
}

func newModel() *model {
	return &model{tokens: map[string]*modelToken{}, chains: map[string]*modelChain{}, grants: map[string]*modelGrant{},
		codes: map[string]string{}, clients: map[string]bool{}}
}

func refusal(code string) Answer { return Answer{Status: 400, Error: code} }

// apply does one request, named by id.
func (m *model) apply(id string, q Request) Answer {
	switch q.Kind {
	case CreateClient:
		m.clients["c"+id] = true
		return Answer{Status: 201, Client: "c" + id}
	case GetClient:
		if !m.clients[q.Client] {
			return Answer{Status: 404, Error: "not_found"}
		}
		return Answer{Status: 200, Client: q.Client}
	case DeleteClient:
		if !m.clients[q.Client] {
			return Answer{Status: 404, Error: "not_found"}
		}
		m.clients[q.Client] = false
		m.endGrants(func(g *modelGrant) bool { return g.client == q.Client })
		m.endChains(func(c *modelChain) bool { return c.client == q.Client })
		return Answer{Status: 204}
	case Consent:
		if !m.clients[q.Client] {
			return Answer{Status: 401, Error: "invalid_client"}
		}
		m.grants[q.Session] = &modelGrant{subject: q.Subject, client: q.Client, listed: true}
		m.codes["code"+id] = q.Session
		return Answer{Status: 302, Issued: &Issued{Code: "code" + id}}
	case Exchange:
		g := m.grants[m.codes[q.Token]]
		switch {
		case !m.clients[q.Client]:
			return Answer{Status: 401, Error: "invalid_client"}
		case g == nil:
			return refusal("invalid_grant")
		}
		m.chains[q.Token] = &modelChain{session: m.codes[q.Token], client: q.Client, subject: g.subject, scope: "openid offline"}
		delete(m.codes, q.Token)
		return m.issue(id, q.Token)
	case Refresh:
		t := m.tokens[q.Token]
		switch {
		case !m.clients[q.Client]:
			return Answer{Status: 401, Error: "invalid_client"}
		case t == nil || t.gone:
			return refusal("invalid_grant")
		case t.used: // strict: reuse ends the chain
			m.endChains(func(c *modelChain) bool { return c == m.chains[t.chain] })
			return refusal("invalid_grant")
		}
		t.used = true
		for _, o := range m.tokens {
			if o.chain == t.chain && !o.refresh {
				o.gone = true
			}
		}
		return m.issue(id, t.chain)
	case Introspect:
		yes, no := true, false
		t := m.tokens[q.Token]
		if t == nil || t.gone || t.used {
			return Answer{Status: 200, Active: &no}
		}
		c := m.chains[t.chain]
		return Answer{Status: 200, Active: &yes, Subject: c.subject, Client: c.client, Scope: c.scope}
	case RevokeAccess, RevokeRefresh:
		if !m.clients[q.Client] {
			return Answer{Status: 401, Error: "invalid_client"}
		}
		if t := m.tokens[q.Token]; t != nil && !t.gone && !t.used {
			m.endChains(func(c *modelChain) bool { return c == m.chains[t.chain] })
		}
		return Answer{Status: 200}
	case RevokeConsent, RevokeSubject:
		hit := func(subject, client string) bool {
			return subject == q.Subject && (q.Kind == RevokeSubject || client == q.Client)
		}
		m.endGrants(func(g *modelGrant) bool { return hit(g.subject, g.client) })
		return Answer{Status: 204}
	case ListConsents:
		a := Answer{Status: 200}
		for _, name := range slices.Sorted(maps.Keys(m.grants)) {
			if g := m.grants[name]; g.subject == q.Subject && g.listed {
				a.Consents = append(a.Consents, Listed{g.subject, g.client, "openid offline"})
			}
		}
		return a
	}
	panic("the model does not know " + q.Kind) // a mistake in this file
}

func (m *model) issue(id, chain string) Answer {
	at, rt := "at"+id, "rt"+id
	m.tokens[at], m.tokens[rt] = &modelToken{chain: chain}, &modelToken{chain: chain, refresh: true}
	return Answer{Status: 200, Issued: &Issued{Access: at, Refresh: rt, ExpiresIn: 36000}}
}

func (m *model) endGrants(hit func(*modelGrant) bool) {
	for _, name := range slices.Sorted(maps.Keys(m.grants)) {
		if g := m.grants[name]; hit(g) {
			delete(m.grants, name)
			m.endChains(func(c *modelChain) bool { return c.session == name })
		}
	}
}

func (m *model) endChains(hit func(*modelChain) bool) {
	for _, t := range m.tokens {
		if hit(m.chains[t.chain]) {
			t.gone = true
		}
	}
}

// pick is a random one of the names that fit, the same for a seed.
func pick[T any](r *rand.Rand, from map[string]T, fits func(T) bool) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if fits(from[name]) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return names[r.IntN(len(names))]
}

// spoil is a fault that strikes the state of a server by itself, at once. It reports whether there was something to
// strike.
func (m *model) spoil(r *rand.Rand, fault string) (string, bool) {
	living := func(t *modelToken) bool { return !t.gone && !t.used }
	switch fault {
	case "resurrect a chain":
		dead := pick(r, m.tokens, func(t *modelToken) bool { return t.gone && t.refresh && !t.used })
		if dead == "" {
			return "", false
		}
		for _, t := range m.tokens {
			if t.chain == m.tokens[dead].chain {
				t.gone = false
			}
		}
		return dead, true
	case "lose a token":
		name := pick(r, m.tokens, living)
		if name != "" {
			m.tokens[name].gone = true
		}
		return name, name != ""
	case "lose a chain":
		name := pick(r, m.tokens, living)
		if name == "" {
			return "", false
		}
		chain := m.chains[m.tokens[name].chain]
		m.endChains(func(c *modelChain) bool { return c == chain })
		return name, true
	case "lose a consent":
		name := pick(r, m.grants, func(g *modelGrant) bool { return g.listed })
		if name != "" {
			m.grants[name].listed = false
		}
		return name, name != ""
	case "lose a client":
		name := pick(r, m.clients, func(alive bool) bool { return alive })
		if name != "" {
			m.clients[name] = false
		}
		return name, name != ""
	case "swap subjects":
		a, b := pick(r, m.tokens, living), pick(r, m.tokens, living)
		if a == "" {
			return "", false
		}
		x, y := m.chains[m.tokens[a].chain], m.chains[m.tokens[b].chain]
		x.subject, y.subject = y.subject, x.subject
		return a + "/" + b, x.subject != y.subject
	}
	panic("no such fault: " + fault) // a mistake in this file
}

func simSession(n int) string { return fmt.Sprintf("s%d", n) }
