package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Check judges a history by itself alone. It changes nothing and asks nobody.
func Check(h *History) Verdict {
	ops, tl, bad := fold(h)
	j := &judge{
		ledger:    newLedger(ops, tl, h.Expect),
		failed:    map[int64]bool{},
		lostRevs:  map[int64]bool{},
		lostAuths: map[string]bool{},
		findings:  bad,
	}
	j.findings = append(j.findings, j.strange...)
	for _, o := range ops {
		j.request(o)
	}
	j.keys()
	j.ungoverned()
	j.resurrections()
	j.promises()
	j.loggedIn()
	j.probes()
	return j.verdict()
}

// judge collects what is wrong.
type judge struct {
	*ledger
	findings  []Finding
	failed    map[int64]bool
	lostRevs  map[int64]bool
	lostAuths map[string]bool
	refused   int // by the fence, rightly
	restarted int
	counts    map[string]int
	standings map[string]int // the conclusive questions about logins after the switch
	issuers   map[string]*op // first issuer that each source named
	sessions  map[string][]*op
	idTokens  *bool // whether the servers give any; nil: not looked at yet
}

func (j *judge) find(class Class, ops []*op, format string, args ...any) {
	f := Finding{Class: class, Message: fmt.Sprintf(format, args...)}
	for _, o := range ops {
		if o != nil {
			f.Ops = append(f.Ops, o.id)
		}
	}
	j.findings = append(j.findings, f)
}

// fail is a request that got no proper answer.
func (j *judge) fail(o *op, format string, args ...any) {
	j.failed[o.id] = true
	if !j.expect.FailuresAllowed {
		j.find(FailedRequest, []*op{o}, "%s: %s", about(o), fmt.Sprintf(format, args...))
	}
}

// request judges one answer, first by what no state of the protocol explains.
func (j *judge) request(o *op) {
	a := o.answer
	switch {
	case a == nil:
		return // fold has said so
	case a.Transport != "":
		j.fail(o, "no answer: %s", a.Transport)
		return
	case j.refusedWrite(o):
		j.refused++
		return
	case o.Kind == ListConsents && j.torn(o):
		return
	case a.Status == 0 || a.Status >= 500:
		j.fail(o, "status %d %s", a.Status, a.Error)
		return
	case o.Target == Bypass && j.oldSide(o.start):
		if o.Kind.Writes() && j.effect(o) == done && !j.turning(o.end) {
			j.find(TwoWriters, []*op{o}, "%s: the old server took it after the new one served", about(o))
		}
		return // what a server out of use says of the present counts for nothing
	case a.Status == 408, a.Status == 429 && o.Kind != WrongSecret, o.misdirected():
		j.fail(o, "status %d %s", a.Status, a.Error)
		return
	case o.Kind == WrongSecret:
		j.stranger(o)
		return
	case o.Kind == Refuse:
		j.declined(o)
		return
	case a.Error == "invalid_client":
		j.clientRefused(o)
		return
	}
	switch o.Kind {
	case Login, Consent:
		j.flow(o)
	case Exchange:
		j.exchange(o)
	case Refresh, RefreshTwice:
		j.refresh(o)
	case Introspect:
		j.introspect(o)
	case Userinfo:
		j.userinfo(o)
	case ListConsents:
		j.list(o)
	case ClientCredentials, GetClient, DeleteClient, CreateClient:
		j.client(o)
	default:
		if j.effect(o) != done {
			j.fail(o, "status %d %s", a.Status, a.Error)
			return
		}
		if c := j.clients[o.Client]; c != nil && (o.Kind == RevokeAccess || o.Kind == RevokeRefresh) {
			j.accepted(o, &c.mortal, "was taken from")
		}
	}
}

// accepted judges an answer that took the authority for alive.
func (j *judge) accepted(o *op, m *mortal, what string) {
	vague := givenAgain(o, m)
	m.seen = append(m.seen, sight{op: o, alive: true, vague: vague})
	if m.up != nil {
		m.up.seen = append(m.up.seen, sight{op: o, alive: true, vague: vague})
	}
	d, dead := surelyDead(m.deaths, o.start)
	switch {
	case !dead:
	case d.op == nil:
		j.find(AcceptedDead, []*op{o}, "%s %s %s, which had expired", about(o), what, m.name)
	default:
		if d.op.Kind.Revokes() {
			j.lostRevs[d.op.id] = true
		}
		j.find(AcceptedDead, []*op{o, d.op}, "%s %s %s, which %s had ended %s before", about(o), what, m.name, about(d.op),
			(o.start - d.op.end).Round(time.Millisecond))
	}
}

