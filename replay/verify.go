package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Verification compares what was revoked on one side with what the other refuses.
type Verification struct {
	Tally
	Kinds map[string]Tally // by the profile's kinds
	// Asked is how many revocations the other side was asked about: all, or of a very large number a sample, which
	// is the newest half and some of the others. Those that were not asked count as the others do.
	Asked int64
	// Differences are revocations that are not in force on the other side, and changes that are parked or unapplied.
	// Empty means that nothing is missing. Waiting are those of them that replay has still to bring: while the side
	// serves there are always some.
	Differences, Waiting []string
}

// Tally counts revocations. They are told apart by what was revoked: a chain that dies with two tokens is one.
// Where there are more than can be held in memory, their changes are counted.
type Tally struct {
	Captured int64 `json:"captured"` // on the serving side, and in force there
	Replayed int64 `json:"replayed"` // of these, applied to the other side
	Verified int64 `json:"refused"`  // of these, refused there
}

func (t *Tally) add(o Tally) {
	t.Captured += o.Captured
	t.Replayed += o.Replayed
	t.Verified += o.Verified
}

// Verify asks whether every revocation that was captured on blue is in force on green, and whether anything is left in
// the queue.
func (r *Replayer) Verify(ctx context.Context) (v Verification, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Verify(ctx, r.Blue, r.Green, r.Profile, r.Sample)
}

// Verify is Replayer.Verify for somebody who only looks: it takes no lock, so that replay may go on meanwhile. The error
// is [ErrNoCapture] where blue's changes are not recorded. sample 0 is 5000.
func Verify(ctx context.Context, blue, green *postgres.DB, p *plan.Profile, sample int) (Verification, error) {
	there, err := NewCapture(blue, p, plan.Blue).there(ctx)
	if err == nil && !there {
		err = fmt.Errorf("read the queue of %s: %w", blue.Name(), ErrNoCapture)
	}
	if err != nil {
		return Verification{}, err
	}
	return verify(ctx, blue, green, p, plan.Blue, sample)
}

// verify holds one side's queue against the other side.
func verify(ctx context.Context, from, to *postgres.DB, p *plan.Profile, side plan.Side, sample int) (v Verification, err error) {
	if sample == 0 {
		sample = defaultSample
	}
	here := func(rev *revocation) string { return rev.spec.Blue.Living }
	there := func(rev *revocation) string { return rev.spec.Green.Living }
	if side == plan.Green {
		here, there = there, here
	}
	if err := NewCapture(from, p, side).Sync(ctx); err != nil {
		return v, err
	}
	err = snapshotOf(ctx, from, schemaOf(p), func(tx pgx.Tx) error {
		if err := v.leftovers(ctx, tx); err != nil {
			return err
		}
		q, err := readRevoked(ctx, tx, sample)
		if err != nil {
			return err
		}
		if err := q.judge(ctx, tx, from, p, side, sample); err != nil {
			return err
		}
		all, err := inForceOf(ctx, tx, revocationsOf(p, side, q.changes), q.pending, here)
		if err != nil {
			return fmt.Errorf("%s: %w", from.Name(), err)
		}
		return snapshotOf(ctx, to, schemaOf(p), func(other pgx.Tx) error {
			bad, err := v.ask(ctx, other, all, sample, there)
			if err != nil {
				return fmt.Errorf("%s: %w", to.Name(), err)
			}
			v.count(all, bad, q)
			return nil
		})
	})
	return v, err
}

const defaultSample = 5000

// inMemory is how many times the sample's size the revoked changes may be to be read as they are.
const inMemory = 10

// queue are a side's revoked changes.
type queue struct {
	changes []change
	pending map[int64]bool // those that are not applied
	others  int64          // changes beside these, where only a part was read
	waiting int64          // of the others, those that are not applied
}

const (
	countRevokedSQL = `SELECT count(*), count(*) FILTER (WHERE applied_at IS NULL) FROM tideover.change WHERE kind = 'revoked'`
	revokedSQL      = `
SELECT id, ctid::text, txid::text, table_name, op, kind, key, kept, applied_at IS NULL
FROM tideover.change WHERE kind = 'revoked' ORDER BY id`
	someRevokedSQL = `
SELECT * FROM (
	SELECT id, ctid::text, txid::text, table_name, op, kind, key, kept, applied_at IS NULL
	FROM tideover.change WHERE kind = 'revoked' AND random() < $2 LIMIT $1) others
UNION
SELECT * FROM (
	SELECT id, ctid::text, txid::text, table_name, op, kind, key, kept, applied_at IS NULL
	FROM tideover.change WHERE kind = 'revoked' ORDER BY id DESC LIMIT $1 / 2) newest
ORDER BY 1`
)

