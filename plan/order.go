package plan

import (
	"fmt"
	"slices"
)

// moment is a step kind at one point of a run: clean-up is two of them, and so is migrate.
type moment string

// order is where steps of a kind may stand. A kind has the moment of its own name, and a runbook has each moment once,
// unless something else is said here.
type order struct {
	moment func(config any) moment // "" where a mistake, reported already, leaves it open
	many   []moment                // those that a runbook may have more than once

	onGreen   []moment // those that work on green: it must be there, and blue is not migrated in place
	blueGreen []moment // those besides that have no place in an upgrade in place

	after []precedence // what must come before this kind; a pair with this kind as the first may stand here, too
	needs []need

	first, last string // the kind is the first, or the last, step; what to do about one that isn't
}

// precedence is a pair of moments that can only come in this order, and what goes wrong in the other.
type precedence struct {
	first, then moment
	because     string
}

// need says which moments (one of them) a moment can't do without.
type need struct {
	step moment
	any  []moment
	way  string
}

func momentOf(s StepSpec) moment {
	if k := kindOf(s.Kind); k != nil && k.moment != nil {
		return k.moment(s.Config)
	}
	return moment(s.Kind)
}

// checkOrder holds the steps against what their kinds say.
func (d *decoder) checkOrder(rb *Runbook) {
	steps := make([]moment, len(rb.Steps))
	first := make(map[moment]int)
	for i, s := range rb.Steps {
		if s.Config == nil || momentOf(s) == "" {
			return // said already; whatever is said of the order now would be a guess
		}
		m := momentOf(s)
		steps[i] = m
		if before, ok := first[m]; ok && !slices.Contains(kindOf(s.Kind).many, m) {
			d.add(item("steps", i), "a runbook has one "+string(m), "%s is steps[%d] already", m, before)
			continue
		}
		if _, ok := first[m]; !ok {
			first[m] = i
		}
	}
	for _, k := range kinds {
		d.checkNeeds(k.needs, first)
	}
	for _, k := range kinds {
		d.checkPrecedence(k.after, steps, first)
	}
	d.checkEnds(rb, steps)
	d.checkLive(steps)
	for i, s := range rb.Steps {
		if k := kindOf(s.Kind); k.arrange != nil {
			k.arrange(d, rb, item("steps", i), s.Config)
		}
	}
}

func (d *decoder) checkPrecedence(rules []precedence, steps []moment, first map[moment]int) {
	for _, p := range rules {
		i, ok := first[p.first]
		j := slices.Index(steps, p.then)
		if ok && j >= 0 && j < i {
			d.add(item("steps", j), fmt.Sprintf("move it behind steps[%d]: as it stands, %s", i, p.because), "%s comes before %s", p.then, p.first)
		}
	}
}

func (d *decoder) checkNeeds(needs []need, first map[moment]int) {
	for _, n := range needs {
		i, ok := first[n.step]
		if !ok || slices.ContainsFunc(n.any, func(m moment) bool { _, there := first[m]; return there }) {
			continue
		}
		want := string(n.any[0])
		for _, m := range n.any[1:] {
			want += " or " + string(m)
		}
		d.add(item("steps", i), n.way, "%s needs %s before it", n.step, want)
	}
}

// checkEnds looks at the kinds that begin or end a runbook.
func (d *decoder) checkEnds(rb *Runbook, steps []moment) {
	for _, k := range kinds {
		i := slices.IndexFunc(rb.Steps, func(s StepSpec) bool { return s.Kind == k.name })
		switch {
		case k.first != "" && i > 0:
			d.add(item("steps", i), k.first, "%s comes after %s", k.name, steps[0])
		case k.last != "" && i >= 0 && i < len(steps)-1:
			d.add(item("steps", i), k.last, "%s comes before %s", k.name, steps[i+1])
		}
	}
}

// checkLive keeps the two ways of upgrading apart.
func (d *decoder) checkLive(steps []moment) {
	i := slices.Index(steps, live)
	if i < 0 {
		return
	}
	for j, m := range steps {
		if needsGreen(m) || slices.ContainsFunc(kinds, func(k kind) bool { return slices.Contains(k.blueGreen, m) }) {
			d.add(item("steps", j), "an upgrade in place has no green: write two runbooks, one for each upgrade",
				"%s and %s (steps[%d]) can't be in one runbook", m, live, i)
		}
	}
}

// needsGreen says that a moment works on green.
func needsGreen(m moment) bool {
	return slices.ContainsFunc(kinds, func(k kind) bool { return slices.Contains(k.onGreen, m) })
}
