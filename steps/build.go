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
		step, err := build(env, &env.Runbook.Steps[i])
		if err != nil {
			return nil, err
		}
		built = append(built, step)
	}
	env.steps = built
	return built, nil
}

func build(env *Env, spec *plan.StepSpec) (Step, error) {
	b := base{id: spec.ID}
	switch c := spec.Config.(type) {
	case *plan.PreflightSpec:
		return &preflightStep{base: b, env: env, spec: c}, nil
	case *plan.TokenLifetimesSpec:
		return &lifetimesStep{base: b, env: env, spec: c}, nil
	case *plan.PauseJobsSpec:
		return &pauseJobsStep{base: b, env: env, spec: c}, nil
	case *plan.CompatViewsSpec:
		return &compatViewsStep{base: b, env: env, spec: c}, nil
	case *plan.CaptureSpec:
		return &captureStep{base: b, env: env, spec: c}, nil
	case *plan.SnapshotSpec:
		return &snapshotStep{base: b, env: env, spec: c}, nil
	case *plan.CleanupSpec:
		return &cleanupStep{base: b, env: env, spec: c}, nil
	case *plan.MigrateSpec:
		m := migrateStep{base: b, env: env, spec: c}
		if c.Target == "live" {
			return &liveMigrateStep{m}, nil
		}
		return &offlineMigrateStep{m}, nil
	case *plan.ReplaySpec:
		return &replayStep{base: b, env: env, spec: c}, nil
	case *plan.ValidateSpec:
		return &validateStep{base: b, env: env, spec: c}, nil
	case *plan.CutoverSpec:
		return &cutoverStep{base: b, env: env, spec: c}, nil
	case *plan.MonitorSpec:
		return &monitorStep{base: b, env: env, spec: c}, nil
	case *plan.RetireSpec:
		return &retireStep{base: b, env: env}, nil
	}
	return nil, fmt.Errorf("%s: step %q: nothing is built for kind %q", env.Runbook.Path, spec.ID, spec.Kind)
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
