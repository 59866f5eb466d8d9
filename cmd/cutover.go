package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

const cutoverLong = `Cutover --rehearse takes a run that has come to its cutover, and does all of it up to the point of no return, on the
real databases, router and participants: the guardrails, prepare, the wait for logins, hold, fence, last replay, verify.
Then it takes everything back. It says what the hold has cost: clients did wait for so long, and none has failed. Only
what comes past the router, to the old server itself, is refused for that time (503), as in the switch.

The run must have been stopped before its cutover (a gate, approve: true, on the cutover makes it wait there; Ctrl-C
stops it). Afterwards it is stopped again: tideover resume goes on. If this process dies, the router's hold and blue's
fence end by themselves at the deadline.

The switch itself is a step of tideover run.
` + targetHelp + `

EXIT STATUS
  0 rehearsed  1 failed  2 usage  3 another process holds the run  4 called off; blue serves  5 blue and green differ`

// NewCutoverCmd is tideover cutover.
func NewCutoverCmd(std *IO) *cobra.Command {
	var f targetFlags
	var rehearse, asJSON bool
	var override []string
	c := &cobra.Command{
		Use:   "cutover [RUNBOOK] --rehearse",
		Short: "Rehearse a run's switch up to the point of no return, and take it back",
		Long:  cutoverLong,
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if !rehearse {
				return usageErrorf("tideover cutover needs --rehearse: the switch itself is a step of tideover run")
			}
			override, err := steps.ParseOverride(override)
			if err != nil {
				return usageError{err}
			}
			path, _, err := f.split(std, c, args, 0, "one runbook")
			if err != nil {
				return err
			}
			return rehearseCutover(c.Context(), std, &f, path, override, asJSON)
		},
	}
	c.Flags().BoolVar(&rehearse, "rehearse", false, "do everything up to the point of no return, then take it back")
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the figures as one JSON object")
	addOverride(c, &override)
	return c
}

// addOverride is the flag of the commands that may meet a guardrail.
func addOverride(c *cobra.Command, names *[]string) {
	c.Flags().StringSliceVar(names, "override", nil, "go past a guardrail of the cutover: "+strings.Join(steps.Guardrails, ", "))
}

func rehearseCutover(ctx context.Context, std *IO, f *targetFlags, path string, override []string, asJSON bool) error {
	ctx, stop := enduring(ctx)
	defer stop()
	read, take := f.takeOver(std, path)
	rb, profile, err := read(ctx)
	if err != nil {
		return err
	}
	inbox := report.NewInbox(notesOnly(report.Lines(std.Err)))
	defer inbox.Close(lastWords)
	session, err := take(ctx, steps.Options{Upgrade: upgradeOf(rb, profile), Version: version, Override: override, Sink: inbox.Put})
	if err != nil {
		return err
	}
	defer session.Close()
	figures, err := session.RehearseCutover(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(std.Out).Encode(figures)
	}
	return printRehearsed(std.Out, figures, deadlineOf(rb))
}

// notesOnly leaves out that the run was taken and stopped: it is where it was.
func notesOnly(sink journal.Sink) journal.Sink {
	return func(e journal.Event) {
		if e.Kind == journal.StepNote {
			sink(e)
		}
	}
}

func deadlineOf(rb *plan.Runbook) time.Duration {
	for _, s := range rb.Steps {
		if c, ok := s.Config.(*plan.CutoverSpec); ok {
			return c.Deadline
		}
	}
	return 0
}

func printRehearsed(w io.Writer, f cutover.Figures, deadline time.Duration) error {
	_, err := fmt.Fprintf(w, `The switch was rehearsed up to the point of no return and taken back. Blue serves.

  held      writes and logins waited for %d ms at most; the deadline is %s
  fenced    blue refused writes for %d ms of it
  replay    %d ms for the last changes, %d ms to verify them
  logins    waited %d ms for those under way, %d were left
  prepared  %s

"tideover resume" makes the switch; participants' commits come on top.
`, f.HoldMS, deadline, f.FenceMS, f.ReplayMS, f.VerifyMS, f.DrainMS, f.LoginsLeft, strings.Join(f.Participants, ", "))
	return err
}
