package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// maxPoison is how many offenders a batch may have: beyond it the data is not the reason.
const maxPoison = 100

// poison is a key whose rows make a batch fail.
type poison struct {
	seed *seed
	err  error
}

// isolate finds, by halves and trials that are taken back, the keys that make a batch fail, and parks their changes
// with the error. The rest goes on in the next batch.
//
// Deletes of the same transactions are parked too: without the change that they came with, they would mean something
// else. A log-out without its consent would end the consent.
func (r *Replayer) isolate(ctx context.Context, limit int, cause error) (Applied, error) {
	// If nothing at all goes wrong as well, it is not the data.
	if err := r.trial(ctx, nil); err != nil {
		return Applied{}, cause
	}
	var claimed []change
	err := r.reading(ctx, func(tx pgx.Tx) (err error) {
		claimed, _, err = r.claim(ctx, tx, limit)
		return err
	})
	if err != nil {
		return Applied{}, err
	}
	seeds, err := r.collapse(claimed)
	if err != nil {
		return Applied{}, err
	}
	offenders, err := r.search(ctx, seeds)
	if err != nil {
		return Applied{}, err
	}
	if len(offenders) == 0 {
		return Applied{}, fmt.Errorf("no change alone is the reason: %w", cause)
	}
	var a Applied
	parked := make(map[int64]string)
	torn := make(map[string]string)
	for _, o := range offenders {
		name := describe(o.seed.table, r.keys[o.seed.table], o.seed.key)
		a.Parked = append(a.Parked, name+": "+o.err.Error())
		for _, c := range o.seed.changes {
			parked[c.id] = o.err.Error()
			torn[c.txid] = name
		}
	}
	r.someParked = true
	if err := r.park(ctx, parked); err != nil {
		return a, err
	}
	return a, r.parkTorn(ctx, torn)
}

// search gives the offenders among seeds that fail together.
func (r *Replayer) search(ctx context.Context, seeds []*seed) ([]poison, error) {
	err := r.trial(ctx, seeds)
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil || !poisonous(err):
		return nil, err
	case len(seeds) == 1:
		return []poison{{seeds[0], err}}, nil
	}
	half := len(seeds) / 2
	found, e := r.search(ctx, seeds[:half])
	if e != nil {
		return nil, e
	}
	more, e := r.search(ctx, seeds[half:])
	if e != nil {
		return nil, e
	}
	found = append(found, more...)
	if len(found) == 0 { // they fail only together
		for _, s := range seeds {
			found = append(found, poison{s, err})
		}
	}
	if len(found) > maxPoison {
		return nil, fmt.Errorf("more than %d keys of a batch can't be replayed: %w", maxPoison, err)
	}
	return found, nil
}

// trial applies the changes of some keys and takes it all back. A foreign key of green that misses what another part of
// the claim brings is no offence.
func (r *Replayer) trial(ctx context.Context, seeds []*seed) error {
	var some []change
	for _, s := range seeds {
		for _, c := range s.changes {
			some = append(some, *c)
		}
	}
	slices.SortFunc(some, func(a, b change) int { return int(a.id - b.id) })
	if len(some) == 0 {
		return r.trialOfNothing(ctx)
	}
	return r.alongside(ctx, func(tx pgx.Tx) error {
		_, err := r.apply(ctx, tx, some, false)
		if isMergeForeignKey(err) {
			return nil
		}
		return err
	})
}

// trialOfNothing takes an empty delta through rules and migrations.
func (r *Replayer) trialOfNothing(ctx context.Context) error {
	dsn, conn, err := r.openScratch(ctx)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	return r.migrate(ctx, conn, dsn, &delta{})
}

func (r *Replayer) park(ctx context.Context, errs map[int64]string) error {
	var which []int64
	var texts []string
	for id, text := range errs {
		which = append(which, id)
		texts = append(texts, text)
	}
	const sql = `
UPDATE tideover.change c SET parked_at = clock_timestamp(), error = p.error
FROM unnest($1::bigint[], $2::text[]) p(id, error) WHERE c.id = p.id AND c.applied_at IS NULL`
	if _, err := r.Blue.Pool().Exec(ctx, sql, which, texts); err != nil {
		return fmt.Errorf("park changes: %w", err)
	}
	return nil
}

// parkTorn parks the deletes of transactions that did not come whole: the claim may have had but a part of a large one.
func (r *Replayer) parkTorn(ctx context.Context, torn map[string]string) error {
	var txids, errs []string
	for txid, with := range torn {
		txids, errs = append(txids, txid), append(errs, "came in one transaction with "+with)
	}
	const sql = `
UPDATE tideover.change c SET parked_at = clock_timestamp(), error = p.error
FROM unnest($1::text[], $2::text[]) p(txid, error)
WHERE c.txid = p.txid::xid8 AND c.op = 'D' AND c.applied_at IS NULL AND c.parked_at IS NULL`
	if _, err := r.Blue.Pool().Exec(ctx, sql, txids, errs); err != nil {
		return fmt.Errorf("park changes: %w", err)
	}
	return nil
}

// unpark puts what is parked back into the queue and gives the highest number of it, 0 where nothing was.
func (r *Replayer) unpark(ctx context.Context) (newest int64, err error) {
	const sql = `
WITH back AS (
	UPDATE tideover.change SET parked_at = NULL, error = NULL WHERE parked_at IS NOT NULL AND applied_at IS NULL RETURNING id
)
SELECT coalesce(max(id), 0) FROM back`
	if err := r.Blue.Pool().QueryRow(ctx, sql).Scan(&newest); err != nil {
		return 0, fmt.Errorf("take parked changes up again: %w", err)
	}
	return newest, nil
}

// parked lists the changes that are parked now.
func (r *Replayer) parked(ctx context.Context) ([]string, error) {
	const sql = `SELECT table_name || ' ' || key::text || ': ' || min(error) FROM tideover.change
WHERE parked_at IS NOT NULL AND applied_at IS NULL GROUP BY table_name, key ORDER BY min(id) LIMIT 1000`
	return collect[string](ctx, r.Blue.Pool(), "list the parked changes", sql)
}
