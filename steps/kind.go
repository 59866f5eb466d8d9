package steps

import "github.com/tideover/tideover/plan"

// kinds are how the step kinds of plan are built and told. Each is in the file of its name.
var kinds = []kind{
	preflightKind, lifetimesKind, pauseJobsKind, compatViewsKind, captureKind, snapshotKind, cleanupKind, migrateKind, replayKind,
	validateKind, cutoverKind, monitorKind, retireKind,
}

// kind is how steps of one kind are built, and what "tideover plan" says of them.
type kind struct {
	name     plan.StepKind
	build    func(b base, env *Env, config any) Step
	describe func(config any) (does, undo string)
}

// kindOf is the kind whose own fields in a runbook are C.
func kindOf[C any](name plan.StepKind, build func(b base, env *Env, spec *C) Step, describe func(*C) (does, undo string)) kind {
	return kind{
		name:     name,
		build:    func(b base, env *Env, config any) Step { return build(b, env, config.(*C)) },
		describe: func(config any) (string, string) { return describe(config.(*C)) },
	}
}

// lookUp is the kind of that name, or nil.
func lookUp(name plan.StepKind) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}
