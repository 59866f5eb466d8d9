package cmd

import (
	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
)

// NewDenyCmd is tideover deny.
func NewDenyCmd(std *IO) *cobra.Command {
	var f askFlags
	c := &cobra.Command{
		Use:   "deny [RUNBOOK] STEP",
		Short: "Shut the gate of a step: a run that waits there stops",
		Long: `Deny is the other answer to a gate (approve: true in the runbook). A run that waits there stops safely, and waits there again once it is
resumed. Of one that has not come there yet, an approval given in advance is withdrawn.` + whenRefused(journal.Deny) + askHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			path, rest, err := f.split(std, c, args, 1, "a runbook and a step")
			if err != nil {
				return err
			}
			return f.ask(c.Context(), std, path, journal.AskedData{Verb: journal.Deny, Step: rest[0]})
		},
	}
	f.add(c)
	return c
}
