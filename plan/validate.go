package plan

// Validate asks the profile's invariants on both sides.
const Validate StepKind = "validate"

// ValidateSpec are the fields of a validate step.
type ValidateSpec struct {
	Repair bool `yaml:"repair"` // repair differences from blue, then ask again
	Full   bool `yaml:"full"`   // hold all of green against a migration of blue's state
}

var validate = kind{
	name:     Validate,
	standard: ValidateSpec{},
	fields: fields{
		"repair": {Doc: "Repair differences from blue, then ask again."},
		"full": {Doc: "Compare everything: blue as it is now is copied to green's server once more, migrated at one go, and every row of green held against it. " +
			"It takes as long as copy and migrations, up to three times on a blue that is written meanwhile, and as much disk."},
	},
	arrange: checked(func(d *decoder, rb *Runbook, path string, c *ValidateSpec) {
		if c.Full && rb.InPlace() {
			d.add(join(path, "full"), "leave it out, or migrate a copy (target: offline)", "blue is migrated in place: there is no second database to compare it with")
		}
	}),
	hazards: validateHazards,
	order: order{
		after: []precedence{
			{offline, "validate", "its questions meet the old schema"},
			{live, "validate", "its questions meet the old schema"},
		},
		many:  []moment{"validate"},
		needs: []need{{"validate", []moment{offline, live}, "there is nothing to compare"}},
	},
}

func validateHazards(h *hazards) {
	validated := false
	for i := range h.rb.Steps {
		s := &h.rb.Steps[i]
		switch s.Kind {
		case Validate:
			validated = true
			if len(h.p.Invariants) == 0 {
				h.add(AuthorizationsKept, s, "add `invariants:` to the profile", "profile %s has no invariants: validation asks nothing", h.p.Name)
			}
		case Cutover:
			if !validated {
				h.add(AuthorizationsKept, s, "put `- step: validate` before the cutover",
					"nothing is compared before the switch: sessions that a migration made invalid are found by their users")
			}
		}
	}
}
