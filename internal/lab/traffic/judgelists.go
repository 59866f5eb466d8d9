package traffic

import (
	"slices"
	"time"
)

// list judges a subject's list of consents, client by client.
func (j *judge) list(o *op) {
	if j.effect(o) != done {
		j.fail(o, "status %d %s", o.answer.Status, o.answer.Error)
		return
	}
	listed := map[string]int{}
	for _, e := range o.answer.Consents {
		if e.Subject != o.Subject {
			j.find(WrongAnswer, []*op{o}, "%s lists a consent of %q", about(o), e.Subject)
			continue
		}
		pair := j.pairs[[2]string{e.Subject, e.Client}]
		possible := slices.DeleteFunc(slices.Clone(pair), func(g *grant) bool { return g.maybe >= o.end })
		if len(possible) == 0 {
			j.find(WrongAnswer, []*op{o}, "%s lists a consent for %q that %s never gave", about(o), e.Client, o.Subject)
		} else if !slices.ContainsFunc(possible, func(g *grant) bool { return sameScope(g.scope, e.Scope) }) {
			j.find(WrongAnswer, []*op{o}, "%s lists scope %q for %q; granted was %q", about(o), e.Scope, e.Client, possible[0].scope)
		}
		listed[e.Client]++
	}
	done := map[string]bool{}
	for _, g := range j.listed {
		if g.subject == o.Subject && !done[g.client] {
			done[g.client] = true
			j.pair(o, j.pairs[[2]string{g.subject, g.client}], listed[g.client])
		}
	}
}

// torn reports whether a list of consents that is empty, or that failed, says nothing: one of the subject's was being taken
// away while it was read. Hydra 1.x reads which there are, then each, and gives up when one has gone in between.
func (j *judge) torn(o *op) bool {
	if !j.expect.TornLists || len(o.answer.Consents) > 0 || o.answer.Status != 200 && o.answer.Status != 500 {
		return false
	}
	return slices.ContainsFunc(j.ops, func(r *op) bool {
		ends := r.Subject == o.Subject && (r.Kind == RevokeSubject || r.Kind == RevokeConsent) ||
			r.Kind == DeleteClient && len(j.pairs[[2]string{o.Subject, r.Client}]) > 0
		return ends && j.effect(r) == done && r.start < o.end && o.start < r.end
	})
}

// pair judges how many consents of a subject for a client are listed: at least those that surely live, at most those
// that may. The list does not tell one consent of a pair from another.
func (j *judge) pair(o *op, all []*grant, listed int) {
	var sure, may, dead []*grant
	for _, g := range all {
		if g.maybe >= o.end {
			continue
		}
		_, gone := surelyDead(g.deaths, o.start)
		switch {
		case gone:
			dead = append(dead, g)
		default:
			may = append(may, g)
		}
		if !g.skip && g.born <= o.start && !mayBeDead(g.deaths, o.end) {
			sure = append(sure, g)
		}
	}
	for _, g := range may {
		switch {
		case listed > 0:
			g.seen = append(g.seen, sight{op: o, alive: true, vague: len(may) > 1})
		case !g.skip && g.born <= o.start:
			j.denied(o, &g.mortal, "does not list")
		}
	}
	if listed > 0 && listed < len(sure) {
		j.lostAuths[sure[0].lost] = true
		j.find(RefusedLiving, []*op{o}, "%s lists %d of the %d consents of %s for %s that nothing had ended", about(o), listed,
			len(sure), sure[0].subject, sure[0].client)
	}
	slices.SortFunc(dead, func(a, b *grant) int { return compare(b.maybe, a.maybe) })
	if listed > len(may)+len(dead) && len(all) > 0 {
		j.find(WrongAnswer, []*op{o}, "%s lists %d consents of %s for %s, who gave %d", about(o), listed, all[0].subject, all[0].client, len(may)+len(dead))
	}
	over := max(0, listed-len(may))
	for i, g := range dead {
		switch {
		case i < over:
			j.accepted(o, &g.mortal, "lists")
		default:
			g.seen = append(g.seen, sight{op: o, vague: listed > 0})
		}
	}
}

// keys judges every JWKS answer: the key of each ID token that lives must be in it, and a key id stands for one key.
func (j *judge) keys() {
	thumb := map[string]string{}
	first := map[string]*op{}
	type signed struct {
		op *op
		by time.Duration
	}
	tokens := map[string][]signed{}
	for _, o := range j.ops {
		if j.effect(o) == done && o.answer.Issued != nil && o.answer.Issued.IDKey != "" {
			life := time.Duration(o.answer.Issued.IDExpiresIn) * time.Second
			tokens[o.answer.Issued.IDKey] = append(tokens[o.answer.Issued.IDKey], signed{o, o.start + life - j.expect.Margin})
		}
	}
	for _, o := range j.ops {
		switch {
		case j.effect(o) != done || o.Target == Bypass && j.oldSide(o.start):
			continue
		case o.Kind == Discovery:
			if o.answer.Issuer == "" {
				j.find(WrongAnswer, []*op{o}, "%s names no issuer", about(o))
			}
			j.issuer("discovery", o, o.answer.Issuer)
			continue
		case o.Kind != JWKS:
			continue
		}
		if len(o.answer.Keys) == 0 {
			j.find(WrongAnswer, []*op{o}, "%s shows no key at all", about(o))
		}
		for kid, print := range o.answer.Keys {
			if was, ok := thumb[kid]; ok && was != print {
				j.find(WrongAnswer, []*op{o, first[kid]}, "%s shows another key under the id %s than before", about(o), kid)
			} else if !ok {
				thumb[kid], first[kid] = print, o
			}
		}
		for kid, list := range tokens {
			if _, ok := o.answer.Keys[kid]; ok {
				continue
			}
			for _, s := range list {
				if s.op.end <= o.start && o.end < s.by && !j.named(s.op, o, thumb[kid]) {
					j.find(WrongAnswer, []*op{o, s.op}, "%s lacks key %s, which signed an ID token that lives", about(o), kid)
					break
				}
			}
		}
	}
}
