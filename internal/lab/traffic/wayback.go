package traffic

import (
	"slices"
	"time"
)

// turn is a switch that was taken back: the new side served from one instant to another, and what it issued stayed
// behind. Revocations come back with the old side, and apps where the profile carries them back; sessions and rotations do not.
type turn struct {
	from time.Duration // the new side may serve
	back time.Duration // the old side may serve again
	to   time.Duration // the old side serves
}

// turns finds the switches that were taken back. A new side may have served from the hold before its release on; between
// the mark of the hold that led back and the mark that it is done nobody knows which side serves.
func turns(marks []Record) []turn {
	var ts []turn
	var hold, back time.Duration
	released := false
	for _, m := range marks {
		switch {
		case m.Mark == MarkHold && released:
			if back == never {
				back = m.At
			}
		case m.Mark == MarkHold:
			hold = m.At
		case m.Mark == MarkReleased && !released:
			released, back = true, never
		case m.Mark == MarkReleased:
			back = never // the way back was called off
		case m.Mark == MarkRollback && released:
			ts = append(ts, turn{hold, min(back, m.At), m.At})
			released = false
		}
	}
	return ts
}

// turning reports whether the way back is being taken at t: between its hold and the mark that the old side serves both
// sides may change.
func (tl *timeline) turning(t time.Duration) bool {
	served, turning := false, false
	for _, m := range tl.marks {
		if m.At > t {
			break
		}
		switch m.Mark {
		case MarkReleased:
			served, turning = true, false
		case MarkHold:
			turning = served
		case MarkRollback:
			served, turning = false, false
		}
	}
	return turning
}

// during reports whether o may have had its effect on the new side of a turn.
func (t turn) during(o *op) bool { return o != nil && t.from < o.end && o.start < t.to }

// leaveBehind enters what a way back does to authorities: what the new side issued may be gone, and what it rotated may
// be as before.
func (l *ledger) leaveBehind() {
	for _, t := range turns(l.marks) {
		gone := death{from: t.back, by: never}
		left := func(m *mortal, maybe time.Duration) {
			if m.born == never && maybe == never || t.from < m.born && maybe < t.to {
				m.deaths = append(m.deaths, gone)
			}
		}
		for _, c := range l.apps {
			if !l.expect.AppsReturn {
				left(&c.mortal, c.maybe)
			}
		}
		for _, g := range l.listed {
			left(&g.mortal, g.maybe)
		}
		for _, c := range l.codes {
			left(&c.mortal, c.grant.maybe)
		}
		for _, c := range l.order {
			left(&c.mortal, 0)
		}
		for _, tok := range l.sorted {
			if slices.ContainsFunc(tok.origins, t.during) {
				tok.deaths = append(tok.deaths, gone)
				tok.chain.unsure(tok.hash, t.back)
			}
			for i, d := range tok.deaths {
				if d.rotation && t.during(d.op) {
					tok.deaths[i].until = t.back
				}
			}
		}
	}
}

// unsure takes the certainty from revocations that were asked for with one token of the chain later than some instant: the
// side that serves then does not know that token, says that all is well (RFC 7009 section 2.2), and ends nothing.
func (c *chain) unsure(hash string, later time.Duration) {
	all := []*mortal{&c.mortal}
	for _, t := range c.tokens {
		all = append(all, &t.mortal)
	}
	for _, m := range all {
		for i, d := range m.deaths {
			if d.op != nil && (d.op.Kind == RevokeAccess || d.op.Kind == RevokeRefresh) && d.op.Token == hash && d.op.end > later {
				m.deaths[i].by = never
			}
		}
	}
}

// named reports whether the key that signed an ID token of a turn is shown under another id by the side that serves after
// it: Hydra 2.x calls the key of 1.x otherwise.
func (l *ledger) named(signed, asked *op, thumb string) bool {
	for _, t := range turns(l.marks) {
		if !t.during(signed) || asked.end <= t.back {
			continue
		}
		for _, shown := range asked.answer.Keys {
			if shown == thumb && thumb != "" {
				return true
			}
		}
	}
	return false
}

// takenBack reports whether a rotation that explains that an authority was dead has been taken back before o began.
func takenBack(m *mortal, dead, o *op) bool {
	for _, d := range m.deaths {
		if d.until != 0 && dead != nil && d.from < dead.end && d.until <= o.end {
			return true
		}
	}
	return false
}
