package steps

import (
	"context"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// captureStep begins to record changes on blue. The fence is not needed before the cutover, which puts it in place right
// before the hold: until then no statement of the server pays for it.
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

// Done looks for the triggers.
func (s *captureStep) Done(ctx context.Context) (bool, error) {
	return s.capture().Installed(ctx)
}

// Run installs the triggers; each waits for its lock no longer than the budget.
func (s *captureStep) Run(ctx context.Context, p *Progress) error {
	return s.capture().Install(ctx, s.env.budget())
}

// Undo removes everything from blue but the journal, the cutover's fence too.
func (s *captureStep) Undo(ctx context.Context, p *Progress) error {
	if err := s.env.blueFence().Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	return s.capture().Remove(ctx, s.env.budget())
}
