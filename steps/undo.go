package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/tideover/tideover/internal/journal"
)

// NothingToUndo is embedded by steps that leave nothing behind, such as monitor and validate. Without it, Build
// would refuse them.
type NothingToUndo struct{}

// Undo does nothing.
func (NothingToUndo) Undo(context.Context, *Progress) error { return nil }

// Undo takes every step that was started back, in reverse order, and ends the run as aborted. Before anything is
// changed it refuses with a [*PastError] past the point of no return, and with a [*NoWayBackError].
//
// Cancelling ctx does not stop it: half a way back helps nobody. Losing the lease does. A way back that was begun goes on
// by Run, Undo or Rollback alike.
func (r *Runner) Undo(ctx context.Context, reason string) error {
	r.announce()
	if state := r.State(); state.PastPointOfNoReturn && !state.Phase.GoesBack() {
		return &PastError{Run: state.Run}
	}
	return r.rollback(ctx, reason)
}

// Rollback is Undo that goes back over the point of no return too. There the cutover step's Undo switches back to blue
// first; then the steps before it are taken back, which can tell by [Progress.State] that green had served and must
// be kept for people to look at. The run ends as rolled back. Before the point of no return it is Undo.
func (r *Runner) Rollback(ctx context.Context, reason string) error {
	r.announce()
	return r.rollback(ctx, reason)
}

func (r *Runner) rollback(ctx context.Context, reason string) error {
	state := r.State()
	if err := r.wayBack(ctx, state); err != nil {
		return err
	}
	if !state.Phase.GoesBack() {
		record, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
		defer cancel()
		if err := r.rec.append(record, "", journal.RunUndoing, journal.ReasonData{Reason: reason}); err != nil {
			return r.stopped(ctx, "", err, "rollback")
		}
	}
	return r.back(ctx)
}

// wayBack looks for a step that has begun and can't be taken back.
func (r *Runner) wayBack(ctx context.Context, state journal.State) error {
	ctx = context.WithoutCancel(ctx)
	for i, st := range state.Steps {
		step := r.cfg.Steps[i]
		if _, ok := step.(Undoer); !st.Begun() || ok {
			continue
		}
		none := &NoWayBackError{Run: state.Run, Step: st.ID}
		w, ok := step.(Withdrawer)
		if !ok {
			return none
		}
		limited, cancel := context.WithTimeout(ctx, recordTimeout)
		untouched, err := w.Untouched(limited, r.progress(st.ID))
		cancel()
		if err != nil {
			return errors.Join(none, err)
		}
		if !untouched {
			return none
		}
	}
	return nil
}

// back goes on with a way back that has begun.
func (r *Runner) back(ctx context.Context) error {
	if err := r.wayBack(ctx, r.State()); err != nil {
		return err
	}
	work, cancel := r.under(context.WithoutCancel(ctx))
	defer cancel(nil)
	for i := len(r.cfg.Steps) - 1; i >= 0; i-- {
		if !r.State().Steps[i].Begun() {
			continue
		}
		step := r.cfg.Steps[i]
		if err := r.undo(work, step); err != nil {
			if work.Err() != nil {
				err = errors.Join(context.Cause(work), err)
			}
			return r.stopped(ctx, step.ID(), err, "rollback")
		}
	}
	end := journal.RunAborted
	if r.State().PastPointOfNoReturn {
		end = journal.RunRolledBack
	}
	if err := r.rec.append(work, "", end, nil); err != nil {
		return r.stopped(ctx, "", err, "rollback")
	}
	return nil
}

func (r *Runner) undo(ctx context.Context, step Step) error {
	id := step.ID()
	if err := r.rec.append(ctx, id, journal.StepUndoing, nil); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, r.cfg.Undo, fmt.Errorf("undo took longer than %s", r.cfg.Undo))
	defer cancel()
	back := func(ctx context.Context, p *Progress) error { return step.(Withdrawer).Withdraw(ctx, p) } // wayBack has let it pass
	if u, ok := step.(Undoer); ok {
		back = u.Undo
	}
	if err := back(limited, r.progress(id)); err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			err = errors.Join(context.Cause(limited), err)
		}
		return err
	}
	return r.rec.append(ctx, id, journal.StepUndone, nil)
}
