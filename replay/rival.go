package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// A staged row takes the place of a row of green with another key and the same unique value: its entity has another identity since.
// But it may be that the other row of blue is as it was, and only the migrations make the two alike. Migrated together they fail,
// or become something else, as they would offline. So such a row comes along, in a second attempt.

// rivalsError names rows of blue that are to come along.
type rivalsError struct{ keys map[string][]tuple }

func (e *rivalsError) Error() string { return "rows of blue stand in the way of others" }

// alongside is [Replayer.reading], repeated with the rows that are found to stand in the way.
func (r *Replayer) alongside(ctx context.Context, f func(tx pgx.Tx) error) error {
	defer func() { r.company = nil }()
	for {
		err := r.reading(ctx, f)
		var found *rivalsError
		if !errors.As(err, &found) {
			return err
		}
		if r.company == nil {
			r.company = make(map[string][]tuple)
		}
		for table, keys := range found.keys {
			r.company[table] = append(r.company[table], keys...)
		}
	}
}

// accompany adds them to the rows of a delta, as far as they are still there.
func (r *Replayer) accompany(ctx context.Context, tx pgx.Tx, found map[string]*keySet) error {
	for _, table := range sortedNames(r.company) {
		keys, err := r.lookUp(ctx, tx, table, r.keys[table], r.company[table])
		if err != nil {
			return err
		}
		if found[table] == nil {
			found[table] = &keySet{}
		}
		for _, k := range keys {
			found[table].add(k)
		}
	}
	return nil
}

// oust deletes rows of green that keep a staged row out by a unique value. It is a [*rivalsError] where blue still has what they were
// made of, and the delta has not.
func (r *Replayer) oust(ctx context.Context, tx pgx.Tx, s *stage, u unique, d *delta) error {
	type place struct {
		table string
		home
	}
	var places []place
	var returning []string
	width := 0
	for _, table := range sortedNames(r.keys) {
		for _, h := range r.places(table) {
			if h.table == s.name {
				places = append(places, place{table, h})
				returning = append(returning, keyTexts(s.relation, h.key, "t"))
				width += len(h.key)
			}
		}
	}
	sql := s.conflict(u)
	if len(places) == 0 {
		_, err := tx.Exec(ctx, sql)
		return err
	}
	sql += " RETURNING "
	for i, text := range returning {
		if i > 0 {
			sql += ", "
		}
		sql += text
	}
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return err
	}
	gone, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]*string, error) {
		values := make([]*string, width)
		into := make([]any, width)
		for i := range values {
			into[i] = &values[i]
		}
		return values, row.Scan(into...)
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	wanted := make(map[string][]tuple)
	at := 0
	for _, p := range places {
		for _, values := range gone {
			if key, ok := whole(values[at : at+len(p.key)]); ok && !d.rows[p.table].has(key) {
				wanted[p.table] = append(wanted[p.table], key)
			}
		}
		at += len(p.key)
	}
	return r.stillThere(ctx, wanted, d)
}

// whole is a key of which no part is NULL.
func whole(values []*string) (tuple, bool) {
	key := make(tuple, len(values))
	for i, v := range values {
		if v == nil {
			return nil, false
		}
		key[i] = *v
	}
	return key, true
}

// stillThere is a [*rivalsError] with those of the keys that blue has now and the delta has not. Green may write a key otherwise, such as
// one that was of another type.
func (r *Replayer) stillThere(ctx context.Context, wanted map[string][]tuple, d *delta) error {
	if len(wanted) == 0 {
		return nil
	}
	found := make(map[string][]tuple)
	err := snapshotOf(ctx, r.Blue, schemaOf(r.Profile), func(tx pgx.Tx) error { // a connection of its own: ours may be in a transaction
		for _, table := range sortedNames(wanted) {
			keys, err := r.lookUp(ctx, tx, table, r.keys[table], wanted[table])
			if err != nil {
				return err
			}
			if keys = slices.DeleteFunc(keys, d.rows[table].has); len(keys) > 0 {
				found[table] = keys
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look whether blue still has what stands in the way: %w", err)
	}
	if len(found) > 0 {
		return &rivalsError{found}
	}
	return nil
}
