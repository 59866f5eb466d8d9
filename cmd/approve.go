package cmd

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// NewApproveCmd is tideover approve.
func NewApproveCmd(std *IO) *cobra.Command {
	var id string
	c := &cobra.Command{
		Use:   "approve RUNBOOK STEP",
		Short: "Open the gate of a step that waits for a person",
		Long: `Approve opens the gate of a step (approve: true in the runbook), from any machine that reaches the control database.
It may be given before the run gets there.`,
		Args: exactArgs(2, "a runbook and a step"),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			rb, _, err := loadRunbook(args[0], os.LookupEnv)
			if err != nil {
				return err
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
	return c
}
