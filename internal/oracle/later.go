package oracle

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Mark names the present moment on green: transactions that begin later have no smaller number. Kept at the switch, it
// tells what the clients of green have changed since.
func Mark(ctx context.Context, green *postgres.DB) (mark uint64, err error) {
	const sql = `SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::numeric::bigint`
	var n int64
	if err := green.Pool().QueryRow(ctx, sql).Scan(&n); err != nil {
		return 0, fmt.Errorf("mark green's state: %w", err)
	}
	return uint64(n), nil
}

// SetAside takes rows out of a comparison that green itself has changed since mark: they have the right to differ.
// Written rows say so themselves (xmin). Deleted ones are known where green's capture has recorded them. Count goes
// down by what is set aside, which is returned. Only listed differences are looked at.
func (c *Comparison) SetAside(ctx context.Context, actual *pgx.Conn, p *plan.Profile, mark uint64) (int64, error) {
	byTable := map[string][]string{}
	for _, d := range c.Differences {
		if d.Kind != Schema {
			byTable[d.Table] = append(byTable[d.Table], d.Key)
		}
	}
	scopes, err := scopesOf(ctx, p, actual)
	if err != nil {
		return 0, err
	}
	later := map[[2]string]bool{}
	for _, s := range scopes {
		have, err := load(ctx, actual, s)
		if err != nil {
			return 0, fmt.Errorf("compare: actual: %w", err)
		}
		for _, t := range have.tables {
			keys := byTable[s.prefix+t.name]
			if len(keys) == 0 || len(t.key) == 0 { // a table whose rows have no name
				continue
			}
			found, err := t.later(ctx, actual, s, keys, mark)
			if err != nil {
				return 0, fmt.Errorf("compare: table %q: %w", s.prefix+t.name, err)
			}
			for _, key := range found {
				later[[2]string{s.prefix + t.name, key}] = true
			}
		}
	}
	before := c.Count
	c.Ignore(func(d Difference) bool { return d.Kind != Schema && later[[2]string{d.Table, d.Key}] })
	return before - c.Count, nil
}

// later are those of the keys whose rows green has written or deleted since mark.
func (t table) later(ctx context.Context, conn *pgx.Conn, s scope, keys []string, mark uint64) ([]string, error) {
	// A row's xmin is the low half of a transaction's number; age() compares it rightly across a wrap-around.
	sql := fmt.Sprintf(`SELECT k FROM (SELECT pg_catalog.jsonb_build_array(%s)::text AS k, pg_catalog.age(t.xmin) AS age FROM %s) q
WHERE k = ANY($1) AND age <= pg_catalog.age($2::text::xid8::xid)`, t.keys(), t.from(s.schema))
	found, err := strings1(ctx, conn, sql, keys, fmt.Sprint(mark))
	if err != nil {
		return nil, err
	}
	var captured bool
	const exists = `SELECT pg_catalog.to_regclass('tideover.recorded') IS NOT NULL`
	if err := conn.QueryRow(ctx, exists).Scan(&captured); err != nil || !captured {
		return found, err
	}
	const deleted = `SELECT key::text FROM tideover.recorded WHERE table_name = $1 AND op = 'D' AND txid >= $2::text::xid8`
	gone, err := strings1(ctx, conn, deleted, s.prefix+t.name, fmt.Sprint(mark))
	if err != nil {
		return nil, err
	}
	for _, object := range gone {
		key, err := t.arrayOf(object)
		if err != nil {
			return nil, err
		}
		found = append(found, key)
	}
	return found, nil
}

// arrayOf writes the key of a recorded change as the comparison does: jsonb's text of an array of texts.
func (t table) arrayOf(object string) (string, error) {
	var values map[string]any
	if err := json.Unmarshal([]byte(object), &values); err != nil {
		return "", err
	}
	key := "["
	for i, column := range t.key {
		text, ok := values[column].(string)
		if !ok {
			text = fmt.Sprint(values[column])
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			return "", err
		}
		if i > 0 {
			key += ", "
		}
		key += string(quoted)
	}
	return key + "]", nil
}

func strings1(ctx context.Context, conn *pgx.Conn, sql string, args ...any) ([]string, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
