package steps

import (
	"context"

	"github.com/tideover/tideover/replay"
)

// retireStep removes what the run put into both databases. Blue is kept, read-only: its fence stays up until a person
// drops it. The journal stays on blue, and what was quarantined stays on green.
type retireStep struct {
	base
	env *Env
}

// Done is never true; everything here may be removed twice.
func (s *retireStep) Done(context.Context) (bool, error) { return false, nil }

// Run removes triggers, scratch databases and green's fence, restores token lifetimes on green, and lets jobs go on.
func (s *retireStep) Run(ctx context.Context, p *Progress) error {
	if s.env.Runbook.InPlace() {
		return s.inPlace(ctx, p)
	}
	if r, err := s.env.Replayer(); err == nil {
		if err := r.Close(ctx); err != nil {
			return err
		}
	}
	if err := s.env.sweep(ctx, p); err != nil {
		return err
	}
	if err := replay.NewCapture(s.env.Green, s.env.Profile, replay.Green).Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	if err := s.env.greenFence().Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	if err := s.env.source().Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	for _, step := range s.env.steps {
		switch step := step.(type) {
		case *lifetimesStep:
			if err := step.restore(ctx, p.State(), s.env.Green); err != nil {
				return err
			}
		case *pauseJobsStep:
			if err := step.Undo(ctx, p); err != nil {
				return err
			}
		}
	}
	return p.Note(ctx, "info", "blue is kept and refuses writes; drop its database when you no longer need the way back's evidence")
}

// inPlace takes away what stood in for the old server's sake: the views, then what the migrations put off.
func (s *retireStep) inPlace(ctx context.Context, p *Progress) error {
	did := false
	for _, step := range s.env.steps {
		if views, ok := step.(*compatViewsStep); ok {
			did = true
			if err := views.Undo(ctx, p); err != nil {
				return err
			}
		}
	}
	for _, step := range s.env.steps {
		m, ok := step.(*liveMigrateStep)
		if !ok || len(m.spec.Defer) == 0 {
			continue
		}
		did = true
		if err := m.finish(ctx, p); err != nil {
			return err
		}
	}
	if did {
		return nil
	}
	return p.Note(ctx, "info", "blue was upgraded in place: there is nothing to remove, and no other side")
}
