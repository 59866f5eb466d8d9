package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// change is a row of tideover.change. Values of key and kept are text, nil for NULL.
type change struct {
	id    int64
	place string // its ctid
	txid  string
	table string
	op    string // I, U, D, or R for a row put into the queue again
	kind  string // "revoked" or "written"; empty: not judged yet
	key   map[string]any
	kept  map[string]any
}

// args are the parameters of the profile's statements about this change.
func (c *change) args() map[string]any {
	args := make(map[string]any, len(c.key)+len(c.kept)+1)
	for n, v := range c.kept {
		args[n] = v
	}
	for n, v := range c.key {
		args[n] = v
	}
	args["op"] = c.op
	return args
}

// tuple is a key as text, in the order of its columns.
type tuple []string

// id is the tuple as one string, for maps.
func (t tuple) id() string { return strings.Join(t, "\x00") }

// pick is the tuple of some columns of a change; false where one is not recorded or NULL.
func (c *change) pick(columns []string) (tuple, bool) {
	t := make(tuple, len(columns))
	for i, name := range columns {
		v, ok := c.key[name]
		if !ok {
			v = c.kept[name]
		}
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		t[i] = s
	}
	return t, true
}

// describe names the change for people: its table and key.
func describe(table string, columns []string, key tuple) string {
	parts := make([]string, len(key))
	for i, v := range key {
		parts[i] = columns[i] + "=" + v
	}
	return table + " (" + strings.Join(parts, ", ") + ")"
}

// A claim takes the oldest unapplied changes with all others of their transactions: half a transaction would make a
// log-out look like the end of a consent. unappliedSQL is what the queue's index has, but for what is parked; its order is
// txid, what was written before what was deleted, id.
const (
	unappliedSQL = `applied_at IS NULL AND parked_at IS NULL`
	claimedSQL   = `SELECT id, ctid::text, c.txid::text, table_name, op, coalesce(kind, ''), key, kept FROM tideover.change c WHERE ` + unappliedSQL

	// headSQL lists the transactions of the oldest changes, each as often as it has one among them.
	headSQL = `SELECT c.txid::text FROM tideover.change c WHERE ` + unappliedSQL + ` ORDER BY c.txid LIMIT $1`

	claimSQL = claimedSQL + ` AND c.txid = ANY($1::text[]::xid8[]) LIMIT $2`

	// sizesSQL counts the changes of transactions, each up to a limit.
	sizesSQL = `
SELECT n FROM unnest($1::text[]) WITH ORDINALITY t(txid, place), LATERAL (
	SELECT count(*) AS n FROM (SELECT 1 FROM tideover.change c WHERE ` + unappliedSQL + ` AND c.txid = t.txid::xid8 LIMIT $2) counted) sized
ORDER BY place`

	// claimPartSQL takes a part of a transaction. What it deleted comes last, when all that it wrote is over: a consent
	// that lost its login has made the login's flow its own by the time that the login goes.
	claimPartSQL = claimedSQL + ` AND c.txid = $1::text::xid8 ORDER BY (c.op = 'D'), c.id LIMIT $2`
)

// wholeFactor is how many times its size a batch may have to keep transactions whole. A larger one, such as a janitor's
// that deletes a million tokens, comes in parts: it would not fit into memory.
const wholeFactor = 4

// claimParkedSQL reads what is parked.
const claimParkedSQL = `
SELECT id, ctid::text, txid::text, table_name, op, coalesce(kind, ''), key, kept
FROM tideover.change WHERE applied_at IS NULL AND parked_at IS NOT NULL`

// claim reads changes in the snapshot of tx. truncated says that the snapshot has more.
func (r *Replayer) claim(ctx context.Context, tx pgx.Tx, limit int) (found []change, truncated bool, err error) {
	found, head, err := r.oldest(ctx, tx, limit)
	if err != nil || len(found) == 0 {
		return nil, false, err
	}
	if found, err = r.withParked(ctx, tx, found); err != nil {
		return nil, false, err
	}
	if err := r.judges.judge(ctx, tx, found); err != nil {
		return nil, false, err
	}
	slices.SortFunc(found, func(a, b change) int { return int(a.id - b.id) })
	return found, head >= limit, nil
}

// withParked adds to a claim what is parked of the same keys: what was wrong may be mended by now.
func (r *Replayer) withParked(ctx context.Context, tx pgx.Tx, claimed []change) ([]change, error) {
	if !r.someParked {
		return claimed, nil
	}
	written := make(map[string]bool, len(claimed))
	for _, c := range claimed {
		written[r.keyOf(&c)] = true
	}
	r.someParked = false
	err := eachChange(ctx, tx, claimParkedSQL, nil, func(c change) {
		r.someParked = true
		if written[r.keyOf(&c)] {
			claimed = append(claimed, c)
		}
	})
	return claimed, err
}

// keyOf is a change's table and key as one string.
func (r *Replayer) keyOf(c *change) string {
	key, _ := c.pick(r.keys[c.table])
	return c.table + "\x00" + key.id()
}

// oldest reads about limit changes, and how many of them the limit was for.
func (r *Replayer) oldest(ctx context.Context, tx pgx.Tx, limit int) (found []change, of int, err error) {
	var head []string
	err = alongTheIndex(ctx, tx, func(tx pgx.Tx) (err error) {
		if head, err = collect[string](ctx, tx, "read changes", headSQL, limit); err != nil || len(head) == 0 {
			return err
		}
		found, err = claimOf(ctx, tx, slices.Compact(slices.Clone(head)), limit)
		return err
	})
	return found, len(head), err
}

