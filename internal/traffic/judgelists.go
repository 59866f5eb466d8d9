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
	listed := map[string]bool{}
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
		listed[e.Client] = true
	}
	for _, g := range j.listed {
		if g.subject != o.Subject {
			continue
		}
		if !listed[g.client] {
			if !g.skip && g.born <= o.start {
				j.denied(o, &g.mortal, "does not list")
			}
			continue
		}
		j.inList(o, g)
	}
}

// inList judges that a pair is listed, at the last consent of the pair that may be meant.
func (j *judge) inList(o *op, g *grant) {
	var last *grant
	for _, other := range j.pairs[[2]string{g.subject, g.client}] {
		if other.maybe >= o.end {
			continue
		}
		if _, dead := surelyDead(other.deaths, o.start); !dead {
			if other == g {
				// One of several consents of a pair being listed does not show which one it is.
				g.seen = append(g.seen, sight{op: o, alive: true, vague: j.rivals(o, g)})
			}
			return
		}
		if last == nil || other.maybe > last.maybe {
			last = other
		}
	}
	if last == g {
		j.accepted(o, &g.mortal, "lists")
	}
}

func (j *judge) rivals(o *op, g *grant) bool {
	for _, other := range j.pairs[[2]string{g.subject, g.client}] {
		if other == g || other.maybe >= o.end {
			continue
		}
		if _, dead := surelyDead(other.deaths, o.start); !dead {
			return true
		}
	}
	return false
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
				if s.op.end <= o.start && o.end < s.by {
					j.find(WrongAnswer, []*op{o, s.op}, "%s lacks key %s, which signed an ID token that lives", about(o), kid)
					break
				}
			}
		}
	}
}
