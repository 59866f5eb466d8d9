package cmd

import (
	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
)

// NewThrottleCmd is tideover throttle.
func NewThrottleCmd(std *IO) *cobra.Command {
	var f askFlags
	var d journal.AskedData
	c := &cobra.Command{
		Use:   "throttle [RUNBOOK] {--max-rate N | --max-changes N}",
		Short: "Slow the copy or the replay of a run down while it goes on",
		Long: `Throttle has the copy take at most so many MB/s from blue, and the replay bring at most so many changes a second, from now on and until
it is said otherwise; 0 takes the limit away. The runbook's own limits go on counting. Migrations are not slowed down.` +
			whenRefused(journal.Throttle) + askHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("max-rate") && !c.Flags().Changed("max-changes") || d.MaxRate < 0 || d.MaxChanges < 0 {
				return usageErrorf("throttle: needs --max-rate or --max-changes, 0 or more")
			}
			path, _, err := f.split(std, c, args, 0, "one runbook")
			if err != nil {
				return err
			}
			d.Verb = journal.Throttle
			f.fill = func(d *journal.AskedData, s *journal.State) { // the one that is not named stays
				if !c.Flags().Changed("max-rate") {
					d.MaxRate = s.Limits.MaxRate
				}
				if !c.Flags().Changed("max-changes") {
					d.MaxChanges = s.Limits.MaxChanges
				}
			}
			return f.ask(c.Context(), std, path, d)
		},
	}
	f.add(c)
	c.Flags().Int64Var(&d.MaxRate, "max-rate", 0, "the copy's `MB/s` at most")
	c.Flags().Int64Var(&d.MaxChanges, "max-changes", 0, "the replay's `changes` a second at most")
	return c
}
