package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/plan"
)

// A row of green that its clients have left alone must go back as what it is on blue: else the migrations have made other values of
// blue's, under names and types that don't show it (amounts in cents that were in euros), and each row that is written on green
// would go back with them. The audit holds both against each other, with the rows that it brings through the migrations anyway;
// the proof does so in miniature before a run. Columns that the profile makes itself are its own affair.

// former are rows of a table of blue as they went into the migrations: their keys, and a sum of each column that goes back as it is.
type former struct {
	keys []tuple
	sums map[string][]*string // by key.id()
}

// compared are the columns of a carrier that are held against blue's: not those of which the profile says that green fills them by itself.
func (r *Replayer) compared(c carrier) (columns []carried) {
	for _, v := range c.Columns {
		if !v.Made && !slices.Contains(r.Profile.Green.Volatile, plan.ColumnRef{Table: c.Home, Column: v.Home}) {
			columns = append(columns, v)
		}
	}
	return columns
}

// sumOf is a sum of a value as it goes back. Two writings of one json are one value.
func (v carried) sumOf(sql string) string {
	if v.JSON {
		sql += "::pg_catalog.jsonb"
	}
	return "pg_catalog.md5(" + sql + "::pg_catalog.text)"
}

// remember reads the rows of a delta that have a way back, as the rules have left them before the migrations.
func (r *Replayer) remember(ctx context.Context, conn *pgx.Conn, d *delta) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := within(ctx, tx, schemaOf(r.Profile)); err != nil {
			return err
		}
		return r.rememberIn(ctx, tx, d)
	})
}

func (r *Replayer) rememberIn(ctx context.Context, tx pgx.Tx, d *delta) error {
	for _, c := range r.trail.Carriers {
		if d.rows[c.Table] == nil {
			continue
		}
		rel := r.blue[c.Table]
		columns := r.compared(c)
		sums := make([]string, len(columns))
		for i, v := range columns {
			sums[i] = v.sumOf("t." + pgx.Identifier{v.Column}.Sanitize())
		}
		sql := "SELECT ARRAY[" + keyTexts(rel, c.Key, "t") + "]::pg_catalog.text[], ARRAY[" + strings.Join(sums, ", ") + "]::pg_catalog.text[] FROM " + rel.rows() + " t"
		rows, err := tx.Query(ctx, sql)
		if err != nil {
			return fmt.Errorf("read the rows of table %q: %w", c.Table, err)
		}
		f := &former{sums: make(map[string][]*string)}
		var key tuple
		var values []*string
		if _, err := pgx.ForEachRow(rows, []any{&key, &values}, func() error {
			f.keys, f.sums[key.id()] = append(f.keys, key), values
			key, values = nil, nil
			return nil
		}); err != nil {
			return fmt.Errorf("read the rows of table %q: %w", c.Table, err)
		}
		d.former[c.Table] = f
	}
	return nil
}

// changed lists rows of green that would go back as others than blue has. What is not there differs already.
func (r *Replayer) changed(ctx context.Context, green pgx.Tx, d *delta) (found []Difference, err error) {
	for _, c := range r.trail.Carriers {
		f := d.former[c.Table]
		columns := r.compared(c)
		if f == nil || len(f.keys) == 0 || len(columns) == 0 {
			continue
		}
		home := r.green[c.Home]
		sums := make([]string, len(columns))
		for i, v := range columns {
			sums[i] = v.sumOf("(" + v.From + ")")
		}
		sql := "SELECT k.place, ARRAY[" + strings.Join(sums, ", ") + "]::pg_catalog.text[] FROM " + home.rows() + " g JOIN " + placed(home, c.There, "k") + " ON " + home.equal("g", c.There, "k", numbered(len(c.There)))
		rows, err := green.Query(ctx, sql, transpose(f.keys, len(c.There))...)
		if err != nil {
			return nil, fmt.Errorf("table %q: %w", c.Home, err)
		}
		var place int64
		var values []*string
		if _, err := pgx.ForEachRow(rows, []any{&place, &values}, func() error {
			key := f.keys[place-1]
			var differing []string
			for i, was := range f.sums[key.id()] {
				if now := values[i]; (was == nil) != (now == nil) || was != nil && *was != *now {
					differing = append(differing, columns[i].Column)
				}
			}
			if len(differing) > 0 && len(found) < mostFound {
				found = append(found, Difference{Kind: RowReturns, Table: c.Table, Key: keyWords(c.Key, pointers(key)), Columns: differing})
			}
			values = nil
			return nil
		}); err != nil {
			return nil, fmt.Errorf("table %q: %w", c.Home, err)
		}
	}
	return found, nil
}

// TryWayBack says which rows of the profile's carry_back would go back to blue as others than they are there, though nobody has written
// them on green. It looks at up to n rows of each of these tables, in one moment with nothing left to apply; where there is, it says
// nothing.
func (r *Replayer) TryWayBack(ctx context.Context, n int) ([]Difference, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.prepare(ctx); err != nil || len(r.trail.Carriers) == 0 {
		return nil, err
	}
	a := &Audit{replayer: r, mixed: make(map[string]bool), coverage: Coverage{Rows: make(map[string]int64)}}
	l, err := a.look(ctx, func(tx pgx.Tx) (seeds []*seed, err error) {
		for _, c := range r.trail.Carriers {
			keys, err := tupleRows(ctx, tx, fmt.Sprintf("SELECT %s FROM %s t LIMIT %d", keyTexts(r.blue[c.Table], c.Key, "t"), r.blue[c.Table].rows(), n), len(c.Key))
			if err != nil {
				return nil, fmt.Errorf("read keys of table %q: %w", c.Table, err)
			}
			for _, k := range keys {
				seeds = append(seeds, &seed{table: c.Table, key: k})
			}
		}
		return seeds, nil
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(l.differences, func(d Difference) bool { return d.Kind != RowReturns }), nil
}
