package steps

import "github.com/tideover/tideover/plan"

// Description is what plan says of a step.
type Description struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	Does string `json:"does"`
	Undo string `json:"undo"`
	Gate bool   `json:"gate,omitempty"`
}

// Describe says what each step of a runbook would do, and how it is taken back. It needs no connection.
func Describe(rb *plan.Runbook) []Description {
	described := make([]Description, 0, len(rb.Steps))
	for _, spec := range rb.Steps {
		does, undo := string(spec.Kind), ""
		if k := lookUp(spec.Kind); k != nil {
			does, undo = k.describe(spec.Config)
		}
		described = append(described, Description{ID: spec.ID, Kind: string(spec.Kind), Does: does, Undo: undo, Gate: spec.Approve})
	}
	return described
}
