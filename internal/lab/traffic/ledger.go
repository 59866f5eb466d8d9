package traffic

import (
	"fmt"
	"slices"
	"time"
)

// death is one way in which an authority may end: possibly from, surely by (never: nobody can say).
type death struct {
	op       *op // nil: it expired
	from, by time.Duration
	rotation bool          // the ordinary successor of a token, not a revocation
	until    time.Duration // a way back has undone it from here on; 0: it lasts
}

// mortal is any authority: what may end it, and what was seen of it.
type mortal struct {
	name   string // for people: "access token 3f2a…"
	sort   string // "access token", "refresh token", "consent", "client"
	lost   string // what is lost with it, to count each once
	deaths []death
	born   time.Duration // surely alive from here on; never: nobody knows
	seen   []sight
	up     *mortal // what shows itself alive in this one: a token's chain
	gone   []gone  // seen dead through something that implies it
}

// sight is one answer about an authority.
type sight struct {
	op    *op
	alive bool
	vague bool // the answer allows no conclusion by itself
}

// gone says that an authority must be dead from a time on, and the request that shows it.
type gone struct {
	at time.Duration
	op *op
}

type token struct {
	mortal
	hash    string
	refresh bool
	chain   *chain
	origins []*op  // the answers that gave it; many when a router coalesces
	parent  *token // the refresh token that was traded for it
	mate    *token // the refresh token that was issued with this access token
	told    *op    // the first introspection that told its claims
}

type chain struct {
	mortal
	key                    string
	client, subject, scope string
	machine                bool // client credentials: no subject, no consent
	grant                  *grant
	tokens                 []*token
	refreshes              []*op
}

type grant struct {
	mortal
	session, subject, client, scope string
	skip                            bool
	maybe                           time.Duration // may be alive from here on
}

type code struct {
	mortal
	grant     *grant
	exchanges []*op
}

type client struct {
	mortal
	id    string
	maybe time.Duration
	told  *op // the first answer that showed its registration
}

// ledger knows every authority of a history.
type ledger struct {
	timeline
	expect  Expect
	ops     []*op
	tokens  map[string]*token
	chains  map[string]*chain // by code, or by access token for client credentials
	grants  map[string]*grant // by session
	pairs   map[[2]string][]*grant
	codes   map[string]*code
	clients map[string]*client
	sorted  []*token // by birth, so that findings have one order
	order   []*chain
	listed  []*grant
	apps    []*client
	strange []Finding // what could not be entered
}

// newLedger enters what the answers handed out. Answers are entered by their end: a client can only use what it holds.
func newLedger(ops []*op, tl timeline, expect Expect) *ledger {
	if expect.Margin == 0 {
		expect.Margin = 2 * time.Second
	}
	l := &ledger{timeline: tl, expect: expect, ops: ops,
		tokens: map[string]*token{}, chains: map[string]*chain{}, grants: map[string]*grant{},
		pairs: map[[2]string][]*grant{}, codes: map[string]*code{}, clients: map[string]*client{}}
	byEnd := slices.Clone(ops)
	slices.SortStableFunc(byEnd, func(a, b *op) int { return compare(a.end, b.end) })
	for _, o := range ops {
		if o.Kind == Consent && (o.Step == Accept || o.Step == Finish) && l.effect(o) != without {
			l.grantOf(o).maybe = min(l.grantOf(o).maybe, o.start)
		}
	}
	for _, o := range byEnd {
		l.enter(o)
	}
	for _, o := range ops {
		l.attach(o)
	}
	l.bury()
	l.leaveBehind()
	return l
}

func compare(a, b time.Duration) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (l *ledger) grantOf(o *op) *grant {
	g := l.grants[o.Session]
	if g == nil {
		g = &grant{session: o.Session, subject: o.Subject, client: o.Client, scope: o.Scope, maybe: never}
		g.mortal = mortal{sort: "consent", born: never, name: "the consent of " + o.Subject + " for " + o.Client,
			lost: "consent " + o.Session}
		l.grants[o.Session] = g
		l.listed = append(l.listed, g)
		pair := [2]string{o.Subject, o.Client}
		l.pairs[pair] = append(l.pairs[pair], g)
	}
	if o.Step == Accept {
		g.scope, g.skip = o.Scope, o.Skip
	}
	return g
}

