package steps

import (
	"context"
	"time"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

// timed tells whoever wants to know how long something took.
func (e *Env) timed(t journal.Timing, err error) {
	if e.Timed == nil {
		return
	}
	t.Took, t.Error = time.Since(t.Began), err != nil
	e.Timed(t)
}

// participants are those of a step, their calls timed.
func (e *Env) participants(step string, specs []plan.ParticipantSpec) ([]cutover.Participant, error) {
	list := make([]cutover.Participant, 0, len(specs))
	for _, spec := range specs {
		p, err := cutover.Build(spec)
		if err != nil {
			return nil, err
		}
		list = append(list, timedParticipant{p, e, step})
	}
	return list, nil
}

// timedParticipant tells how long each call took.
type timedParticipant struct {
	cutover.Participant
	env  *Env
	step string
}

func (p timedParticipant) call(name string, do func() error) error {
	began := time.Now()
	err := do()
	p.env.timed(journal.Timing{Step: p.step, What: journal.TimedCall, Name: p.Name(), Call: name, Began: began}, err)
	return err
}

// Prepare is the participant's.
func (p timedParticipant) Prepare(ctx context.Context, t cutover.Ticket) error {
	return p.call("prepare", func() error { return p.Participant.Prepare(ctx, t) })
}

// Commit is the participant's.
func (p timedParticipant) Commit(ctx context.Context, t cutover.Ticket) error {
	return p.call("commit", func() error { return p.Participant.Commit(ctx, t) })
}

// Abort is the participant's.
func (p timedParticipant) Abort(ctx context.Context, t cutover.Ticket) error {
	return p.call("abort", func() error { return p.Participant.Abort(ctx, t) })
}

// Side is the participant's.
func (p timedParticipant) Side(ctx context.Context, t cutover.Ticket) (side plan.Side, err error) {
	err = p.call("side", func() error {
		side, err = p.Participant.Side(ctx, t)
		return err
	})
	return side, err
}
