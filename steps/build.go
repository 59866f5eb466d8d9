package steps

import (
	"fmt"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

// base is what every step kind embeds.
type base struct{ id string }

// ID is the step's key in the journal.
func (b base) ID() string { return b.id }

// Build makes the steps of a run, in the runbook's order.
func Build(env *Env) ([]Step, error) {
	built := make([]Step, 0, len(env.Runbook.Steps))
	for i := range env.Runbook.Steps {
		spec := &env.Runbook.Steps[i]
		k := lookUp(spec.Kind)
		if k == nil {
			return nil, fmt.Errorf("%s: step %q: nothing is built for kind %q", env.Runbook.Path, spec.ID, spec.Kind)
		}
		step, err := k.step(env, spec)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", env.Runbook.Path, err)
		}
		built = append(built, step)
	}
	env.steps = built
	return built, nil
}

// step builds a step of the kind. One that has no Undo must say that it can't be taken back, so that a forgotten method is
// no point of no return.
func (k *kind) step(env *Env, spec *plan.StepSpec) (Step, error) {
	step := k.build(base{id: spec.ID}, env, spec.Config)
	_, undoable := step.(Undoer)
	_, irreversible := step.(Irreversible)
	switch {
	case !undoable && !irreversible:
		return nil, fmt.Errorf("step %q: kind %q has neither Undo nor NothingToUndo, and does not say that it is a point of no return", spec.ID, k.name)
	case undoable && irreversible:
		return nil, fmt.Errorf("step %q: kind %q has an Undo, and says that it is a point of no return", spec.ID, k.name)
	}
	return step, nil
}

// references are the steps as the journal names them.
func references(rb *plan.Runbook, built []Step) []journal.StepRef {
	refs := make([]journal.StepRef, len(built))
	for i, step := range built {
		_, undoable := step.(Undoer)
		refs[i] = journal.StepRef{ID: step.ID(), Kind: string(rb.Steps[i].Kind), Undoable: undoable, Gate: rb.Steps[i].Approve}
	}
	return refs
}
