package cmd

import (
	"github.com/spf13/cobra"
)

// version is set by the linker (Makefile).
var version = "devel"

const rootLong = `Tideover upgrades a live OAuth server and its Postgres database with no downtime and nothing lost.

It takes a runbook (YAML) through capture, snapshot, clean-up, migration, replay, validation and a coordinated
cutover from the old side (blue) to the new one (green). A run survives any crash: resume goes on, rollback goes back.

Start with:
  tideover demo                 # the whole upgrade on throw-away Postgres, under traffic, judged
  tideover playground           # the same by hand, in a browser, with an app to log in to
  tideover init > upgrade.yaml  # a runbook of your own
  tideover plan upgrade.yaml    # what would be done, and what can't be guaranteed

EXIT STATUS
  0 done  1 failed  2 usage  3 held by another process  4 stopped safely before the point of no return
  5 blue and green differ  130 interrupted`

// NewRootCmd is the whole command line.
func NewRootCmd(std *IO) *cobra.Command {
	root := &cobra.Command{
		Use:           "tideover",
		Short:         "Upgrade a live OAuth server and its Postgres with nothing lost",
		Long:          rootLong,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		NewDemoCmd(std),
		NewPlaygroundCmd(std),
		NewPlanCmd(std),
		NewInitCmd(std),
		NewGrantsCmd(std),
		NewRunCmd(std),
		NewCutoverCmd(std),
		NewStatusCmd(std),
		NewWatchCmd(std),
		NewRunsCmd(std),
		NewHistoryCmd(std),
		NewVerifyCmd(std),
		NewCleanupCmd(std),
		NewQuarantineCmd(std),
		NewResumeCmd(std),
		NewRollbackCmd(std),
		NewApproveCmd(std),
		NewDenyCmd(std),
		NewPauseCmd(std),
		NewContinueCmd(std),
		NewThrottleCmd(std),
		NewAbortCmd(std),
		NewRehearseCmd(std),
		NewServerCmd(std),
		NewConsoleCmd(std),
		NewRouterCmd(std),
		NewSQLCmd(std),
		NewProfileCmd(std),
	)
	return root
}

// exactArgs is cobra.ExactArgs with our exit code.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageErrorf("%s: needs %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}

// someArgs wants at least one word.
func someArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageErrorf("%s: needs %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}
