package cleanup

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/plan"
)

// healthy are the rows of a rule's table that its where does not match: its fix must leave them as they are.
type healthy struct {
	rule      plan.Rule
	table     string // as SQL
	rows      int64
	elsewhere map[string]int64 // rows of other tables that were changed before
	named     string           // what to select the places of the offending rows from
	spots     []any            // its arguments
}

// StrayError says that a rule's fix has changed rows that its where does not match. Its transaction is rolled back.
type StrayError struct {
	Table string
	Rows  int64
}

func (e *StrayError) Error() string {
	return fmt.Sprintf("its fix changed %d rows of table %q that its where does not match: a rule changes only what it names", e.Rows, e.Table)
}

// Hint says what to do.
func (e *StrayError) Hint() string {
	return "give the statements of fix the same condition as where, or a where that matches all that they change"
}

// few is how many offending rows are noted here rather than in a temporary table: a delta has few, and many deltas come.
const few = 1000

// observe notes where the offending rows of a rule lie, and how many others there are. A rule without a where names nothing, and
// what is no table has no rows of its own.
func (r *Runner) observe(ctx context.Context, tx pgx.Tx, rule plan.Rule, offending int64) (*healthy, error) {
	if rule.Where == "" {
		return nil, nil
	}
	h := &healthy{rule: rule, table: r.table(rule.Table).Sanitize(), named: "pg_temp.tideover_named"}
	var isTable bool
	if err := tx.QueryRow(ctx, `SELECT relkind IN ('r', 'p') FROM pg_catalog.pg_class WHERE oid = $1::text::pg_catalog.regclass`, h.table).Scan(&isTable); err != nil || !isTable {
		return nil, err
	}
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+h.table).Scan(&h.rows); err != nil {
		return nil, fmt.Errorf("count the rows of its table: %w", err)
	}
	h.rows -= offending
	var err error
	if h.elsewhere, err = r.changed(ctx, tx, h.table); err != nil {
		return nil, err
	}
	named := fmt.Sprintf("SELECT t.tableoid AS place, t.ctid AS spot FROM %s t WHERE %s", h.table, where(rule))
	if offending > few {
		_, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE tideover_named ON COMMIT DROP AS "+named)
		return h, err
	}
	h.named = "ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.tid[])) AS named (place, spot)"
	var places []uint32
	var spots []string
	err = tx.QueryRow(ctx, "SELECT coalesce(pg_catalog.array_agg(place), '{}'), coalesce(pg_catalog.array_agg(spot::pg_catalog.text), '{}') FROM ("+named+") n").Scan(&places, &spots)
	h.spots = []any{places, spots}
	return h, err
}

// changedSQL counts the rows of other tables than $1 and its partitions that the session has updated or deleted since it last
// reported to the statistics, which is never within a transaction. New rows are allowed there: a repair may need a parent.
const changedSQL = `
SELECT schemaname || '.' || relname, n_tup_upd OPERATOR(pg_catalog.+) n_tup_del FROM pg_catalog.pg_stat_xact_user_tables
WHERE n_tup_upd OPERATOR(pg_catalog.+) n_tup_del OPERATOR(pg_catalog.>) 0 AND relid OPERATOR(pg_catalog.<>) $1::text::pg_catalog.regclass
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_tree($1::text::pg_catalog.regclass) p WHERE p.relid OPERATOR(pg_catalog.=) pg_stat_xact_user_tables.relid)`

func (r *Runner) changed(ctx context.Context, tx pgx.Tx, but string) (map[string]int64, error) {
	rows, err := tx.Query(ctx, changedSQL, but)
	if err != nil {
		return nil, fmt.Errorf("look for other tables that it changes: %w", err)
	}
	counts := map[string]int64{}
	var table string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&table, &n}, func() error { counts[table] = n; return nil })
	return counts, err
}

// kept looks whether the healthy rows are still there. A row that a transaction has written, or one of its subtransactions, has
// an xmin that is no older than the transaction. The rule's database is written by nobody else.
func (r *Runner) kept(ctx context.Context, tx pgx.Tx, h *healthy) error {
	if h == nil {
		return nil
	}
	sql := fmt.Sprintf(`SELECT count(*) FROM %s t WHERE pg_catalog.age(t.xmin) OPERATOR(pg_catalog.>) pg_catalog.age(pg_catalog.pg_current_xact_id()::pg_catalog.xid)
		AND (t.tableoid, t.ctid) NOT IN (SELECT place, spot FROM %s)`, h.table, h.named)
	var left int64
	if err := tx.QueryRow(ctx, sql, h.spots...).Scan(&left); err != nil {
		return fmt.Errorf("look for the rows that it does not name: %w", err)
	}
	if left != h.rows {
		return &StrayError{Table: h.rule.Table, Rows: h.rows - left}
	}
	changed, err := r.changed(ctx, tx, h.table)
	if err != nil {
		return err
	}
	for _, table := range slices.Sorted(maps.Keys(changed)) {
		if n := changed[table] - h.elsewhere[table]; n > 0 {
			return &StrayError{Table: table, Rows: n}
		}
	}
	if h.spots != nil {
		return nil
	}
	_, err = tx.Exec(ctx, "DROP TABLE "+h.named)
	return err
}
