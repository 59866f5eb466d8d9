package plan

// Retire removes triggers and our schema. Blue is kept, read-only.
const Retire StepKind = "retire"

// RetireSpec: a retire step has no fields of its own.
type RetireSpec struct{}

var retire = kind{
	name:     Retire,
	standard: RetireSpec{},
	hazards: func(h *hazards) {
		if s := h.rb.Step(Retire); s != nil && h.rb.Step(Cutover) != nil && !s.Approve {
			h.add(WayBack, s, "add `approve: true` to it", "the way back is removed without a person's word")
		}
	},
	order: order{last: "make it the last step: it removes what the others need"},
}
