package traffic

import "time"

// resurrections finds what was seen dead and later alive, though no acknowledged request says that it should be dead: a
// revocation whose answer was lost had taken effect, and was then forgotten.
func (j *judge) resurrections() {
	for _, c := range j.apps {
		j.resurrected(&c.mortal)
	}
	j.imply()
	for _, t := range j.sorted {
		j.resurrected(&t.mortal)
	}
}

// imply carries a death that was seen at one authority to those that died with it. A token that is refused while nothing
// of its own can be the reason (no successor, no expiry) shows that its chain has died. A consent that is gone from the
// list shows that its chains have. Requests that may have done it must be over, so that they may be done by halves while
// they run.
func (j *judge) imply() {
	for _, t := range j.sorted {
		for _, s := range t.seen {
			if s.alive || s.vague {
				continue
			}
			at, ok := s.op.end, false
			for _, d := range t.deaths {
				if d.from >= s.op.end {
					continue
				}
				if d.op == nil || d.rotation {
					ok = false
					break
				}
				ok = true
				at = max(at, d.op.end)
			}
			if ok && at != never {
				t.chain.gone = append(t.chain.gone, gone{at, s.op})
			}
		}
	}
	for _, g := range j.listed {
		if c := j.clients[g.client]; c != nil {
			g.gone = append(g.gone, goneWith(&c.mortal)...)
		}
		j.resurrected(&g.mortal)
	}
	for _, t := range j.sorted {
		t.gone = append(t.gone, t.chain.gone...)
		if g := t.chain.grant; g != nil {
			t.gone = append(t.gone, goneWith(&g.mortal)...)
		}
		if c := j.clients[t.chain.client]; c != nil {
			t.gone = append(t.gone, goneWith(&c.mortal)...)
		}
	}
}

// goneWith is what was seen of a parent's death, where something explains it.
func goneWith(m *mortal) []gone {
	var gs []gone
	for _, s := range m.seen {
		if s.alive || s.vague {
			continue
		}
		at, explained := s.op.end, false
		for _, d := range m.deaths {
			if d.op != nil && d.from < s.op.end {
				at, explained = max(at, d.op.end), true
			}
		}
		if explained && at != never {
			gs = append(gs, gone{at, s.op})
		}
	}
	return gs
}

func (j *judge) resurrected(m *mortal) {
	deadAt, by := never, (*op)(nil)
	for _, s := range m.seen {
		if !s.alive && !s.vague && s.op.end < deadAt {
			deadAt, by = s.op.end, s.op
		}
	}
	for _, g := range m.gone {
		if g.at < deadAt {
			deadAt, by = g.at, g.op
		}
	}
	for _, s := range m.seen {
		if !s.alive || s.vague || s.op.start < deadAt {
			continue
		}
		if _, told := surelyDead(m.deaths, s.op.start); told || takenBack(m, by, s.op) {
			continue
		}
		for _, d := range m.deaths {
			if d.op != nil && d.op.Kind.Revokes() && d.from < deadAt {
				j.lostRevs[d.op.id] = true
				break
			}
		}
		j.find(Resurrection, []*op{by, s.op}, "%s was dead for %s and is alive again for %s, %s later", m.name, about(by),
			about(s.op), (s.op.start - deadAt).Round(time.Millisecond))
		return
	}
}
