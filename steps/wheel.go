package steps

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
)

const (
	wheelEvery   = 500 * time.Millisecond // how often commands are looked for
	wheelTimeout = 5 * time.Second        // one look, or one answer
)

// wheel is what persons at other terminals have a hand on: it has the work wait, go slower, or end.
type wheel struct {
	mu   sync.Mutex
	open chan struct{}           // closed while nothing is paused
	work context.CancelCauseFunc // ends the work forward; nil while there is none
	due  error                   // why work that has not begun yet is to end

	rate, changes atomic.Int64 // journal.Limits; 0: none
}

func newWheel() *wheel {
	w := &wheel{open: make(chan struct{})}
	close(w.open)
	return w
}

// bind says how the work under way is ended; nil: there is none any more.
func (w *wheel) bind(end context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.work = end
	if end != nil && w.due != nil {
		end(w.due)
	}
}

func (w *wheel) end(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.work != nil {
		w.work(cause)
	} else {
		w.due = cause
	}
}

func (w *wheel) pause(paused bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.open:
		if paused {
			w.open = make(chan struct{})
		}
	default:
		if !paused {
			close(w.open)
		}
	}
}

// pass returns at once, or when what was paused goes on.
func (w *wheel) pass(ctx context.Context) error {
	w.mu.Lock()
	open := w.open
	w.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// askedError ends the work because a person has asked for it.
type askedError struct{ why string }

func (e *askedError) Error() string { return e.why }

// turn has the wheel stand as the state says: what was agreed to is done, also where the answer's transaction was stored and nobody
// told us.
func (r *Runner) turn() {
	r.turning.Lock()
	defer r.turning.Unlock()
	s := r.State()
	r.wheel.pause(s.Paused != nil)
	r.wheel.rate.Store(s.Limits.MaxRate)
	r.wheel.changes.Store(s.Limits.MaxChanges)
	switch {
	case s.Phase.GoesBack() || s.Phase.Ended():
	case s.AbortAsked != "":
		r.wheel.end(&RollbackError{Err: &askedError{s.AbortAsked}})
	case s.Denied != nil:
		r.wheel.end(&askedError{s.Denied.Why})
	}
}

// pass is for the moments between steps: a pause that the journal has before the step's start is waited for.
func (r *Runner) pass(ctx context.Context) error {
	r.turn()
	return r.wheel.pass(ctx)
}

// Pass is for safe points of a step's work, where nobody waits for anything of ours: while the run is paused, it returns when
// it goes on, or with an error when the run ends.
func (p *Progress) Pass(ctx context.Context) error { return p.r.wheel.pass(ctx) }

// Spend is Pass after n changes were replayed: it waits so long that no more are in a second than the run was asked to keep to.
func (p *Progress) Spend(ctx context.Context, n int64) error {
	if most := p.r.wheel.changes.Load(); most > 0 && n > 0 {
		timer := time.NewTimer(time.Duration(float64(n) / float64(most) * float64(time.Second)))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return p.Pass(ctx)
}

// Rate is what the copy may take, in bytes a second, beside the runbook's own limit; 0: anything.
func (p *Progress) Rate() int64 { return p.r.wheel.rate.Load() * 1_000_000 }

// Steer answers what persons ask for, until ctx ends. An unreachable control database is asked again: the lease knows when it is
// lost.
func (r *Runner) Steer(ctx context.Context, j *postgres.Journal) {
	ticker := time.NewTicker(wheelEvery)
	defer ticker.Stop()
	var shown *journal.ProgressData
	for {
		r.answerAll(ctx, j)
		r.turn()
		shown = r.keepProgress(ctx, j, shown)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (r *Runner) answerAll(ctx context.Context, j *postgres.Journal) {
	ctx, cancel := context.WithTimeout(ctx, wheelTimeout)
	defer cancel()
	state := r.State()
	commands, err := j.Commands(ctx, state.Run)
	if err != nil {
		return
	}
	for _, c := range commands {
		if c.Term > state.Term {
			return // another process has the run
		}
		for range 3 { // the state may have moved on between the look and the answer
			if err = r.answer(ctx, j, c); err == nil || ctx.Err() != nil {
				break
			}
			if r.rec.refresh(ctx) != nil || errors.Is(err, postgres.ErrAnswered) {
				break
			}
		}
	}
}

// answer decides, and stores the decision with its event in one transaction: both are in force, or neither is. What the state
// machine does not let happen any more, such as an abort when the point of no return came first, is decided anew.
func (r *Runner) answer(ctx context.Context, j *postgres.Journal, c postgres.Command) error {
	state := r.State()
	d := c.Data
	reason := refusal(d, &state)
	switch {
	case c.Term < state.Term:
		reason = fmt.Sprintf("it was asked of a process that is gone (term %d); ask again", c.Term)
	case reason == "" && d.Verb == journal.Abort:
		if err := r.wayBack(ctx, state); err != nil {
			reason = err.Error()
		}
	}
	if d.Done, d.Answer = reason == "", reason; d.Done {
		d.Answer = consent(d, &state)
	}
	lease, ok := r.rec.lease.(txAppender)
	if !ok {
		return errors.New("the lease can't store an answer")
	}
	e, err := event("", journal.RunAsked, d)
	if err != nil {
		return err
	}
	free := r.hold(d)
	err = r.rec.appendIn(ctx, j.DB(), lease, e, func(tx pgx.Tx) error {
		err := postgres.AnswerIn(ctx, tx, c.ID, d.Done, d.Answer)
		if err == nil && d.Done && d.Verb == journal.Deny {
			err = postgres.WithdrawIn(ctx, tx, state.Run, d.Step)
		}
		return err
	}, func(now journal.State) error {
		if d.Done && refusal(d, &now) != "" {
			return errMovedOn
		}
		return nil
	})
	free()
	r.turn()
	return err
}

// hold has a pause be in force before anybody can read that it was granted; free lets the journal decide again.
func (r *Runner) hold(d journal.AskedData) (free func()) {
	if !d.Done || d.Verb != journal.Pause {
		return func() {}
	}
	r.turning.Lock()
	r.wheel.pause(true)
	return r.turning.Unlock
}

// errMovedOn says that the run has moved on since a decision was made.
var errMovedOn = errors.New("the run has moved on")

// keepProgress stores the progress of the step under way where it has changed.
func (r *Runner) keepProgress(ctx context.Context, j *postgres.Journal, shown *journal.ProgressData) *journal.ProgressData {
	state := r.State()
	st, ok := state.Current()
	if !ok || st.Progress.Unit == "" && st.Progress.Note == "" || shown != nil && reflect.DeepEqual(*shown, st.Progress) {
		return shown
	}
	ctx, cancel := context.WithTimeout(ctx, wheelTimeout)
	defer cancel()
	if err := j.SetProgress(ctx, state.Run, st.ID, st.Progress); err != nil {
		return shown // nobody's run stops for it
	}
	return &st.Progress
}

// warn notes something that stops nobody, at the step under way. After the end of a run there is nowhere to note it.
func (r *Runner) warn(about, text string) {
	state := r.State()
	st, ok := state.Current()
	if !ok || state.Phase.Ended() || state.Phase.IsStopped() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), wheelTimeout)
	defer cancel()
	_ = r.rec.append(ctx, st.ID, journal.StepNote, journal.NoteData{Level: "warn", Text: text, About: about})
}
