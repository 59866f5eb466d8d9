package steps

import (
	"context"

	"github.com/tideover/tideover/internal/estimate"
	"github.com/tideover/tideover/plan"
)

// Estimate says how long the copy of an upgrade would take about, and what disk it needs; nil where nothing is copied.
func Estimate(ctx context.Context, u Upgrade) (*estimate.Estimate, error) {
	step := u.Runbook.Step(plan.Snapshot)
	if u.Runbook.InPlace() || step == nil {
		return nil, nil
	}
	env := &Env{Upgrade: u}
	defer env.close()
	if err := env.connect(ctx); err != nil {
		return nil, err
	}
	f, err := estimate.Measure(ctx, env.Blue, env.Green)
	if err != nil {
		return nil, err
	}
	spec := step.Config.(*plan.SnapshotSpec)
	f.Jobs, f.MaxRate = spec.Jobs, paceOf(spec).MaxRate
	if step := u.Runbook.Step(plan.Cutover); step != nil {
		f.Deadline = step.Config.(*plan.CutoverSpec).Deadline
	}
	e := estimate.Of(f)
	return &e, nil
}
