package cmd

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/report"
)

// NewStatusCmd is tideover status.
func NewStatusCmd(std *IO) *cobra.Command {
	var f runFlags
	var watch bool
	c := &cobra.Command{
		Use:   "status RUNBOOK",
		Short: "Say where a run stands, what is safe, and what to type next",
		Long: `Status reads the journal and changes nothing: where the run stands, who holds it, what is safe, and what to type
next. With --json it prints the whole state; with --watch it follows the events until the run ends.`,
		Args: exactArgs(1, "one runbook"),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			rb, _, err := loadRunbook(args[0], std.Env)
			if err != nil {
				return err
			}
			db, j, err := openJournal(ctx, rb)
			if err != nil {
				return err
			}
			defer db.Close()
			run, err := findRun(ctx, j, rb, f.run)
			if err != nil {
				return err
			}
			if watch {
				return follow(ctx, std, f, j, run)
			}
			state, err := stateOf(ctx, j, run.ID)
			if err != nil {
				return err
			}
			if f.json {
				return json.NewEncoder(std.Out).Encode(state)
			}
			var held *journal.Holder
			if run.Held {
				held = &run.Holder
			}
			report.Status(std.Out, &state, held, next(state, run))
			return nil
		},
	}
	f.add(c, true)
	c.Flags().BoolVar(&watch, "watch", false, "follow the events until the run ends")
	return c
}

// next is what to type next; empty while the run goes on or when it has ended.
func next(s journal.State, run postgres.Run) string {
	switch {
	case s.Phase.Ended():
		return ""
	case s.Gate != nil:
		return "tideover approve " + run.Runbook + " " + s.Gate.Step
	case run.Held:
		return ""
	case s.Phase.GoesBack():
		return "tideover rollback " + run.Runbook
	}
	return "tideover resume " + run.Runbook
}

const followEvery = 300 * time.Millisecond

func follow(ctx context.Context, std *IO, f runFlags, j *postgres.Journal, run postgres.Run) error {
	sink := report.Lines(std.Out)
	if f.json {
		sink = report.JSONLines(std.Out)
	}
	return j.Follow(ctx, run.ID, 0, followEvery, func(e journal.Event) error {
		sink(e)
		return nil
	})
}
