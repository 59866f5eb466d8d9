package plan

// Fit holds a runbook against the profile that it names. What it finds are mistakes, like those of LoadRunbook; what
// merely weakens a guarantee is found by Hazards.
func Fit(rb *Runbook, p *Profile) error {
	f := &fitting{rb: rb, p: p}
	for i, s := range rb.Steps {
		f.i, f.s = i, s
		if k := kindOf(s.Kind); k != nil && k.fit != nil {
			k.fit(f, s.Config)
		}
	}
	return f.errs.orNil()
}

// fitting is one step that is held against the profile.
type fitting struct {
	rb   *Runbook
	p    *Profile
	i    int
	s    StepSpec
	errs Errors
}

func (f *fitting) add(field, way, msg string) {
	f.errs = append(f.errs, &Error{File: f.rb.Path, Line: f.s.Line, Column: f.s.Column, Field: join(item("steps", f.i), field), Msg: msg, Way: way})
}
