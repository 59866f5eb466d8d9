package cmd

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
)

// NewApproveCmd is tideover approve.
func NewApproveCmd(std *IO) *cobra.Command {
	var f targetFlags
	var rule, reason string
	var rows int64
	c := &cobra.Command{
		Use:   "approve [RUNBOOK] {STEP | --rule RULE --rows N}",
		Short: "Open the gate of a step that waits for a person, or let a clean-up rule have its rows",
		Long: `Approve opens the gate of a step (approve: true in the runbook), from any machine that reaches the control database.
It may be given before the run gets there.

With --rule it lets a clean-up rule have up to so many rows, above what the profile expects (expect_at_most). A run
that such a rule has stopped goes on with tideover resume.
` + targetHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			if (rule != "") != (rows > 0) {
				return usageErrorf("approve: --rule and --rows go together")
			}
			n := 1
			if rule != "" {
				n = 0
			}
			path, rest, err := f.split(std, c, args, n, "a runbook, and either a step or --rule and --rows")
			if err != nil {
				return err
			}
			if path != "" && rule != "" { // a rule that there is not needs no run to be wrong
				if _, profile, err := loadRunbook(path, std.Env); err == nil && !hasRule(profile, rule) {
					return usageErrorf("profile %s has no rule %q", profile.Name, rule)
				}
			}
			t, err := f.open(ctx, std, path, true)
			if err != nil {
				return err
			}
			defer t.close()
			if rule != "" && !hasRule(t.profile, rule) {
				return usageErrorf("profile %s has no rule %q", t.profile.Name, rule)
			}
			if rule != "" {
				if err := t.j.ApproveRows(ctx, t.run.ID, rule, rows, person()); err != nil {
					return err
				}
				fmt.Fprintf(std.Err, "rule %s may have %s rows\n", rule, report.Thousands(rows))
				return nil
			}
			return approve(ctx, std, t, rest[0], reason)
		},
	}
	f.add(c)
	c.Flags().StringVar(&reason, "reason", "", "why, for the journal")
	c.Flags().StringVar(&rule, "rule", "", "let this clean-up `RULE` have its rows")
	c.Flags().Int64Var(&rows, "rows", 0, "up to `N` of them")
	return c
}

func approve(ctx context.Context, std *IO, t *target, step, reason string) error {
	state, err := t.state(ctx)
	if err != nil {
		return err
	}
	st, ok := state.Step(step)
	if !ok || !st.Gate {
		return usageErrorf("run %s has no gate before a step %q", t.run.ID, step)
	}
	if st.ApprovedBy != "" || st.Attempts > 0 {
		fmt.Fprintf(std.Err, "the gate of %s was opened before, by %s\n", step, report.Plain(st.ApprovedBy))
		return nil
	}
	if err := t.j.Approve(ctx, t.run.ID, step, person(), hostName(), reason); err != nil {
		return err
	}
	fmt.Fprintf(std.Err, "the gate of %s is open\n", step)
	return nil
}

func hasRule(p *plan.Profile, rule string) bool {
	return slices.ContainsFunc(p.Rules, func(r plan.Rule) bool { return r.Name == rule })
}