// enter records what one answer handed out.
func (l *ledger) enter(o *op) {
	if l.effect(o) != done {
		return
	}
	a := o.answer
	if o.Kind == CreateClient && a.Client != "" {
		if l.clients[a.Client] != nil {
			l.oddity(o, "%s made client %s, which there was already", about(o), a.Client)
			return
		}
		c := &client{id: a.Client, maybe: o.start}
		c.mortal = mortal{name: "client " + a.Client, sort: "client", lost: "client " + a.Client, born: o.end}
		if len(a.Claims) > 0 {
			c.told = o
		}
		l.clients[a.Client] = c
		l.apps = append(l.apps, c)
		return
	}
	if a.Issued == nil {
		return
	}
	switch {
	case o.Kind == Consent:
		g := l.grantOf(o)
		if l.codes[a.Issued.Code] != nil {
			l.oddity(o, "%s was given a code that another session holds", about(o))
			return
		}
		g.born, g.maybe = min(g.born, o.end), min(g.maybe, o.start)
		c := &code{grant: g}
		c.mortal = mortal{name: "a code of " + o.Subject + " for " + o.Client, sort: "code", lost: "consent " + o.Session, born: o.end}
		l.codes[a.Issued.Code] = c
	case o.Kind == Exchange:
		if c := l.codes[o.Token]; c != nil {
			l.issue(o, l.chainOf(o, c.grant), nil)
		}
	case o.Kind.Refreshes():
		if t := l.tokens[o.Token]; t != nil {
			l.issue(o, t.chain, t)
		}
	case o.Kind == ClientCredentials:
		l.issue(o, l.chainOf(o, nil), nil)
	}
}

func (l *ledger) chainOf(o *op, g *grant) *chain {
	key := o.Token
	if g == nil {
		key = o.answer.Issued.Access
	}
	if c := l.chains[key]; c != nil {
		return c
	}
	c := &chain{key: key, client: o.Client, grant: g, scope: o.Scope, machine: g == nil}
	c.mortal = mortal{sort: "session", lost: "session " + key, born: o.end}
	if g != nil {
		c.subject, c.scope = g.subject, g.scope
		c.name = "the session of " + g.subject + " with " + g.client
	} else {
		c.name = "the tokens of client " + o.Client
	}
	l.chains[key] = c
	l.order = append(l.order, c)
	return c
}

// issue enters the tokens of an answer.
func (l *ledger) issue(o *op, c *chain, parent *token) {
	var mate *token
	if r := o.answer.Issued.Refresh; r != "" {
		mate = l.token(o, c, parent, r, true)
		mate.expire(o.start, o.end, l.expect.RefreshLifetime, l.expect.Margin)
	}
	if a := o.answer.Issued.Access; a != "" {
		t := l.token(o, c, parent, a, false)
		t.mate = mate
		t.expire(o.start, o.end, time.Duration(o.answer.Issued.ExpiresIn)*time.Second, l.expect.Margin)
	}
}

func (l *ledger) token(o *op, c *chain, parent *token, hash string, refresh bool) *token {
	if t := l.tokens[hash]; t != nil {
		if t.chain != c || t.parent != parent || t.refresh != refresh {
			l.oddity(o, "%s was given a token that was handed out before, to %s", about(o), t.chain.name)
		}
		t.origins = append(t.origins, o)
		return t
	}
	t := &token{hash: hash, refresh: refresh, chain: c, parent: parent, origins: []*op{o}}
	t.mortal = mortal{sort: "access token", lost: c.lost, born: o.end, up: &c.mortal}
	if refresh {
		t.sort = "refresh token"
	}
	t.name = t.sort + " " + hash[:min(8, len(hash))] + " of " + c.name
	l.tokens[hash] = t
	l.sorted = append(l.sorted, t)
	c.tokens = append(c.tokens, t)
	return t
}

// expire adds a lifetime: the token was made at some instant of [from, to]. A token given twice (coalesced) keeps its
// widest border.
func (t *token) expire(from, to, life, margin time.Duration) {
	if life <= 0 {
		return
	}
	for i, d := range t.deaths {
		if d.op == nil {
			t.deaths[i].from = min(d.from, from+life-margin)
			t.deaths[i].by = max(d.by, to+life+margin)
			return
		}
	}
	t.deaths = append(t.deaths, death{from: from + life - margin, by: to + life + margin})
}

// attach hangs requests on what they use, which an earlier answer must have handed out.
func (l *ledger) attach(o *op) {
	held := never
	switch {
	case o.Kind == Exchange:
		if c := l.codes[o.Token]; c != nil {
			c.exchanges = append(c.exchanges, o)
			held = c.born
		}
	case o.Kind.Refreshes():
		if t := l.tokens[o.Token]; t != nil && t.refresh {
			t.chain.refreshes = append(t.chain.refreshes, o)
			held = t.born
		}
	case o.Kind == Introspect, o.Kind == Userinfo, o.Kind == RevokeAccess, o.Kind == RevokeRefresh:
		if t := l.tokens[o.Token]; t != nil {
			held = t.born
		}
	default:
		return
	}
	if held > o.start {
		l.strange = append(l.strange, Finding{BrokenHistory, []int64{o.id},
			fmt.Sprintf("%s presents a token that no earlier answer handed out", about(o))})
	}
}
