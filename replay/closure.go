package replay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// entities works out the keys of blue's tables and the edges between them: foreign keys from child to parent, and the
// profile's joins.
func (r *Replayer) entities() error {
	r.keys, r.edges, r.loose, r.bound = make(map[string][]string), make(map[string][]edge), nil, nil
	for name, rel := range r.blue {
		if !slices.Contains(r.Profile.Bookkeeping, name) {
			r.keys[name] = rel.primary
		}
	}
	for _, t := range r.Profile.Tables {
		rel := r.blue[t.Name]
		if rel == nil {
			return fmt.Errorf("profile: blue has no table %q", t.Name)
		}
		if len(t.Key) > 0 {
			r.keys[t.Name] = t.Key
		}
		if len(r.keys[t.Name]) == 0 {
			return fmt.Errorf("profile: table %q of blue has no primary key: name key columns in the profile", t.Name)
		}
	}
	for _, rel := range r.blue {
		for _, e := range rel.parents {
			if len(r.keys[e.from]) > 0 && len(r.keys[e.to]) > 0 {
				r.edges[e.from] = append(r.edges[e.from], e)
			}
		}
	}
	for _, f := range r.Profile.Follow {
		e := edge{from: f.From, to: f.To, fromColumns: f.FromColumns, toColumns: f.ToColumns}
		for _, end := range []struct {
			table   string
			columns []string
		}{{e.from, e.fromColumns}, {e.to, e.toColumns}} {
			rel := r.blue[end.table]
			if rel == nil || len(r.keys[end.table]) == 0 {
				return fmt.Errorf("profile: follow: blue has no table %q with a key", end.table)
			}
			for _, c := range end.columns {
				if _, ok := rel.column(c); !ok {
					return fmt.Errorf("profile: follow: table %q of blue has no column %q", end.table, c)
				}
			}
		}
		r.edges[e.from] = append(r.edges[e.from], e)
		if !slices.ContainsFunc(r.blue[e.to].parents, func(p edge) bool { return p.to == e.from }) {
			r.loose = append(r.loose, e)
		}
	}
	return nil
}

// keySet is a set of keys of one table, in the order in which they came.
type keySet struct {
	keys []tuple
	seen map[string]bool
}

func (s *keySet) copied() *keySet { return &keySet{slices.Clone(s.keys), maps.Clone(s.seen)} }

func (s *keySet) has(t tuple) bool { return s != nil && s.seen[t.id()] }

func (s *keySet) add(t tuple) bool {
	if s.seen == nil {
		s.seen = make(map[string]bool)
	}
	if s.seen[t.id()] {
		return false
	}
	s.seen[t.id()] = true
	s.keys = append(s.keys, t)
	return true
}

// closure finds the rows that the seeds need, in the snapshot of tx: those that they touch, and whatever an edge leads to,
// until nothing new is found.
func (r *Replayer) closure(ctx context.Context, tx pgx.Tx, seeds []*seed) (map[string]*keySet, error) {
	found, err := r.touched(ctx, tx, seeds)
	if err != nil {
		return nil, err
	}
	if err := r.accompany(ctx, tx, found); err != nil {
		return nil, err
	}
	fresh := make(map[string][]tuple)
	for table, set := range found {
		if len(set.keys) > 0 {
			fresh[table] = set.keys
		}
	}
	for len(fresh) > 0 {
		round := fresh
		fresh = make(map[string][]tuple)
		for _, table := range sortedNames(round) {
			for _, e := range r.edges[table] {
				keys, err := r.walk(ctx, tx, e, round[table])
				if err != nil {
					return nil, err
				}
				if found[e.to] == nil {
					found[e.to] = &keySet{}
				}
				for _, k := range keys {
					if found[e.to].add(k) {
						fresh[e.to] = append(fresh[e.to], k)
					}
				}
			}
		}
	}
	return found, nil
}

// touched finds the rows that the seeds' changes touch: their own, where they are still there, and what a row was joined
// with before it was changed or deleted, as far as its key and kept columns tell: the login request that a deleted consent
// leaves behind must be migrated again, without it.
func (r *Replayer) touched(ctx context.Context, tx pgx.Tx, seeds []*seed) (map[string]*keySet, error) {
	found := make(map[string]*keySet)
	take := func(table string, keys []tuple) {
		if found[table] == nil {
			found[table] = &keySet{}
		}
		for _, k := range keys {
			found[table].add(k)
		}
	}
	wanted := make(map[string][]tuple)
	for _, s := range seeds {
		wanted[s.table] = append(wanted[s.table], s.key)
	}
	for _, table := range sortedNames(wanted) {
		keys, err := r.lookUp(ctx, tx, table, r.keys[table], wanted[table])
		if err != nil {
			return nil, err
		}
		take(table, keys)
		if keys, err = r.kin(ctx, tx, table, wanted[table]); err != nil {
			return nil, err
		}
		take(table, keys)
	}
	for _, e := range r.loose {
		keys, err := r.lookUp(ctx, tx, e.from, e.fromColumns, appeared(seeds, e))
		if err != nil {
			return nil, err
		}
		take(e.from, keys)
	}
	for table, edges := range r.edges {
		for _, e := range edges {
			var old keySet
			for _, s := range seeds {
				if s.table != table {
					continue
				}
				for _, c := range s.changes {
					if t, ok := c.pick(e.fromColumns); ok && c.op != "I" {
						old.add(t)
					}
				}
			}
			keys, err := r.lookUp(ctx, tx, e.to, e.toColumns, old.keys)
			if err != nil {
				return nil, err
			}
			take(e.to, keys)
		}
	}
	return found, nil
}

