package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// level runs f in a snapshot of blue of which green has everything but what late are the changes of: those that were captured
// and not in the queue yet when the snapshot was taken, with some that came after it.
func (r *Replayer) level(ctx context.Context, f func(tx pgx.Tx, late []*seed) error) error {
	if err := r.sync(ctx); err != nil {
		return err
	}
	return r.reading(ctx, func(tx pgx.Tx) error {
		claimed, truncated, err := r.claim(ctx, tx, r.pace.limit)
		if err != nil {
			return err
		}
		if truncated {
			return errLater
		}
		late, err := r.late(ctx, claimed)
		if err != nil {
			return err
		}
		if len(claimed) > 0 {
			if err := r.settle(ctx, claimed); err != nil {
				return err
			}
			inner, err := tx.Begin(ctx) // a savepoint, which apply ends: the snapshot stays
			if err != nil {
				return fmt.Errorf("read blue: %w", err)
			}
			if _, err := r.apply(ctx, inner, claimed, true); err != nil {
				if ctx.Err() == nil && (poisonous(err) || errors.Is(err, errReplayed) || errors.As(err, new(*rivalsError))) {
					return errLater // the batch that meets it again takes it apart
				}
				return err
			}
			if err := r.mark(ctx, claimed); err != nil {
				return err
			}
			if err := r.tell(claimed); err != nil {
				return err
			}
		}
		if len(claimed) == 0 { // nobody has looked whether what was parked still is
			if _, err := r.withParked(ctx, tx, nil); err != nil {
				return err
			}
		}
		if r.someParked {
			return errLater
		}
		return f(tx, late)
	})
}

// late are the changes that wait by now and are not among those that were claimed.
func (r *Replayer) late(ctx context.Context, claimed []change) (late []*seed, err error) {
	if err := r.sync(ctx); err != nil {
		return nil, err
	}
	known := make(map[int64]bool, len(claimed))
	for _, c := range claimed {
		known[c.id] = true
	}
	var waiting []change
	err = pgx.BeginFunc(ctx, r.Blue.Pool(), func(tx pgx.Tx) error {
		limit := len(claimed) + mostRecent
		return alongTheIndex(ctx, tx, func(tx pgx.Tx) error {
			all, err := changes(ctx, tx, claimedSQL+` ORDER BY c.txid LIMIT $1`, limit)
			if err == nil && len(all) == limit {
				return errLater
			}
			waiting = slices.DeleteFunc(all, func(c change) bool { return known[c.id] })
			return err
		})
	})
	if err != nil || len(waiting) == 0 {
		return nil, err
	}
	return r.collapse(waiting)
}
