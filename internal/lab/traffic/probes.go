package traffic

import (
	"fmt"
	"maps"
	"slices"
)

// probes counts the conclusive questions that were asked after the switch: those with only one right answer.
func (j *judge) probes() {
	j.counts = maps.Clone(j.standings)
	if j.counts == nil {
		j.counts = map[string]int{}
	}
	count := func(m *mortal) {
		for _, s := range m.seen {
			if s.vague || !j.late(s.op) {
				continue
			}
			if _, dead := surelyDead(m.deaths, s.op.start); dead {
				j.counts["dead "+m.sort]++
			} else if !mayBeDead(except(m.deaths, s.op), s.op.end) {
				j.counts["living "+m.sort]++
			}
		}
	}
	for _, t := range j.sorted {
		count(&t.mortal)
	}
	for _, g := range j.listed {
		count(&g.mortal)
	}
	for _, c := range j.apps {
		count(&c.mortal)
	}
}

// except leaves out what o itself did: a refresh token that is used was alive until then.
func except(ds []death, o *op) []death {
	return slices.DeleteFunc(slices.Clone(ds), func(d death) bool { return d.op == o })
}

// late reports whether o asked the side that serves in the end.
func (j *judge) late(o *op) bool {
	if j.expect.NoSwitch {
		return true
	}
	return j.released != never && o.start >= j.released && o.Target == Router
}

func (j *judge) unproved(ops []*op, format string, args ...any) {
	j.find(NothingProved, ops, "nothing was proved: "+format, args...)
}

// vacuous finds that the history cannot show what it is meant to show, however green its answers are.
func (j *judge) vacuous(v Verdict) {
	if v.Requests == 0 {
		j.unproved(nil, "there were no requests")
		return
	}
	if v.Revocations == 0 {
		j.unproved(nil, "nothing was revoked")
	}
	if j.expect.NoSwitch && slices.ContainsFunc(j.marks, func(m Record) bool { return m.Mark == MarkReleased }) {
		j.unproved(nil, "no switch was expected, and there was one")
	}
	if !j.expect.NoSwitch {
		switch {
		case j.released == never:
			j.unproved(nil, "the history has no mark %q: there was no switch", MarkReleased)
			return
		case j.replay == never:
			j.unproved(nil, "the history has neither mark %q nor %q before the switch", MarkReplay, MarkHold)
		case v.RevocationsDuringReplayOrHold == 0:
			j.unproved(nil, "nothing was revoked while changes were brought over")
		}
	}
	dead, living := 0, 0
	for sort, n := range v.Probes {
		if sort[:4] == "dead" {
			dead += n
		} else {
			living += n
		}
	}
	if dead == 0 && v.Revocations > 0 {
		j.unproved(nil, "nobody asked for anything dead after the switch")
	}
	if living == 0 {
		j.unproved(nil, "nobody asked for anything alive after the switch")
	}
	j.unasked()
}

// unasked finds revocations and authorities that nobody asked about after the switch (or, for a revocation after it,
// after its acknowledgement).
func (j *judge) unasked() {
	covered, asked := map[*op]bool{}, map[*op]bool{}
	var missing []string
	var ops []*op
	look := func(m *mortal, origin *op, mustLive bool) {
		ended := false
		for _, d := range m.deaths {
			if d.op == nil || d.rotation || d.by == never || !d.op.Kind.Revokes() {
				continue
			}
			ended = true
			if _, before := surelyDead(m.deaths, d.op.start); before {
				continue // it was dead already: this revocation did nothing here
			}
			covered[d.op] = true
			if slices.ContainsFunc(m.seen, func(s sight) bool { return s.op.start >= d.by && j.late(s.op) }) {
				asked[d.op] = true
			}
		}
		if !mustLive || ended || m.born >= j.released || mayBeDead(m.deaths, never) {
			return
		}
		if !slices.ContainsFunc(m.seen, func(s sight) bool { return j.late(s.op) }) {
			missing = append(missing, m.name)
			ops = append(ops, origin)
		}
	}
	for _, t := range j.sorted {
		expired := slices.ContainsFunc(t.deaths, func(d death) bool { return d.op == nil && d.from < j.last })
		if expired {
			continue
		}
		t := *t
		t.deaths = slices.DeleteFunc(slices.Clone(t.deaths), func(d death) bool { return d.op == nil })
		look(&t.mortal, t.origins[0], true)
	}
	for _, g := range j.listed {
		look(&g.mortal, nil, !g.skip && g.born != never)
	}
	for _, c := range j.apps {
		look(&c.mortal, nil, true)
	}
	if len(missing) > 0 {
		j.unproved(ops, "%d authorities that live were never asked for after the switch, such as %s", len(missing), missing[0])
	}
	var silent []*op
	for _, o := range j.ops {
		if covered[o] && !asked[o] {
			silent = append(silent, o)
		}
	}
	if len(silent) > 0 {
		j.unproved(silent, "%s never tried after the switch, such as %s", plural(len(silent), "revocation was", "revocations were"), about(silent[0]))
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
