package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// gone is what a delta says that blue has not any more: rows whose delete was claimed and that are not there. A row that
// is gone but whose delete is not among the claimed changes is left to the batch that has it, with all that happened in
// its transaction.
type gone struct {
	keys       map[string][]tuple // by table of blue, of those whose rows have a home on green
	statements []*seed            // of those that became something else
}

func (r *Replayer) gone(d *delta) gone {
	g := gone{keys: make(map[string][]tuple)}
	for _, s := range d.seeds {
		if !s.deleted || d.rows[s.table].has(s.key) {
			continue
		}
		if r.onDelete(s.table) != "" {
			g.statements = append(g.statements, s)
		} else if _, ok := r.homes[s.table]; ok || len(r.derived[s.table]) > 0 {
			g.keys[s.table] = append(g.keys[s.table], s.key)
		}
	}
	return g
}

// yield deletes rows that are gone and would keep a staged row out by a unique value. It is done before such rows are
// replaced: what refers to them goes along only now.
func (r *Replayer) yield(ctx context.Context, tx pgx.Tx, s *stage, gone map[string][]tuple) (total int64, err error) {
	for _, table := range r.livingIn(s.name) {
		key, keys := r.homes[table].key, gone[table]
		if len(keys) == 0 {
			continue
		}
		for _, u := range s.rivals() {
			sql := s.conflict(u) + " AND EXISTS (SELECT 1 FROM " + unnest(s.relation, key, "k") + " WHERE " + s.equal("t", key, "k", numbered(len(key))) + ")"
			tag, err := tx.Exec(ctx, sql, transpose(keys, len(key))...)
			if err != nil {
				return total, fmt.Errorf("delete from green: table %q: %w", s.name, err)
			}
			total += tag.RowsAffected()
		}
	}
	return total, nil
}

// livingIn are the tables of blue whose rows live in a table of green.
func (r *Replayer) livingIn(green string) []string {
	var found []string
	for _, table := range sortedNames(r.homes) {
		if r.homes[table].table == green {
			found = append(found, table)
		}
	}
	return found
}

// remove deletes from green what is gone, and rows that went into the delta and that no rule let through.
func (r *Replayer) remove(ctx context.Context, tx pgx.Tx, stages []*stage, d *delta, gone map[string][]tuple) (int64, error) {
	var total int64
	children := parentsFirst(r.green)
	slices.Reverse(children)
	for _, rel := range children {
		for _, table := range r.livingIn(rel.name) {
			keys := gone[table]
			if set := d.rows[table]; set != nil {
				keys = slices.Concat(set.keys, keys)
			}
			if len(keys) == 0 {
				continue
			}
			n, err := r.removeKeys(ctx, tx, table, keys, stages)
			if err != nil {
				return total, err
			}
			total += n
		}
		for _, table := range sortedNames(r.derived) {
			keys := gone[table]
			if set := d.rows[table]; set != nil {
				keys = slices.Concat(set.keys, keys)
			}
			for _, h := range r.derived[table] {
				if h.table != rel.name || len(keys) == 0 {
					continue
				}
				n, err := r.removeDerived(ctx, tx, h, keys, stages)
				if err != nil {
					return total, err
				}
				total += n
			}
		}
	}
	return total, nil
}

// removeDerived deletes rows that were made of rows of blue and that these don't make any more.
func (r *Replayer) removeDerived(ctx context.Context, tx pgx.Tx, h home, keys []tuple, stages []*stage) (int64, error) {
	using, where := r.undone(h, stages)
	tag, err := tx.Exec(ctx, "DELETE FROM "+r.green[h.table].rows()+" t USING "+using+" WHERE "+where, transpose(keys, len(h.key))...)
	if err != nil {
		return 0, fmt.Errorf("delete from green: table %q: %w", h.table, err)
	}
	return tag.RowsAffected(), nil
}

// undone finds rows of green, as t, that were made of rows of blue with the keys that using has, and are not in the stage.
func (r *Replayer) undone(h home, stages []*stage) (using, where string) {
	rel := r.green[h.table]
	using, where = unnest(rel, h.key, "k"), rel.equal("t", h.key, "k", numbered(len(h.key)))
	for _, s := range stages {
		if s.name == rel.name {
			where += " AND NOT EXISTS (SELECT 1 FROM " + s.temp + " n WHERE " + rel.equal("n", s.match, "t", s.match) + ")"
		}
	}
	return using, where
}

func (r *Replayer) onDelete(table string) string {
	if t := r.Profile.Table(table); t != nil {
		return t.OnDelete
	}
	return ""
}

// without says that a row of green, as t, which has a key of blue's, is not in the stage. Told apart are rows by green's own identity: where
// the migrations give a table another primary key, the row of before an update is there beside the new one, with the same key of blue's.
func (s *stage) without(key []string) string {
	by := s.match
	if len(by) == 0 || s.groups || slices.ContainsFunc(by, func(name string) bool { c, _ := s.column(name); return !c.notNull }) {
		by = key
	}
	return "NOT EXISTS (SELECT 1 FROM " + s.temp + " n WHERE " + s.equal("n", by, "t", by) + ")"
}

// removeKeys deletes the rows of a table of blue where they live on green; where that table is staged, those alone that are
// not in its stage.
func (r *Replayer) removeKeys(ctx context.Context, tx pgx.Tx, table string, keys []tuple, stages []*stage) (int64, error) {
	h := r.homes[table]
	rel := r.green[h.table]
	sql := "DELETE FROM " + rel.rows() + " t USING " + unnest(rel, h.key, "k") + " WHERE " + rel.equal("t", h.key, "k", numbered(len(h.key)))
	for _, s := range stages {
		if s.name == rel.name {
			sql += " AND " + s.without(h.key)
		}
	}
	tag, err := tx.Exec(ctx, sql, transpose(keys, len(h.key))...)
	if err != nil {
		return 0, fmt.Errorf("delete from green: table %q: %w", rel.name, err)
	}
	return tag.RowsAffected(), nil
}

// removeByStatement runs the profile's on_delete for tables that became something else.
func (r *Replayer) removeByStatement(ctx context.Context, tx pgx.Tx, seeds []*seed) (total int64, err error) {
	batch := &pgx.Batch{}
	for _, s := range seeds {
		args := s.last.args()
		for _, c := range r.Profile.Table(s.table).Keep { // a row put into the queue again has none
			if _, ok := args[c]; !ok {
				args[c] = nil
			}
		}
		sql, values, err := postgres.Named(r.onDelete(s.table), args)
		if err != nil {
			return 0, fmt.Errorf("profile: table %q: on_delete: %w", s.table, err)
		}
		batch.Queue(sql, values...)
	}
	results := tx.SendBatch(ctx, batch)
	for _, s := range seeds {
		tag, err := results.Exec()
		if err != nil {
			results.Close()
			return total, fmt.Errorf("delete from green: %s: %w", describe(s.table, r.keys[s.table], s.key), err)
		}
		total += tag.RowsAffected()
	}
	if err := results.Close(); err != nil {
		return total, fmt.Errorf("delete from green: %w", err)
	}
	return total, nil
}

// quarantineKey is a key as the quarantine has it: jsonb's text of an array.
func quarantineKey(key tuple) string {
	parts := make([]string, len(key))
	for i, v := range key {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v) // a string always can
		parts[i] = strings.TrimSpace(b.String())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
