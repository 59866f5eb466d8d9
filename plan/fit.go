package plan

import (
	"maps"
	"slices"
)

// Fit holds a runbook against the profile that it names. What it finds are mistakes, like those of LoadRunbook; what
// merely weakens a guarantee is found by Hazards.
func Fit(rb *Runbook, p *Profile) error {
	var errs Errors
	for i, s := range rb.Steps {
		add := func(field, msg, way string) {
			errs = append(errs, &Error{File: rb.Path, Line: s.Line, Column: s.Column, Field: join(item("steps", i), field), Msg: msg, Way: way})
		}
		switch c := s.Config.(type) {
		case *TokenLifetimesSpec:
			if p.Lifetimes == nil {
				add("step", "profile "+p.Name+" does not say how lifetimes are raised", "leave the step out, or add `lifetimes:` to the profile")
			}
		case *CleanupSpec:
			var rules []string
			for _, r := range p.Rules {
				if r.Phase == c.Phase {
					rules = append(rules, r.Name)
				}
			}
			for _, rule := range slices.Sorted(maps.Keys(c.Approve)) {
				if !slices.Contains(rules, rule) {
					add("approve_rows."+shown(rule), "profile "+p.Name+" has no such rule in phase "+c.Phase, suggest(rule, rules))
				}
			}
		}
	}
	return errs.orNil()
}
