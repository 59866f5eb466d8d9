package steps

import (
	"context"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

var retireKind = kindOf(plan.Retire,
	func(b base, env *Env, _ *plan.RetireSpec) Step { return &retireStep{base: b, env: env} },
	func(_ *plan.RetireSpec) (does, undo string) {
		return "removes triggers and scratch databases; blue stays, read-only", "none: it is the end"
	})

// retireStep removes what the run put into both databases. Blue is kept, read-only: its fence stays up until a person
// drops it. The journal stays on blue, and what was quarantined stays on green.
type retireStep struct {
	base
	pointOfNoReturn
	env *Env
}

// Done is never true; everything here may be removed twice.
func (s *retireStep) Done(context.Context) (bool, error) { return false, nil }

// Run removes triggers, scratch databases and green's fence, and has every step finish.
func (s *retireStep) Run(ctx context.Context, p *Progress) error {
	if s.env.Runbook.InPlace() {
		return s.inPlace(ctx, p)
	}
	if r, err := s.env.Replayer(); err == nil {
		if err := r.Close(ctx); err != nil {
			return err
		}
	}
	// Where the switch was made by hand, green's triggers still sleep.
	if err := replay.Wake(ctx, s.env.Green, s.env.budget()); err != nil {
		return err
	}
	if err := s.env.sweep(ctx, p); err != nil {
		return err
	}
	if err := replay.NewCapture(s.env.Green, s.env.Profile, plan.Green).Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	if err := s.env.greenFence().Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	if err := s.env.source().Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	if err := s.env.watch().Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	if err := s.env.drift().Forget(ctx, s.env.budget()); err != nil {
		return err
	}
	if _, err := s.env.finish(ctx, p); err != nil {
		return err
	}
	return p.Note(ctx, "info", "blue is kept as it is, and refuses writes; it has the record of this run")
}

// inPlace takes away what stood in for the old server's sake: the views, then what the migrations put off. There is no other
// side.
func (s *retireStep) inPlace(ctx context.Context, p *Progress) error {
	did, err := s.env.finish(ctx, p)
	if err != nil || did {
		return err
	}
	return p.Note(ctx, "info", "blue was upgraded in place: there is nothing to remove, and no other side")
}