// appeared are the rows at the end of a loose edge that may have come or gone. No foreign key takes along what refers to
// them: a token of a client that is deleted stays and has no client, and has one again when the client is registered
// anew. What such rows become may depend on it.
func appeared(seeds []*seed, e edge) []tuple {
	var found keySet
	for _, s := range seeds {
		if s.table != e.to {
			continue
		}
		for _, c := range s.changes {
			if t, ok := c.pick(e.toColumns); ok && c.op != "U" {
				found.add(t)
			}
		}
	}
	return found.keys
}

// lookUp gives the keys of a table's rows whose columns have one of the values.
func (r *Replayer) lookUp(ctx context.Context, tx pgx.Tx, table string, columns []string, values []tuple) ([]tuple, error) {
	if len(values) == 0 {
		return nil, nil
	}
	rel := r.blue[table]
	sql := "SELECT DISTINCT " + r.keyTexts(table, "t") + " FROM " + rel.rows() + " t JOIN " +
		unnest(rel, columns, "k") + " ON " + rel.equal("t", columns, "k", numbered(len(columns)))
	return tuples(ctx, tx, sql, values, len(r.keys[table]))
}

// walk gives the keys that an edge leads to from rows with the given keys.
func (r *Replayer) walk(ctx context.Context, tx pgx.Tx, e edge, from []tuple) ([]tuple, error) {
	rel, to := r.blue[e.from], r.blue[e.to]
	key := r.keys[e.from]
	sql := "SELECT DISTINCT " + r.keyTexts(e.to, "t") + " FROM " + rel.rows() + " f JOIN " +
		unnest(rel, key, "k") + " ON " + rel.equal("f", key, "k", numbered(len(key))) +
		" JOIN " + to.rows() + " t ON " + to.equal("t", e.toColumns, "f", e.fromColumns)
	return tuples(ctx, tx, sql, from, len(r.keys[e.to]))
}

// keyTexts are a table's key columns as text, as the change queue has them.
func (r *Replayer) keyTexts(table, alias string) string {
	return keyTexts(r.blue[table], r.keys[table], alias)
}

func keyTexts(rel *relation, columns []string, alias string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = text(rel, alias, c)
	}
	return strings.Join(parts, ", ")
}

// unnest is a table of the parameters $1, $2, … (one array of text a column) with columns c1, c2, … of the types that
// rel's columns have. Each value is cast by itself: there is no array of arrays of a type.
func unnest(rel *relation, columns []string, alias string) string {
	return typed(rel, columns, textArrays(len(columns)), alias)
}

// placed is unnest with the place of each tuple, from 1, in the column place.
func placed(rel *relation, columns []string, alias string) string {
	return table(rel, columns, textArrays(len(columns)), alias, ", place", " WITH ORDINALITY")
}

func textArrays(n int) []string {
	args := make([]string, n)
	for i := range args {
		args[i] = fmt.Sprintf("$%d::pg_catalog.text[]", i+1)
	}
	return args
}

// typed is a table of arrays of text, with columns of the types that rel's columns have.
func typed(rel *relation, columns, arrays []string, alias string) string {
	return table(rel, columns, arrays, alias, "", "")
}

func table(rel *relation, columns, arrays []string, alias, place, with string) string {
	numbers := numbered(len(columns))
	casts := make([]string, len(columns))
	for i, name := range columns {
		c, _ := rel.column(name)
		casts[i] = fmt.Sprintf("%s::%s AS %[1]s", numbers[i], c.typ)
		if c.via != "" {
			casts[i] = fmt.Sprintf("%s::%s::%s::%s AS %[1]s", numbers[i], c.via, c.declared, c.typ)
		}
	}
	return "(SELECT " + strings.Join(casts, ", ") + place + " FROM ROWS FROM (pg_catalog.unnest(" + strings.Join(arrays, "), pg_catalog.unnest(") + "))" + with +
		" u(" + strings.Join(numbers, ", ") + place + ")) " + alias
}

func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i+1)
	}
	return names
}

// transpose turns tuples into one array a column.
func transpose(values []tuple, columns int) []any {
	arrays := make([]any, columns)
	for i := range arrays {
		a := make([]string, len(values))
		for j, v := range values {
			a[j] = v[i]
		}
		arrays[i] = a
	}
	return arrays
}

func tuples(ctx context.Context, tx pgx.Tx, sql string, values []tuple, width int) ([]tuple, error) {
	var args []any
	if len(values) > 0 {
		args = transpose(values, len(values[0]))
	}
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("find the rows of a delta: %w", err)
	}
	found, err := collectTuples(rows, width)
	if err != nil {
		return nil, fmt.Errorf("find the rows of a delta: %w", err)
	}
	return found, nil
}
