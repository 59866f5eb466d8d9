package replay

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// CopySample copies up to n rows of each captured table of blue, each with the rows that the migrations join it with, into a
// database of blue's empty schema, and says how many rows of each captured table are there then. Blue is read in one
// snapshot and not changed.
func CopySample(ctx context.Context, blue *postgres.DB, p *plan.Profile, into *pgx.Conn, n int) (map[string]int, error) {
	r := &Replayer{Config: Config{Blue: blue, Profile: p}}
	var err error
	if r.blue, err = catalog(ctx, blue.Pool(), schemasOf(p)); err != nil {
		return nil, fmt.Errorf("blue: %w", err)
	}
	if err := r.entities(); err != nil {
		return nil, err
	}
	taken := make(map[string]int)
	err = snapshotOf(ctx, blue, schemaOf(p), func(tx pgx.Tx) error {
		var seeds []*seed
		for _, t := range p.Tables {
			if !t.Captured() {
				continue
			}
			keys, err := r.sampleKeys(ctx, tx, t.Name, n)
			if err != nil {
				return err
			}
			for _, k := range keys {
				seeds = append(seeds, &seed{table: t.Name, key: k})
			}
		}
		rows, err := r.closure(ctx, tx, seeds)
		if err != nil {
			return err
		}
		for _, t := range p.Tables {
			if set := rows[t.Name]; t.Captured() && set != nil {
				taken[t.Name] = len(set.keys)
			} else if t.Captured() {
				taken[t.Name] = 0
			}
		}
		return r.load(ctx, tx, into, rows)
	})
	return taken, err
}

// fewRows is up to how many rows, as the catalog knows, a table is sampled by reading all of it.
const fewRows = 10_000

// sampleKeys gives keys of up to n rows of a table: random ones of a small table, else those of some random pages.
func (r *Replayer) sampleKeys(ctx context.Context, tx pgx.Tx, table string, n int) ([]tuple, error) {
	rel := r.blue[table]
	var rows float64
	if err := tx.QueryRow(ctx, `SELECT reltuples FROM pg_catalog.pg_class WHERE oid = $1::pg_catalog.regclass`, rel.ident()).Scan(&rows); err != nil {
		return nil, fmt.Errorf("sample table %q: %w", table, err)
	}
	keys := r.keyTexts(table, "t")
	sql := fmt.Sprintf("SELECT %s FROM %s t ORDER BY pg_catalog.random() LIMIT %d", keys, rel.ident(), n)
	if rows > fewRows {
		// A page has some rows; twenty times as many as are wanted, so that few empty pages leave none out.
		sql = fmt.Sprintf("SELECT %s FROM %s t TABLESAMPLE SYSTEM (%g) LIMIT %d", keys, rel.ident(), min(100, max(0.0001, 2000*float64(n)/rows)), n)
	}
	found, err := tupleRows(ctx, tx, sql, len(r.keys[table]))
	if err != nil {
		return nil, fmt.Errorf("sample table %q: %w", table, err)
	}
	return found, nil
}

// tupleRows reads the keys that a query gives.
func tupleRows(ctx context.Context, tx pgx.Tx, sql string, width int) ([]tuple, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return collectTuples(rows, width)
}

func collectTuples(rows pgx.Rows, width int) ([]tuple, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (tuple, error) {
		t := make(tuple, width)
		into := make([]any, width)
		for i := range t {
			into[i] = &t[i]
		}
		return t, row.Scan(into...)
	})
}
