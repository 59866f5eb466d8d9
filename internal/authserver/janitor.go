package authserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tideover/tideover/internal/authserver/store"
)

// JanitorOptions bound what the janitor does.
type JanitorOptions struct {
	Expired     time.Duration // rows go that ran out so long ago
	Unfinished  time.Duration // logins and consents go that were asked for so long ago and never finished
	RetiredKeys time.Duration // signing keys go that a newer one took over from so long ago
	Batch       int           // rows a transaction
	Most        int64         // rows of all kinds together
	Pause       time.Duration // between two transactions
	DryRun      bool          // counts, and deletes nothing
}

// Swept is what the janitor did with one kind of rows.
type Swept struct {
	Kind string `json:"kind"`
	Rows int64  `json:"rows"`
	Left bool   `json:"left,omitempty"` // there may be more; the limit was reached
}

// Sweep deletes what serves nobody any more, in small transactions, and calls each with every kind once it is through. What
// has been done when it ends with an error stays done; it may be run again.
func (o *Operator) Sweep(ctx context.Context, opts JanitorOptions, each func(Swept)) error {
	sweeper, ok := o.store.(store.Sweeper)
	if !ok {
		return errors.New("this generation cannot be swept")
	}
	left := opts.Most
	for _, r := range sweeper.Rubbish() {
		since := opts.Expired
		if r.Asked() {
			since = opts.Unfinished
		}
		done := Swept{Kind: r.Kind}
		var err error
		if opts.DryRun {
			done.Rows, err = sweeper.Count(ctx, r, since)
		} else {
			done, err = sweepKind(ctx, sweeper, r, since, opts, left)
			left -= done.Rows
		}
		each(done)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Kind, err)
		}
	}
	done, err := o.sweepKeys(ctx, opts)
	each(done)
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	return nil
}

func sweepKind(ctx context.Context, sweeper store.Sweeper, r store.Rubbish, since time.Duration, opts JanitorOptions, left int64) (Swept, error) {
	done := Swept{Kind: r.Kind}
	for after := ""; ; {
		most := min(int64(opts.Batch), left-done.Rows)
		if most <= 0 {
			done.Left = true
			return done, nil
		}
		n, last, err := sweeper.Sweep(ctx, r, since, after, int(most))
		done.Rows += n
		if err != nil || n < most {
			return done, err
		}
		after = last
		select {
		case <-time.After(opts.Pause):
		case <-ctx.Done():
			return done, ctx.Err()
		}
	}
}

func (o *Operator) sweepKeys(ctx context.Context, opts JanitorOptions) (Swept, error) {
	done := Swept{Kind: "signing keys"}
	keys, err := o.store.RetiredKeys(ctx, opts.RetiredKeys)
	if err != nil {
		return done, err
	}
	for _, k := range keys {
		if !opts.DryRun {
			if err := o.store.DeleteKey(ctx, k.ID, opts.RetiredKeys); err != nil {
				return done, err
			}
		}
		done.Rows++
	}
	return done, nil
}
