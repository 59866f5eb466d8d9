// Package cleanup runs a profile's rules on data: it repairs rows in place, and moves to quarantine what nothing can
// save. The same rules run on the bulk copy and on every delta, so that both end alike.
//
// Each rule is one transaction: it is in force as a whole or not at all, and running it again finds nothing to do.
// A rule has a number of rows that its author expects at most. Above it the rule stops before it changes anything,
// because it then meets data that nobody thought of, and a person decides.
//
// A quarantined row takes along the rows that ON DELETE CASCADE would have deleted with it: they go to quarantine too,
// under the same rule, so that nothing is lost without a trace. Rows whose reference goes NULL (ON DELETE SET NULL) stay where
// they are; Restore does not link them again.
//
// No error or result of this package names the content of a row. Keys are named in quarantine only.
package cleanup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Options change how rules run. The zero value is for the bulk copy on green.
type Options struct {
	Schemas  plan.Schemas     // of the profile; none: public
	Approved map[string]int64 // rule → rows that a person has approved, where that is more than the rule expects
	// Collect is for scratch databases: quarantined rows come back in Result.Moved rather than into the scratch's own
	// tideover.quarantine. The caller puts them into green's by Store, in the transaction that applies the delta.
	Collect bool
	// Timeout is how long one statement may take; 0: as long as it wants, whatever the role's own timeout is.
	Timeout time.Duration
}

// Result is what one rule did.
type Result struct {
	Rule        string `json:"rule"`
	Rows        int64  `json:"rows"` // offending rows found, and repaired or moved
	Quarantined bool   `json:"quarantined"`
	Repair      bool   `json:"repair"`
	Cascaded    int64  `json:"cascaded,omitempty"` // rows of other tables that went to quarantine with them
	Left        int64  `json:"left,omitempty"`     // rows that still offend after their repair: the rule is wrong
	Moved       []Row  `json:"-"`                  // with Options.Collect only
}

// TooMany says that a rule met more rows than its author expected. Nothing was changed by the rule.
type TooMany struct {
	Rule               string
	Rows, ExpectAtMost int64
}

func (e *TooMany) Error() string {
	return fmt.Sprintf("rule %q: %d rows, at most %d are expected", e.Rule, e.Rows, e.ExpectAtMost)
}

// Hint says how to approve them.
func (e *TooMany) Hint() string {
	return fmt.Sprintf("look at the rows; if the rule may have them: \"tideover approve RUNBOOK --rule %s --rows %d\" (before a run: approve_rows: {%s: %d} in the clean-up step)", e.Rule, e.Rows, e.Rule, e.Rows)
}

// Runner runs rules in their order.
type Runner struct {
	rules   []plan.Rule
	options Options
}

// New makes a runner.
func New(rules []plan.Rule, options Options) *Runner {
	if len(options.Schemas) == 0 {
		options.Schemas = plan.Schemas{"public"}
	}
	return &Runner{rules: rules, options: options}
}

// Apply runs the rules of a phase ("before" or "after" the migrations) on conn, which must be in no transaction. On an
// error it returns the results of the rules that are done.
func (r *Runner) Apply(ctx context.Context, conn *pgx.Conn, phase string) ([]Result, error) {
	var results []Result
	if err := r.provide(ctx, conn, r.phase(phase)); err != nil {
		return nil, err
	}
	for _, rule := range r.phase(phase) {
		result, err := r.apply(ctx, conn, rule)
		if err != nil {
			return results, err
		}
		results = append(results, result)
	}
	return results, nil
}

// Count says how many rows each rule of a phase would have, and changes nothing. A rule without a where counts 0.
func (r *Runner) Count(ctx context.Context, conn *pgx.Conn, phase string) ([]Result, error) {
	var results []Result
	if err := r.provide(ctx, conn, r.phase(phase)); err != nil {
		return nil, err
	}
	for _, rule := range r.phase(phase) {
		result := Result{Rule: rule.Name, Quarantined: rule.Quarantine, Repair: rule.Repair}
		err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
			if err := r.use(ctx, tx); err != nil {
				return err
			}
			result.Rows, err = r.offending(ctx, tx, rule)
			return err
		})
		if err != nil {
			return results, fmt.Errorf("rule %q: count its rows: %w", rule.Name, err)
		}
		results = append(results, result)
	}
	return results, nil
}

