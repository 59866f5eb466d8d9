package steps

import (
	"context"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// captureStep begins to record changes on blue, and puts the fence's triggers in place, lowered, so that no DDL is
// needed in the hold.
type captureStep struct {
	base
	env *Env
}

func (s *captureStep) capture() *replay.Capture {
	return replay.NewCapture(s.env.Blue, s.env.capturedProfile(), replay.Blue)
}

// capturedProfile is the profile, or under the no-capture fault one that captures nothing.
func (e *Env) capturedProfile() *plan.Profile {
	if !e.Faults.NoCapture {
		return e.Profile
	}
	off := false
	p := *e.Profile
	p.Tables = append([]plan.Table(nil), e.Profile.Tables...)
	for i := range p.Tables {
		p.Tables[i].Capture = &off
	}
	return &p
}

func (e *Env) blueFence() *replay.Fence  { return replay.NewFence(e.Blue, e.Profile.Schema) }
func (e *Env) greenFence() *replay.Fence { return replay.NewFence(e.Green, e.Profile.Schema) }

// Done looks for the triggers of both.
func (s *captureStep) Done(ctx context.Context) (bool, error) {
	installed, err := s.capture().Installed(ctx)
	if err != nil || !installed {
		return false, err
	}
	missing, err := s.env.blueFence().Missing(ctx)
	return len(missing) == 0, err
}

// Run installs the triggers; each waits for its lock no longer than the budget.
func (s *captureStep) Run(ctx context.Context, p *Progress) error {
	if err := s.capture().Install(ctx, s.env.budget()); err != nil {
		return err
	}
	return s.env.blueFence().Install(ctx, s.env.budget())
}

// Undo removes everything from blue but the journal.
func (s *captureStep) Undo(ctx context.Context, p *Progress) error {
	if err := s.env.blueFence().Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	return s.capture().Remove(ctx, s.env.budget())
}
