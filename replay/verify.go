package replay

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
)

// Verification compares what was revoked on one side with what the other refuses. Each number counts revocations, not
// changes.
type Verification struct {
	Captured int64 // on the serving side, and in force there
	Replayed int64 // of these, applied to the other side
	Verified int64 // of these, refused there; above Config.Sample those that were not asked count as the others
	// Differences are revocations that are not in force on the other side, and changes that are parked or unapplied.
	// Empty means that nothing is missing.
	Differences []string
}

const revokedSQL = `
SELECT id, txid::text, table_name, op, kind, key, kept, 0::bigint
FROM tideover.change WHERE kind = 'revoked' ORDER BY id`

// Verify asks whether every revocation that was captured on blue is in force on green, and whether anything is left in
// the queue.
func (r *Replayer) Verify(ctx context.Context) (v Verification, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err = r.reading(ctx, func(tx pgx.Tx) error {
		if v.Differences, err = leftovers(ctx, tx); err != nil {
			return err
		}
		all, err := revoked(ctx, tx)
		if err != nil {
			return err
		}
		found, err := inForceOf(ctx, tx, revocationsOf(r.Profile, Blue, all.changes), all.pending,
			func(rev *revocation) string { return rev.spec.Blue.Living })
		if err != nil {
			return fmt.Errorf("blue: %w", err)
		}
		return r.onGreen(ctx, func(green pgx.Tx) error {
			return v.compare(ctx, green, found, r.Sample, func(rev *revocation) string { return rev.spec.Green.Living })
		})
	})
	return v, err
}

// queue are a side's revoked changes; pending those that are not applied.
type queue struct {
	changes []change
	pending map[int64]bool
}

func revoked(ctx context.Context, tx pgx.Tx) (queue, error) {
	q := queue{pending: make(map[int64]bool)}
	all, _, err := changes(ctx, tx, revokedSQL)
	if err != nil {
		return q, err
	}
	q.changes = all
	rows, err := tx.Query(ctx, `SELECT id FROM tideover.change WHERE applied_at IS NULL AND kind = 'revoked'`)
	if err != nil {
		return q, fmt.Errorf("read the queue: %w", err)
	}
	waiting, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return q, fmt.Errorf("read the queue: %w", err)
	}
	for _, id := range waiting {
		q.pending[id] = true
	}
	return q, nil
}

// inForceOf leaves out revocations that their own side does not enforce any more.
func inForceOf(ctx context.Context, tx pgx.Tx, all []*revocation, pending map[int64]bool, sql func(*revocation) string) ([]*revocation, error) {
	living, err := count(ctx, tx, all, sql)
	if err != nil {
		return nil, err
	}
	var found []*revocation
	for i, rev := range all {
		if living[i] > 0 {
			continue
		}
		for _, id := range rev.changes {
			rev.pending = rev.pending || pending[id]
		}
		found = append(found, rev)
	}
	return found, nil
}

// leftovers names what is still in the queue.
func leftovers(ctx context.Context, tx pgx.Tx) ([]string, error) {
	const sql = `
SELECT table_name || ' ' || key::text || CASE WHEN min(error) IS NULL THEN ': not replayed yet' ELSE ': parked: ' || min(error) END
FROM tideover.change WHERE applied_at IS NULL GROUP BY table_name, key ORDER BY min(id) LIMIT 1000`
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("read the queue: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read the queue: %w", err)
	}
	return found, nil
}

// compare asks the other side about revocations: all, or the newest half of sample and as many of the others.
func (v *Verification) compare(ctx context.Context, tx pgx.Tx, all []*revocation, sample int, sql func(*revocation) string) error {
	asked := all
	if sample > 0 && len(all) > sample {
		newest := len(all) - sample/2
		asked = append([]*revocation(nil), all[newest:]...)
		for _, i := range rand.Perm(newest)[:sample-len(asked)] {
			asked = append(asked, all[i])
		}
	}
	living, err := count(ctx, tx, asked, sql)
	if err != nil {
		return fmt.Errorf("the other side: %w", err)
	}
	bad := make(map[*revocation]bool)
	for i, rev := range asked {
		if living[i] > 0 {
			bad[rev] = true
			v.Differences = append(v.Differences, fmt.Sprintf("%s (%s): %d still accepted", rev.spec.Kind, rev.name, living[i]))
		}
	}
	for _, rev := range all {
		v.Captured++
		if rev.pending {
			continue
		}
		v.Replayed++
		if !bad[rev] {
			v.Verified++
		}
	}
	return nil
}
