package replay

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// What becomes of blue's rows is done all at once where blue takes it, and else by halves, until it is known what it does not take.

// deed is what becomes of one row of blue.
type deed struct {
	of    *returning
	place int64 // in the table of rows that go back; 0: the row is gone
	key   tuple // of blue's table, as text
	// The row is not the one that blue has under its key, where it has any.
	another bool
	err     error // why blue can't hold it
}

func (d *deed) String() string { return describe(d.of.Table, d.of.Key, d.key) }

// settleDeeds makes blue's rows what green's are. All go at once, where blue takes them; where it does not, those that it takes do, and the
// others are returned.
func settleDeeds(ctx context.Context, tx pgx.Tx, h *heirs, tables []*returning, deeds []*deed) (a Applied, failed []*deed, err error) {
	var never []*deed
	if len(deeds) > many {
		refused, err := tryDeeds(ctx, tx, h, tables, deeds, &a, false)
		if err != nil || refused == nil {
			return a, nil, err
		}
		if deeds, never, err = hopeless(ctx, tx, h, tables, deeds); err != nil {
			return a, nil, err
		}
	}
	left, err := attemptDeeds(ctx, tx, h, tables, deeds, &a, false)
	for before := len(deeds); err == nil && len(left) > 0 && len(left) < before; {
		before = len(left)
		left, err = attemptDeeds(ctx, tx, h, tables, left, &a, false)
	}
	if err != nil {
		return a, nil, err
	}
	var anew []*deed
	left = slices.DeleteFunc(left, func(d *deed) bool {
		if d.writtenAnew() {
			anew = append(anew, d)
			return true
		}
		return false
	})
	if anew, err = attemptDeeds(ctx, tx, h, tables, anew, &a, true); err != nil {
		return a, nil, err
	}
	return a, slices.Concat(never, left, anew), nil
}

// writtenAnew says whether a row that blue does not take may fit where it is deleted first: it has a value that another such row leaves,
// or a number that can be inserted and not updated.
func (d *deed) writtenAnew() bool {
	if d.place == 0 {
		return false
	}
	if errors.As(d.err, new(*notHeldError)) {
		return slices.ContainsFunc(d.of.rel.columns, func(c column) bool { return c.identity })
	}
	code := postgres.Code(d.err)
	return code == pgerrcode.UniqueViolation || code == pgerrcode.ExclusionViolation
}

// attemptDeeds does all of them, or halves until it is known which can't be done. The rest is returned.
func attemptDeeds(ctx context.Context, tx pgx.Tx, h *heirs, tables []*returning, deeds []*deed, a *Applied, anew bool) (left []*deed, err error) {
	if len(deeds) == 0 {
		return nil, nil
	}
	refused, err := tryDeeds(ctx, tx, h, tables, deeds, a, anew)
	if err != nil || refused == nil {
		return nil, err
	}
	if len(deeds) == 1 {
		deeds[0].err = refused
		return deeds, nil
	}
	half := len(deeds) / 2
	for _, part := range [][]*deed{deeds[:half], deeds[half:]} {
		some, err := attemptDeeds(ctx, tx, h, tables, part, a, anew)
		if err != nil {
			return nil, err
		}
		left = append(left, some...)
	}
	return left, nil
}

// tryDeeds does all of them, or says why blue refuses them.
func tryDeeds(ctx context.Context, tx pgx.Tx, h *heirs, tables []*returning, deeds []*deed, a *Applied, anew bool) (refused, err error) {
	var did Applied
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { // a savepoint
		did, err = do(ctx, tx, h, tables, deeds, anew)
		return err
	})
	if poisonous(err) || errors.As(err, new(*notHeldError)) || errors.As(err, new(*heirError)) {
		return err, nil
	}
	if err == nil {
		a.add(did)
	}
	return nil, err
}

// do deletes what is gone, children first, and writes what is there, parents first. Where something that green has hangs on what is gone, it
// goes last: what is written may hang on other rows by then. Rows that refer to each other in a ring do so at the end. With anew, rows that
// blue has are deleted first.
func do(ctx context.Context, tx pgx.Tx, h *heirs, tables []*returning, deeds []*deed, anew bool) (a Applied, err error) {
	if _, err := tx.Exec(ctx, `SET CONSTRAINTS ALL DEFERRED`); err != nil {
		return a, err
	}
	gone := make(map[string]*keySet)
	for _, d := range deeds {
		if d.place == 0 {
			if gone[d.of.Table] == nil {
				gone[d.of.Table] = &keySet{}
			}
			gone[d.of.Table].add(d.key)
		}
	}
	remove := func(t *returning) error {
		keys := gone[t.Table].keys
		if err := h.none(ctx, tx, t.rel, t.Key, keys, map[string]*keySet{t.Table: gone[t.Table].copied()}); err != nil {
			return err
		}
		n := len(t.Key)
		tag, err := tx.Exec(ctx, "DELETE FROM "+t.rel.rows()+" t USING "+unnest(t.rel, t.Key, "k")+" WHERE "+t.rel.equal("t", t.Key, "k", numbered(n)), transpose(keys, n)...)
		if err != nil {
			return err
		}
		a.Deleted += tag.RowsAffected()
		return nil
	}
	written, others := make(map[string][]int64), make(map[string][]int64)
	for _, d := range deeds {
		if d.place > 0 {
			written[d.of.Table] = append(written[d.of.Table], d.place)
		}
		if d.another {
			others[d.of.Table] = append(others[d.of.Table], d.place)
		}
	}
	for i, t := range tables {
		if ring := t.ring(tables[i+1:], func(table string) bool { return gone[table] != nil }); gone[t.Table] != nil && len(ring) > 0 {
			if err := t.letGo(ctx, tx, ring, gone[t.Table].keys); err != nil {
				return a, err
			}
		}
	}
	var last []*returning
	for _, t := range slices.Backward(tables) {
		if gone[t.Table] == nil {
			continue
		}
		if err := remove(t); errors.As(err, new(*heirError)) {
			last = append(last, t)
		} else if err != nil {
			return a, err
		}
	}
	rings := make(map[string][]string)
	for i, t := range tables {
		places := written[t.Table]
		if len(places) == 0 {
			continue
		}
		if err := t.blank(ctx, tx, others[t.Table]); err != nil {
			return a, err
		}
		if anew {
			if err := t.anew(ctx, tx, h, places); err != nil {
				return a, err
			}
		}
		rings[t.Table] = t.ring(tables[i+1:], func(table string) bool { return len(written[table]) > 0 })
		n, err := t.put(ctx, tx, places, rings[t.Table])
		if err != nil {
			return a, err
		}
		a.Upserted += n
	}
	for _, t := range tables {
		if len(rings[t.Table]) > 0 {
			if err := t.close(ctx, tx, written[t.Table], rings[t.Table]); err != nil {
				return a, err
			}
		}
	}
	for _, t := range last {
		if err := remove(t); err != nil {
			return a, err
		}
	}
	_, err = tx.Exec(ctx, `SET CONSTRAINTS ALL IMMEDIATE`)
	return a, err
}