func (r *Runner) phase(phase string) []plan.Rule {
	var rules []plan.Rule
	for _, rule := range r.rules {
		if rule.Phase == phase {
			rules = append(rules, rule)
		}
	}
	return rules
}

func (r *Runner) apply(ctx context.Context, conn *pgx.Conn, rule plan.Rule) (Result, error) {
	result := Result{Rule: rule.Name, Quarantined: rule.Quarantine, Repair: rule.Repair}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
		if err := r.use(ctx, tx); err != nil {
			return err
		}
		if result.Rows, err = r.offending(ctx, tx, rule); err != nil {
			return err
		}
		if err := r.allow(rule, result.Rows); err != nil {
			return err
		}
		if rule.Quarantine {
			return r.quarantine(ctx, tx, rule, &result)
		}
		if rule.Where != "" && result.Rows == 0 {
			return nil // nothing is named
		}
		healthy, err := r.observe(ctx, tx, rule, result.Rows)
		if err != nil {
			return err
		}
		if err := r.fix(ctx, tx, rule, &result); err != nil {
			return err
		}
		return r.kept(ctx, tx, healthy)
	})
	if err != nil {
		if errors.As(err, new(*TooMany)) {
			return result, err
		}
		return result, fmt.Errorf("rule %q: %w", rule.Name, err)
	}
	return result, nil
}

func (r *Runner) fix(ctx context.Context, tx pgx.Tx, rule plan.Rule, result *Result) error {
	var changed int64
	for i, sql := range rule.Fix {
		tag, err := tx.Exec(ctx, sql)
		if err != nil {
			return fmt.Errorf("statement %d: %w", i+1, err)
		}
		changed += tag.RowsAffected()
	}
	if rule.Where == "" {
		result.Rows = changed
		return r.allow(rule, changed)
	}
	var err error
	result.Left, err = r.offending(ctx, tx, rule)
	return err
}

// use makes the rules' unqualified names mean the server's tables, and lets no timeout but its own cut a long rule.
func (r *Runner) use(ctx context.Context, tx pgx.Tx) error {
	if err := postgres.UseSchema(ctx, tx, "the rules' database", r.options.Schemas[0]); err != nil {
		return err
	}
	timeout := strconv.FormatInt(r.options.Timeout.Milliseconds(), 10)
	if _, err := tx.Exec(ctx, `SELECT pg_catalog.set_config('statement_timeout', $1, true)`, timeout); err != nil {
		return fmt.Errorf("set the timeout: %w", err)
	}
	return nil
}

func (r *Runner) offending(ctx context.Context, tx pgx.Tx, rule plan.Rule) (n int64, err error) {
	if rule.Where == "" {
		if rule.Quarantine {
			return 0, fmt.Errorf("it quarantines and has no where: it would take the whole table")
		}
		return 0, nil
	}
	sql := fmt.Sprintf("SELECT count(*) FROM %s t WHERE %s", r.table(rule.Table).Sanitize(), where(rule))
	return n, tx.QueryRow(ctx, sql).Scan(&n)
}

func (r *Runner) allow(rule plan.Rule, rows int64) error {
	if rule.ExpectAtMost == nil || rows <= max(*rule.ExpectAtMost, r.options.Approved[rule.Name]) {
		return nil
	}
	return &TooMany{Rule: rule.Name, Rows: rows, ExpectAtMost: *rule.ExpectAtMost}
}

func (r *Runner) table(called string) pgx.Identifier { return place(r.options.Schemas, called) }

func place(schemas plan.Schemas, called string) pgx.Identifier {
	schema, name := schemas.Place(called)
	return pgx.Identifier{schema, name}
}

// where is the rule's condition in brackets. The line break ends a comment at its end.
func where(rule plan.Rule) string { return "(" + strings.TrimSpace(rule.Where) + "\n)" }
