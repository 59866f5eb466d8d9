package steps

import (
	"context"
	"fmt"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/internal/journal"
)

// Rehearser is a step that can be done up to where there is no way back, and taken back: the cutover.
type Rehearser interface {
	Rehearse(ctx context.Context, p *Progress) (cutover.Figures, error)
}

// Rehearse rehearses the run's cutover. The steps before it must be finished; their work in the background goes on
// meanwhile. Afterwards the run is stopped where it was, and can be resumed. Where the rehearsal fails the error is a
// [*StoppedError].
func (r *Runner) Rehearse(ctx context.Context) (cutover.Figures, error) {
	r.announce()
	id, figures, err := r.rehearse(ctx)
	if err != nil {
		return figures, r.stopped(ctx, id, err, "resume")
	}
	state := r.State()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return figures, r.rec.append(ctx, "", journal.RunStopped, journal.StoppedData{
		Reason: "the cutover was rehearsed, blue serves", Next: "tideover resume " + state.Runbook})
}

func (r *Runner) rehearse(ctx context.Context) (step string, figures cutover.Figures, err error) {
	work, cancel := r.under(ctx)
	defer cancel(nil)
	r.background.begin(work, cancel)
	defer func() { _ = r.background.stop() }() // its error has ended the work, or no longer matters
	state := r.State()
	for i, step := range r.cfg.Steps {
		rehearser, ok := step.(Rehearser)
		switch {
		case state.PastPointOfNoReturn || state.Phase != journal.Running:
			return "", figures, &notNowError{"the run is " + string(state.Phase), "\"tideover status\" says where it is"}
		case ok:
			figures, err = rehearser.Rehearse(work, r.progress(step.ID()))
			if err == nil {
				err = r.progress(step.ID()).Figure(work, "rehearsed", figures)
			}
			if err != nil {
				id, err := r.blame(ctx, work, step.ID(), err)
				return id, figures, err
			}
			return step.ID(), figures, nil
		case state.Steps[i].Status != journal.StepIsFinished:
			return "", figures, &notNowError{fmt.Sprintf("step %q, before the cutover, is not finished", step.ID()),
				"let the run come to its cutover, with approve: true on it to make it wait there; Ctrl-C, rehearse, resume"}
		}
		r.leave(i, step)
	}
	return "", figures, &notNowError{"the runbook has no cutover", "nothing is to be rehearsed"}
}

type notNowError struct{ text, hint string }

func (e *notNowError) Error() string { return "the cutover can't be rehearsed now: " + e.text }
func (e *notNowError) Hint() string  { return e.hint }