// givenAgain reports whether o may be the answer to an earlier refresh with the same token, given again by a router or
// in a grace period: it does not show that the token, which introspection may call dead by then, has come to life.
func givenAgain(o *op, m *mortal) bool {
	return o.Kind.Refreshes() && slices.ContainsFunc(m.deaths, func(d death) bool {
		return d.rotation && d.op != nil && d.op != o && d.from < o.end
	})
}

// denied judges an answer that took the authority for dead. Retries that the router should have coalesced explain
// nothing.
func (j *judge) denied(o *op, m *mortal, what string) {
	vague := false
	explained := m.born > o.start || m.born == never
	for _, d := range m.deaths {
		if d.op == nil && d.from < o.end && o.start < d.by {
			vague = true // at the border of its life
		}
		if d.from < o.end && (d.op == nil || !j.coalesced(d.op, o) && !j.survived(m, d, o)) {
			explained = true
		}
		if d.op != nil && d.rotation && d.op != o && o.Kind.Refreshes() && d.from < o.end && o.start < d.op.end {
			vague = true // two at once: the loser's refusal says nothing of the token
		}
	}
	m.seen = append(m.seen, sight{op: o, vague: vague || m.born > o.start})
	if explained {
		return
	}
	if o.answer.Status >= 400 {
		j.failed[o.id] = true
	}
	j.lostAuths[m.lost] = true
	if first, again := j.retry(o); first != nil {
		j.find(RetryKilled, []*op{o, first, again}, "%s %s %s; nothing happened to it but that its client sent a refresh twice (requests %d and %d)",
			about(o), what, m.name, first.id, again.id)
		return
	}
	j.find(RefusedLiving, []*op{o}, "%s %s %s, which nothing had ended (status %d %s)", about(o), what, m.name, o.answer.Status, o.answer.Error)
}

// survived reports whether the authority was seen alive after d's request was over and before o began: then that request
// had not ended it, unless it surely did. One whose answer was lost may still do so at any time.
func (j *judge) survived(m *mortal, d death, o *op) bool {
	if d.by != never || j.effect(d.op) == unknown {
		return false
	}
	alive := func(s sight) bool {
		return s.alive && !s.vague && s.op != d.op && s.op.start >= d.op.end && s.op.end <= o.start
	}
	return slices.ContainsFunc(m.seen, alive) || m.up != nil && !d.rotation && slices.ContainsFunc(m.up.seen, alive)
}

// retry returns a pair of refreshes that the router should have coalesced, in the chain that o asks about and before its
// answer.
func (j *judge) retry(o *op) (first, again *op) {
	t := j.tokens[o.Token]
	if t == nil {
		return nil, nil
	}
	for i, a := range t.chain.refreshes {
		for _, b := range t.chain.refreshes[i+1:] {
			if j.coalesced(a, b) && a.start < o.end && b.start < o.end {
				return a, b
			}
		}
	}
	return nil, nil
}

func (j *judge) verdict() Verdict {
	v := Verdict{Requests: len(j.ops), Failed: len(j.failed), RevocationsLost: len(j.lostRevs),
		AuthorizationsLost: len(j.lostAuths), Restarted: j.restarted, RefusedWrites: j.refused, Probes: j.counts}
	until := j.released
	for _, o := range j.ops {
		if j.failed[o.id] && j.when(MarkRun) != never && o.end < j.when(MarkRun) {
			v.FailedBefore++
		}
		if o.Kind.Revokes() && j.effect(o) == done {
			v.Revocations++
			if o.end >= j.replay && o.start <= until {
				v.RevocationsDuringReplayOrHold++
			}
		}
	}
	v.Issued = len(j.tokens) + len(j.apps)
	for _, g := range j.listed {
		if g.born != never {
			v.Issued++
		}
	}
	j.vacuous(v)
	v.Findings = j.findings
	slices.SortStableFunc(v.Findings, func(a, b Finding) int { return cmp.Compare(firstOp(a), firstOp(b)) })
	return v
}

func firstOp(f Finding) int64 {
	if len(f.Ops) == 0 {
		return 0
	}
	return f.Ops[0]
}
