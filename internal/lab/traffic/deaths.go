package traffic

import (
	"fmt"
	"time"
)

// oddity is an answer that cannot be entered beside what was handed out before.
func (l *ledger) oddity(o *op, format string, args ...any) {
	l.strange = append(l.strange, Finding{WrongAnswer, []int64{o.id}, fmt.Sprintf(format, args...)})
}

// bury enters every way in which every authority may have ended. How they imply each other:
//
//	client ─┬─> consent ─┬─> code
//	        │            └─> chain ─> access and refresh tokens
//	        └─> chain of client credentials
//
// Revoking an access or a refresh token ends its whole chain (Hydra 1.10 and later; RFC 7009 section 2.1 allows it), if
// the token was still valid then: revoking a dead token does nothing. Logging out ends no token and no consent.
func (l *ledger) bury() {
	byClient, byConsent, bySubject := map[string][]*op{}, map[[2]string][]*op{}, map[string][]*op{}
	for _, o := range l.ops {
		switch o.Kind {
		case DeleteClient:
			byClient[o.Client] = append(byClient[o.Client], o)
		case RevokeConsent:
			k := [2]string{o.Subject, o.Client}
			byConsent[k] = append(byConsent[k], o)
		case RevokeSubject:
			bySubject[o.Subject] = append(bySubject[o.Subject], o)
		}
	}
	for _, c := range l.apps {
		c.deaths = l.ending(byClient[c.id], func(*op) bool { return true })
	}
	for _, g := range l.listed {
		known := func(o *op) bool { return g.born <= o.start }
		g.deaths = l.ending(byClient[g.client], func(*op) bool { return true })
		for _, o := range append(byConsent[[2]string{g.subject, g.client}], bySubject[g.subject]...) {
			if g.maybe < l.over(o) {
				g.deaths = append(g.deaths, l.ending([]*op{o}, known)...)
			}
		}
	}
	for _, c := range l.codes {
		c.deaths = append(c.deaths, c.grant.deaths...)
	}
	for _, t := range l.sorted {
		t.deaths = append(t.deaths, l.rotations(t)...)
	}
	for _, c := range l.order {
		if c.grant != nil {
			c.deaths = append(c.deaths, c.grant.deaths...)
			c.deaths = append(c.deaths, l.reuse(c)...)
		} else {
			c.deaths = l.ending(byClient[c.client], func(*op) bool { return true })
		}
	}
	for _, o := range l.ops {
		t := l.tokens[o.Token]
		if t == nil || (o.Kind != RevokeAccess && o.Kind != RevokeRefresh) {
			continue
		}
		valid := func(o *op) bool { return !mayBeDead(t.deaths, o.end) }
		t.chain.deaths = append(t.chain.deaths, l.ending([]*op{o}, valid)...)
	}
	for _, t := range l.sorted {
		t.deaths = append(t.deaths, t.chain.deaths...)
	}
}

// ending makes deaths of requests. An acknowledged one is sure where it surely found what it was to end.
func (l *ledger) ending(ops []*op, sure func(*op) bool) []death {
	var ds []death
	for _, o := range ops {
		switch l.effect(o) {
		case unknown:
			ds = append(ds, death{op: o, from: o.start, by: never})
		case done:
			d := death{op: o, from: o.start, by: never}
			if sure(o) {
				d.by = o.end
			}
			ds = append(ds, d)
		}
	}
	return ds
}

// rotations are the deaths of a token by refreshing: a refresh token by its use, an access token by its successor.
func (l *ledger) rotations(t *token) []death {
	if !t.refresh && l.expect.AccessSurvivesRotation {
		return nil
	}
	made := never
	for _, o := range t.origins {
		made = min(made, o.start)
	}
	path := map[*op]bool{}
	seen := map[*token]bool{}
	for at := t; at != nil && !seen[at]; at = at.parent {
		seen[at] = true
		for _, o := range at.origins {
			path[o] = true
		}
	}
	var ds []death
	for _, o := range t.chain.refreshes {
		e := l.effect(o)
		if e == without || path[o] || (e == done && o.end <= made) {
			continue
		}
		d := death{op: o, from: o.start, by: never, rotation: true}
		switch {
		case t.refresh && o.Token != t.hash:
			continue
		case t.refresh && e == done:
			d.by = o.end + l.expect.Reuse
		case !t.refresh && e == done && t.mate != nil && o.Token == t.mate.hash:
			d.by = o.end
		}
		ds = append(ds, d)
	}
	return ds
}

// reuse is what presenting a used refresh token, or a used code, may do to its chain: strict servers end it (RFC 9700
// section 4.14.2, RFC 6749 section 4.1.2). A retry that the router is to coalesce ends nothing.
func (l *ledger) reuse(c *chain) []death {
	var ds []death
	uses := map[string][]*op{}
	for _, o := range c.refreshes {
		uses[o.Token] = append(uses[o.Token], o)
	}
	uses[c.key] = l.codes[c.key].exchanges
	for _, o := range append(append([]*op{}, c.refreshes...), uses[c.key]...) {
		for _, other := range uses[o.Token] {
			if other != o && l.effect(other) != without && other.start < l.over(o) && !l.coalesced(o, other) {
				ds = append(ds, death{op: o, from: o.start, by: never})
				break
			}
		}
	}
	return ds
}

// coalesced reports whether a and b are one refresh, sent again by a client, that the router should have answered once.
func (l *ledger) coalesced(a, b *op) bool {
	if !l.expect.CoalescingExpected || a == b || !a.Kind.Refreshes() || !b.Kind.Refreshes() || a.Token != b.Token ||
		a.Client != b.Client || a.Target != Router || b.Target != Router {
		return false
	}
	gap := a.start - b.start
	return max(gap, -gap) <= l.expect.Coalescing && l.effect(a) != unknown && l.effect(b) != unknown
}

// mayBeDead reports whether one of the deaths may have come before t.
func mayBeDead(ds []death, t time.Duration) bool {
	for _, d := range ds {
		if d.from < t {
			return true
		}
	}
	return false
}

// surelyDead returns the death that had surely come by t, a revocation before others.
func surelyDead(ds []death, t time.Duration) (death, bool) {
	best, found := death{by: never}, false
	for _, d := range ds {
		if d.by > t || d.until != 0 && d.until <= t {
			continue
		}
		if !found || (best.op == nil || best.rotation) && d.op != nil && !d.rotation {
			best, found = d, true
		}
	}
	return best, found
}
