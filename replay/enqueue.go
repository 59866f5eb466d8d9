package replay

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// rows are changes of one table on their way into the queue.
type rows struct {
	at      []time.Time
	txids   []string
	ops     []string
	columns [][]*string // key and kept columns
}

// keep adds a change. Inserts have no kept columns.
func (r *reader) keep(ctx context.Context, s recorded, op string, row map[string]*string) error {
	if r.tx == nil {
		tx, err := r.store.Begin(ctx)
		if err != nil {
			return err
		}
		r.tx, r.since = tx, time.Now()
	}
	b := r.rows[s.table]
	if b == nil {
		b = &rows{columns: make([][]*string, len(s.key)+len(s.keep))}
		r.rows[s.table] = b
	}
	b.at, b.txids, b.ops = append(b.at, r.at), append(b.txids, strconv.FormatUint(r.xid, 10)), append(b.ops, op)
	for i, name := range slices.Concat(s.key, s.keep) {
		var v *string
		if i < len(s.key) || op != "I" {
			var ok bool
			if v, ok = row[name]; !ok || v == nil && i < len(s.key) {
				return fmt.Errorf("table %q, column %q: %w", s.table, name, errUnreadable)
			}
		}
		b.columns[i] = append(b.columns[i], v)
	}
	r.pending++
	if len(b.ops) >= roomy {
		return r.insert(ctx, s.table)
	}
	return nil
}

// insert writes what has come of a table into the queue. Values go through their types, so that they look as a trigger
// would have written them.
func (r *reader) insert(ctx context.Context, table string) error {
	b, s, rel := r.rows[table], r.sources[table], r.types[table]
	if b == nil || len(b.ops) == 0 {
		return nil
	}
	delete(r.rows, table)
	args := []any{table, b.at, b.txids, b.ops}
	var unnested, names string
	object := func(columns []string, from int) string {
		sql := "pg_catalog.jsonb_build_object("
		for i, name := range columns {
			if i > 0 {
				sql += ", "
			}
			c, _ := rel.column(name)
			sql += literal(name) + ", " + c.text(fmt.Sprintf("c%d::%s", from+i, c.typ))
		}
		return sql + ")"
	}
	for i, column := range b.columns {
		args = append(args, column)
		unnested += fmt.Sprintf(", $%d::text[]", len(args))
		names += fmt.Sprintf(", c%d", i)
	}
	kept := "NULL"
	if len(s.keep) > 0 {
		kept = "CASE WHEN op <> 'I' THEN " + object(s.keep, len(s.key)) + " END"
	}
	sql := `INSERT INTO tideover.change (table_name, at, txid, op, key, kept)
SELECT $1, at, txid::xid8, op, ` + object(s.key, 0) + `, ` + kept + `
FROM unnest($2::timestamptz[], $3::text[], $4::text[]` + unnested + `) WITH ORDINALITY u(at, txid, op` + names + `, n) ORDER BY n`
	_, err := r.tx.Exec(ctx, sql, args...)
	return err
}

// flush stores what has come, up to the last whole transaction, together with its place in the log. Another reader that
// has stored more has taken over.
func (r *reader) flush(ctx context.Context) error {
	if r.pending == 0 || r.inside {
		return nil
	}
	for _, table := range sortedNames(r.rows) {
		if err := r.insert(ctx, table); err != nil {
			return err
		}
	}
	tag, err := r.tx.Exec(ctx, `UPDATE tideover.stream SET position = $1::text::pg_lsn WHERE slot = $2 AND position = $3::text::pg_lsn AND lost IS NULL`,
		r.end.String(), r.slot, r.base.String())
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return errTaken
	}
	if err := r.tx.Commit(ctx); err != nil {
		return err
	}
	r.tx, r.pending, r.base = nil, 0, r.end
	r.reached(r.end)
	return nil
}
