package cleanup

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Preview is what a rule would do.
type Preview struct {
	Result
	ExpectAtMost *int64   `json:"expect_at_most,omitempty"`
	TooMany      bool     `json:"too_many"` // it would stop for a person
	Table        string   `json:"table"`
	Keys         []string `json:"keys,omitempty"` // of some of its rows, as in Row
}

// Preview counts the rows that each rule of a phase would have and names the keys of some of them. It changes nothing, and
// goes by what is there now: what a rule leaves to the next it does not know.
func (r *Runner) Preview(ctx context.Context, conn *pgx.Conn, phase string, sample int) ([]Preview, error) {
	counted, err := r.Count(ctx, conn, phase)
	if err != nil {
		return nil, err
	}
	var all []Preview
	for i, rule := range r.phase(phase) {
		p := Preview{Result: counted[i], ExpectAtMost: rule.ExpectAtMost, Table: rule.Table, TooMany: r.allow(rule, counted[i].Rows) != nil}
		if p.Rows > 0 && sample > 0 {
			err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
				if err := r.use(ctx, tx); err != nil {
					return err
				}
				table := r.table(rule.Table).Sanitize()
				var rel uint32
				if err := tx.QueryRow(ctx, `SELECT $1::text::pg_catalog.regclass::oid`, table).Scan(&rel); err != nil {
					return err
				}
				key, _, err := expressions(ctx, tx, rel)
				if err != nil {
					return err
				}
				rows, err := tx.Query(ctx, fmt.Sprintf("SELECT %s FROM %s t WHERE %s LIMIT %d", key, table, where(rule), sample))
				if err != nil {
					return err
				}
				p.Keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
			if err != nil {
				return all, fmt.Errorf("rule %q: name some of its rows: %w", rule.Name, err)
			}
		}
		all = append(all, p)
	}
	return all, nil
}
