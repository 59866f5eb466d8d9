package cmd

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
)

// NewApproveCmd is tideover approve.
func NewApproveCmd(std *IO) *cobra.Command {
	var id, rule string
	var rows int64
	c := &cobra.Command{
		Use:   "approve RUNBOOK {STEP | --rule RULE --rows N}",
		Short: "Open the gate of a step that waits for a person, or let a clean-up rule have its rows",
		Long: `Approve opens the gate of a step (approve: true in the runbook), from any machine that reaches the control database.
It may be given before the run gets there.

With --rule it lets a clean-up rule have up to so many rows, above what the profile expects (expect_at_most). A run
that such a rule has stopped goes on with tideover resume.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			if len(args) < 1 || len(args) > 2 || (len(args) == 2) == (rule != "") || (rule != "") != (rows > 0) {
				return usageErrorf("approve: needs a runbook, and either a step or --rule and --rows")
			}
			rb, profile, err := loadRunbook(args[0], std.Env)
			if err != nil {
				return err
			}
			if rule != "" && !slices.ContainsFunc(profile.Rules, func(r plan.Rule) bool { return r.Name == rule }) {
				return usageErrorf("profile %s has no rule %q", profile.Name, rule)
			}
			db, j, err := openJournal(ctx, rb)
			if err != nil {
				return err
			}
			defer db.Close()
			run, err := findRun(ctx, j, rb, id)
			if err != nil {
				return err
			}
			if rule != "" {
				if err := j.ApproveRows(ctx, run.ID, rule, rows, person()); err != nil {
					return err
				}
				fmt.Fprintf(std.Err, "rule %s may have %s rows\n", rule, report.Thousands(rows))
				return nil
			}
			state, err := stateOf(ctx, j, run.ID)
			if err != nil {
				return err
			}
			st, ok := state.Step(args[1])
			if !ok || !st.Gate {
				return usageErrorf("run %s has no gate before a step %q", run.ID, args[1])
			}
			if err := j.Approve(ctx, run.ID, args[1], person()); err != nil {
				return err
			}
			fmt.Fprintf(std.Err, "the gate of %s is open\n", args[1])
			return nil
		},
	}
	c.Flags().StringVar(&id, "run", "", "the run's id (default: the newest run of the runbook)")
	c.Flags().StringVar(&rule, "rule", "", "let this clean-up `RULE` have its rows")
	c.Flags().Int64Var(&rows, "rows", 0, "up to `N` of them")
	return c
}