// readRevoked reads a side's revoked changes, or a part of very many.
func readRevoked(ctx context.Context, tx pgx.Tx, sample int) (queue, error) {
	q := queue{pending: make(map[int64]bool)}
	var total int64
	if err := tx.QueryRow(ctx, countRevokedSQL).Scan(&total, &q.waiting); err != nil {
		return q, fmt.Errorf("count the revocations: %w", err)
	}
	sql, args := revokedSQL, []any(nil)
	if total > int64(inMemory*sample) {
		// An even chance for each: a limit alone would take the oldest.
		sql, args = someRevokedSQL, []any{sample, float64(sample) / 2 / float64(total)}
	}
	var pending bool
	err := eachChange(ctx, tx, sql, args, func(c change) {
		q.changes = append(q.changes, c)
		if pending {
			q.pending[c.id] = true
		}
	}, &pending)
	q.others = total - int64(len(q.changes))
	q.waiting -= int64(len(q.pending))
	return q, err
}

// judge adds the revocations among changes that no claim has judged yet.
func (q *queue) judge(ctx context.Context, tx pgx.Tx, db *postgres.DB, p *plan.Profile, side plan.Side, sample int) error {
	all, err := catalog(ctx, tx, schemasOf(p))
	if err != nil {
		return fmt.Errorf("%s: %w", db.Name(), err)
	}
	found, err := NewCapture(db, p, side).sources(all)
	if err != nil {
		return err
	}
	judges, err := judgesOf(all, found)
	if err != nil {
		return err
	}
	const sql = `
SELECT id, ctid::text, c.txid::text, table_name, op, '', key, kept
FROM tideover.change c WHERE applied_at IS NULL AND kind IS NULL AND op <> 'I' AND table_name = ANY($2) ORDER BY c.txid, c.id LIMIT $1`
	waiting, err := changes(ctx, tx, sql, inMemory*sample, sortedNames(judges))
	if err != nil {
		return err
	}
	if err := judges.judge(ctx, tx, waiting); err != nil {
		return err
	}
	for _, c := range waiting {
		if c.kind == "revoked" {
			q.changes = append(q.changes, c)
			q.pending[c.id] = true
		}
	}
	return nil
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
func (v *Verification) leftovers(ctx context.Context, tx pgx.Tx) error {
	const sql = `
SELECT table_name || ' ' || key::text, min(error)
FROM tideover.change WHERE applied_at IS NULL GROUP BY table_name, key ORDER BY min(id) LIMIT 1000`
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	var name string
	var failed *string
	_, err = pgx.ForEachRow(rows, []any{&name, &failed}, func() error {
		if failed != nil {
			v.Differences = append(v.Differences, name+": parked: "+*failed)
			return nil
		}
		v.wait(name + ": not replayed yet")
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	return nil
}

func (v *Verification) wait(difference string) {
	v.Differences = append(v.Differences, difference)
	v.Waiting = append(v.Waiting, difference)
}

// ask asks the other side about revocations: all, or the newest half of sample and as many of the others.
func (v *Verification) ask(ctx context.Context, tx pgx.Tx, all []*revocation, sample int, sql func(*revocation) string) (map[*revocation]bool, error) {
	asked := all
	if len(all) > sample {
		newest := len(all) - sample/2
		asked = append([]*revocation(nil), all[newest:]...)
		for _, i := range rand.Perm(newest)[:sample-len(asked)] {
			asked = append(asked, all[i])
		}
	}
	v.Asked = int64(len(asked))
	living, err := count(ctx, tx, asked, sql)
	if err != nil {
		return nil, err
	}
	bad := make(map[*revocation]bool)
	for i, rev := range asked {
		if living[i] > 0 {
			bad[rev] = true
			difference := fmt.Sprintf("%s (%s): %d still accepted", rev.spec.Kind, rev.name, living[i])
			if rev.pending {
				v.wait(difference)
			} else {
				v.Differences = append(v.Differences, difference)
			}
		}
	}
	return bad, nil
}

// count fills in the figures.
func (v *Verification) count(all []*revocation, bad map[*revocation]bool, q queue) {
	v.Kinds = make(map[string]Tally)
	for _, rev := range all {
		one := Tally{Captured: 1}
		if !rev.pending {
			one.Replayed = 1
			if !bad[rev] {
				one.Verified = 1
			}
		}
		kind := v.Kinds[rev.spec.Kind]
		kind.add(one)
		v.Kinds[rev.spec.Kind] = kind
		v.add(one)
	}
	v.add(Tally{Captured: q.others, Replayed: q.others - q.waiting, Verified: q.others - q.waiting})
}

// ErrNoCapture says that a side's changes are not recorded.
var ErrNoCapture = errors.New("the capture is not installed")
