package steps

import (
	"context"
	"fmt"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/plan"
)

var pauseJobsKind = kindOf(plan.PauseJobs,
	func(b base, env *Env, c *plan.PauseJobsSpec) Step { return &pauseJobsStep{base: b, env: env, spec: c} },
	func(c *plan.PauseJobsSpec) (does, undo string) {
		return fmt.Sprintf("pauses %d downstream jobs until the run is over", len(c.Jobs)), "they go on"
	})

// pauseJobsStep stops downstream clean-up jobs, so that they can't act on half a truth: prepare is the pause, abort is
// the resume. Undo or Finish lets them go on.
type pauseJobsStep struct {
	base
	env  *Env
	spec *plan.PauseJobsSpec
}

func (e *Env) ticket(key string) cutover.Ticket {
	return cutover.Ticket{Run: e.Run, Term: e.Term, Call: e.calls.Add(1), Key: e.Run + "/" + key}
}

// Done is never true: a pause may be asked for again.
func (s *pauseJobsStep) Done(context.Context) (bool, error) { return false, nil }

// Run pauses the jobs in order.
func (s *pauseJobsStep) Run(ctx context.Context, p *Progress) error {
	jobs, err := s.env.participants(s.id, s.spec.Jobs)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if err := job.Prepare(ctx, s.env.ticket(s.id)); err != nil {
			return err
		}
		if err := p.Note(ctx, "info", "%s is paused", job.Name()); err != nil {
			return err
		}
	}
	return nil
}

// Undo lets the jobs go on, in reverse order.
func (s *pauseJobsStep) Undo(ctx context.Context, p *Progress) error {
	jobs, err := s.env.participants(s.id, s.spec.Jobs)
	if err != nil {
		return err
	}
	for i := len(jobs) - 1; i >= 0; i-- {
		if err := jobs[i].Abort(ctx, s.env.ticket(s.id)); err != nil {
			return err
		}
	}
	return nil
}

// Finish lets the jobs go on: the run is over.
func (s *pauseJobsStep) Finish(ctx context.Context, p *Progress) (bool, error) {
	return true, s.Undo(ctx, p)
}