// claimOf reads the changes of transactions, the oldest first: all of them, those of as many transactions as fit in, or a
// part of the first.
func claimOf(ctx context.Context, tx pgx.Tx, transactions []string, limit int) ([]change, error) {
	tooMany := wholeFactor*limit + 1
	found, err := changes(ctx, tx, claimSQL, transactions, tooMany)
	if err != nil || len(found) < tooMany {
		return found, err
	}
	sizes, err := collect[int](ctx, tx, "read changes", sizesSQL, transactions, tooMany)
	if err != nil {
		return nil, err
	}
	whole, total := 0, 0
	for _, n := range sizes {
		if total += n; total >= tooMany {
			break
		}
		whole++
	}
	if whole > 0 {
		found, err = changes(ctx, tx, claimSQL, transactions[:whole], tooMany)
	} else {
		found, err = changes(ctx, tx, claimPartSQL, transactions[0], limit)
	}
	return found, err
}

// alongTheIndex lets f read the queue in the order of its index, however long it is. By itself the planner would take a
// queue without statistics for nearly empty, as what it knows of NULLs tells it, and read and sort all of it for every
// batch. The settings end with a savepoint.
func alongTheIndex(ctx context.Context, tx pgx.Tx, f func(tx pgx.Tx) error) error {
	inner, err := tx.Begin(ctx)
	if err == nil {
		err = without(ctx, inner, "enable_bitmapscan", "enable_seqscan", "jit")
	}
	if err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	if err := f(inner); err != nil {
		return err
	}
	if err := inner.Rollback(ctx); err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	return nil
}

// without turns settings of the planner off for tx.
func without(ctx context.Context, tx pgx.Tx, settings ...string) error {
	_, err := tx.Exec(ctx, `SELECT pg_catalog.set_config(setting, 'off', true) FROM unnest($1::text[]) setting`, settings)
	return err
}

// collect reads a column of values.
func collect[T any](ctx context.Context, db queryer, doing, sql string, args ...any) ([]T, error) {
	rows, _ := db.Query(ctx, sql, args...) // its error comes up in the rows
	found, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return found, nil
}

func changes(ctx context.Context, tx pgx.Tx, sql string, args ...any) (found []change, err error) {
	err = eachChange(ctx, tx, sql, args, func(c change) { found = append(found, c) })
	return found, err
}

// eachChange reads changes. Columns that the query has behind those of a change go into more.
func eachChange(ctx context.Context, tx pgx.Tx, sql string, args []any, take func(change), more ...any) error {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	var c change
	var key, kept []byte
	into := []any{&c.id, &c.place, &c.txid, &c.table, &c.op, &c.kind, &key, &kept}
	_, err = pgx.ForEachRow(rows, append(into, more...), func() error {
		var err error
		if c.key, err = texts(key); err != nil {
			return err
		}
		if c.kept, err = texts(kept); err != nil {
			return err
		}
		take(c)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	return nil
}

// texts reads a JSON object's values as ->> would give them; null is nil.
func texts(object []byte) (map[string]any, error) {
	if object == nil {
		return nil, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(object, &raw); err != nil {
		return nil, err
	}
	values := make(map[string]any, len(raw))
	for name, v := range raw {
		v = bytes.TrimSpace(v)
		switch {
		case bytes.Equal(v, []byte("null")):
			values[name] = nil
		case len(v) > 0 && v[0] == '"':
			var s string
			if err := json.Unmarshal(v, &s); err != nil {
				return nil, err
			}
			values[name] = s
		default: // a number, a boolean, an array or an object
			values[name] = string(v)
		}
	}
	return values, nil
}

func ids(all []change) []int64 {
	out := make([]int64, len(all))
	for i := range all {
		out[i] = all[i].id
	}
	return out
}

// seed is what the changes of one key come down to.
type seed struct {
	table   string
	key     tuple
	changes []*change
	last    *change // the last one that recorded kept columns of a row that was there before
	deleted bool    // a delete, or a repair, is among them: only then may its absence be acted on
}

// collapse puts changes together by table and key, in the order of their first.
func (r *Replayer) collapse(all []change) ([]*seed, error) {
	byKey := make(map[string]*seed)
	var seeds []*seed
	for i := range all {
		c := &all[i]
		columns := r.keys[c.table]
		if columns == nil {
			return nil, fmt.Errorf("a change of table %q is in the queue, which is not in the profile", c.table)
		}
		key, ok := c.pick(columns)
		if !ok {
			return nil, fmt.Errorf("change %d of table %q has another key than the profile", c.id, c.table)
		}
		id := c.table + "\x00" + key.id()
		s := byKey[id]
		if s == nil {
			s = &seed{table: c.table, key: key}
			byKey[id] = s
			seeds = append(seeds, s)
		}
		s.changes = append(s.changes, c)
		switch c.op {
		case "D":
			s.deleted, s.last = true, c
		case "R":
			s.deleted = true
			if s.last == nil {
				s.last = c
			}
		case "U":
			s.last = c
		}
	}
	return seeds, nil
}
