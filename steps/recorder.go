package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
)

// recorder stores events, folds them and shows them, in this order and one at a time: steps in the background append
// too, and whoever watches must see what the journal says.
type recorder struct {
	lease journal.Lease
	sinks []journal.Sink

	mu    sync.Mutex
	state journal.State
	// behind is set when an append ended in an error: it may have been stored nevertheless, when only the answer was
	// lost. Before the next one the journal is asked.
	behind bool
}

// loader is a lease that can read its run's events.
type loader interface {
	Load(ctx context.Context, after int64) ([]journal.Event, error)
}

// txAppender is a lease that can store an event in a transaction of the control database.
type txAppender interface {
	AppendTx(ctx context.Context, tx pgx.Tx, e journal.Event) (journal.Event, error)
	Covers(db *postgres.DB) bool
}

func (r *recorder) snapshot() journal.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Clone()
}

// append stores an event, then shows it.
func (r *recorder) append(ctx context.Context, step string, kind journal.Kind, data any) error {
	e, err := event(step, kind, data)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.before(ctx, e); err != nil {
		return err
	}
	stored, err := r.lease.Append(ctx, e)
	if err != nil {
		r.behind = true
		return err
	}
	return r.show(stored)
}

// appendIn does f and stores an event in one transaction of the control database. The checks see the state that the event follows.
func (r *recorder) appendIn(ctx context.Context, db *postgres.DB, lease txAppender, e journal.Event, f func(pgx.Tx) error, checks ...func(journal.State) error) error {
	tx, err := db.Pool().Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // does nothing after the commit
	if err := f(tx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.before(ctx, e); err != nil {
		return err
	}
	for _, check := range checks {
		if err := check(r.state.Clone()); err != nil {
			return err
		}
	}
	stored, err := lease.AppendTx(ctx, tx, e)
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		r.behind = true
		return err
	}
	return r.show(stored)
}

// before looks whether an event may be stored now. It needs the lock.
func (r *recorder) before(ctx context.Context, e journal.Event) error {
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	// What the state machine refuses must not get into the journal: nobody could fold it any more.
	e.Run, e.Seq, e.Time = r.state.Run, r.state.Seq+1, r.state.Updated
	trial := r.state.Clone()
	return trial.Apply(e)
}

// refresh reads what was stored without our knowing, where that can be.
func (r *recorder) refresh(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.catchUp(ctx)
}

// catchUp needs the lock.
func (r *recorder) catchUp(ctx context.Context) error {
	l, ok := r.lease.(loader)
	if !r.behind || !ok {
		return nil
	}
	missed, err := l.Load(ctx, r.state.Seq)
	if err != nil {
		return err
	}
	for _, e := range missed {
		if e.Kind == journal.RunTaken {
			return fmt.Errorf("run %q: %w", e.Run, journal.ErrFenced)
		}
		if err := r.show(e); err != nil {
			return err
		}
	}
	r.behind = false
	return nil
}

// show needs the lock.
func (r *recorder) show(e journal.Event) error {
	if err := r.state.Apply(e); err != nil {
		return err
	}
	for _, sink := range r.sinks {
		sink(e)
	}
	return nil
}

// progress shows an event that is not stored. Its time is this process's.
func (r *recorder) progress(step string, d journal.ProgressData) {
	e, err := event(step, journal.StepProgress, d)
	if err != nil {
		return // plain fields always encode
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Run, e.Time = r.state.Run, time.Now()
	_ = r.show(e) // a step that the run does not have shows nothing
}

func event(step string, kind journal.Kind, data any) (journal.Event, error) {
	e := journal.Event{Step: step, Kind: kind}
	if data == nil {
		return e, nil
	}
	b, err := json.Marshal(data)
	if err != nil {
		return e, fmt.Errorf("step %q: data of event %q: %w", step, kind, err)
	}
	e.Data = b
	return e, nil
}

// hintOf is the hint of an error, or "".
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
