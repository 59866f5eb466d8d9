package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// orphanError is what Postgres would say of a foreign key (23503), had it looked.
type orphanError struct {
	table, parent, foreignKey string
	blue                      bool // it is so on blue
}

func (e *orphanError) Error() string {
	if e.blue {
		return fmt.Sprintf("table %q of blue has rows that foreign key %q keeps, and the row of table %q that they refer to is gone: it went while the key was off (session_replication_role, DISABLE TRIGGER)", e.table, e.foreignKey, e.parent)
	}
	return fmt.Sprintf("table %q has rows that foreign key %q keeps, and table %q has another value than they refer to", e.table, e.foreignKey, e.parent)
}

// bereft looks whether rows of blue refer to one that a delta takes away. Blue's foreign keys were off when it went. On green they
// would be on, and change rows that are as they were on blue: whoever did that on blue has to say what becomes of them.
func (r *Replayer) bereft(ctx context.Context, tx pgx.Tx, seeds []*seed) error {
	for _, name := range sortedNames(r.blue) {
		for _, e := range r.blue[name].parents {
			if !e.enforced || !r.held(e) {
				continue
			}
			byKey := !slices.ContainsFunc(e.toColumns, func(c string) bool { return !slices.Contains(r.keys[e.to], c) }) // then no update changes them
			var before keySet
			for _, s := range seeds {
				if s.table != e.to {
					continue
				}
				for _, c := range s.changes {
					if t, ok := c.pick(e.toColumns); ok && (c.op == "D" || c.op == "U" && !byKey) {
						before.add(t)
					}
				}
			}
			if len(before.keys) == 0 {
				continue
			}
			from, to := r.blue[e.from], r.blue[e.to]
			columns := numbered(len(e.toColumns))
			sql := "SELECT EXISTS (SELECT 1 FROM " + unnest(to, e.toColumns, "k") + " WHERE NOT EXISTS (SELECT 1 FROM " + to.rows() + " t WHERE " + to.equal("t", e.toColumns, "k", columns) +
				") AND EXISTS (SELECT 1 FROM " + from.rows() + " f WHERE " + from.equal("f", e.fromColumns, "k", columns) + "))"
			var some bool
			if err := tx.QueryRow(ctx, sql, transpose(before.keys, len(e.toColumns))...).Scan(&some); err != nil {
				return fmt.Errorf("look for what refers to rows that are gone from table %q: %w", e.to, err)
			}
			if some {
				return &orphanError{table: e.from, parent: e.to, foreignKey: e.foreignKey, blue: true}
			}
		}
	}
	return nil
}

// held says whether green has a foreign key, too, where a foreign key of blue has come to.
func (r *Replayer) held(e edge) bool {
	child, ok := r.homes[e.from]
	parent, there := r.homes[e.to]
	return ok && there && r.green[child.table] != nil && slices.ContainsFunc(r.green[child.table].parents, func(g edge) bool { return g.to == parent.table && g.enforced })
}

// referred are the columns of a table that foreign keys refer to.
func referred(all map[string]*relation, table string) (columns []string) {
	for _, rel := range all {
		for _, e := range rel.parents {
			if e.to == table {
				columns = append(columns, e.toColumns...)
			}
		}
	}
	slices.Sort(columns)
	return slices.Compact(columns)
}
