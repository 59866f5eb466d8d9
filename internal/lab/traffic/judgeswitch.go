package traffic

import (
	"slices"
	"time"
)

// remembered judges a consent page that was skipped because the server remembered a consent: one must have been left
// when the browser came to it.
func (j *judge) remembered(o *op) {
	asked := o
	for _, other := range j.flows()[o.Session] {
		if other.Kind == Consent && other.Step == Start {
			asked = other
		}
	}
	var ended *op
	for _, g := range j.pairs[[2]string{o.Subject, o.Client}] {
		if g.session == o.Session || g.maybe >= asked.end {
			continue
		}
		d, dead := surelyDead(g.deaths, asked.start)
		if !dead {
			return
		}
		ended = d.op
	}
	if ended == nil {
		j.find(WrongAnswer, []*op{asked}, "%s: the consent page was skipped, and %s had never granted anything to %s", about(asked), o.Subject, o.Client)
		return
	}
	j.lostRevs[ended.id] = true
	j.find(AcceptedDead, []*op{asked, ended}, "%s: the consent page was skipped for a remembered consent of %s for %s, which %s had ended %s before",
		about(asked), o.Subject, o.Client, about(ended), (asked.start - ended.end).Round(time.Millisecond))
}

// ungoverned finds writes that were taken while no side may take any: after the old side's fence was up, and before the
// new side was let serve. The answer to an earlier refresh, given again by the router, is none.
func (j *judge) ungoverned() {
	from := never
	for _, m := range j.marks {
		switch m.Mark {
		case MarkFenced:
			from = m.At
		case MarkCommit:
			for _, o := range j.ops {
				if o.start > from && o.end < m.At && o.Kind.Writes() && j.effect(o) == done && !j.again(o) {
					j.find(TwoWriters, []*op{o}, "%s: it was taken after the fence and before the switch, when no side may serve it", about(o))
				}
			}
			from = never
		case MarkUnfenced, MarkAborted, MarkReleased, MarkRollback:
			from = never
		}
	}
}

// again reports whether an earlier request presented the same refresh token.
func (j *judge) again(o *op) bool {
	return o.Kind.Refreshes() && slices.ContainsFunc(j.ops, func(other *op) bool {
		return other.id < o.id && other.Kind.Refreshes() && other.Token == o.Token
	})
}

// givesIDTokens reports whether any code was traded for an ID token in this history.
func (j *judge) givesIDTokens() bool {
	if j.idTokens == nil {
		gives := slices.ContainsFunc(j.ops, func(o *op) bool {
			return o.Kind == Exchange && o.answer != nil && o.answer.Issued != nil && o.answer.Issued.IDSubject != ""
		})
		j.idTokens = &gives
	}
	return *j.idTokens
}
