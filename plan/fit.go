package plan

import "slices"

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

// gooseTable is where the migrations of a runbook's source keep their versions, unless the vendor's own table takes them.
const gooseTable = "goose_db_version"

// ForRunbook is the profile with goose's table as bookkeeping where the runbook's migrations are files: it is the tool's, says
// when each ran, and is never the same on two sides.
func (p *Profile) ForRunbook(rb *Runbook) *Profile {
	files := slices.ContainsFunc(rb.Steps, func(s StepSpec) bool {
		m, ok := s.Config.(*MigrateSpec)
		return ok && m.Source != ""
	})
	if !files || slices.Contains(p.Bookkeeping, gooseTable) {
		return p
	}
	own := *p
	own.Bookkeeping = append(slices.Clone(p.Bookkeeping), gooseTable)
	return &own
}
