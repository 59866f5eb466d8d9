package cmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

const planLong = `Plan reads a runbook and says what would be done, step by step, what can be taken back, and which guarantee
can't be kept in this configuration, with the step that causes it. It opens no connection and changes nothing; with
--connect it also looks at both databases, read-only but for small databases of its own on green's server, which it drops, and
for a table there that it takes back: from blue's sizes and from what both servers do in a second or two it estimates how long
copy and indexes take, how many changes come meanwhile, the hold, and the disk that is needed, and says what that rests on.

With --strict it fails, with exit status 1, where a guarantee is given up, or where --connect prints a warning: for CI, so that
neither comes in with a change that nobody meant.

Migrations of a live database are rewritten to be lock-safe; what can't be made safe must be allowed by its name in the
runbook (allow:), or plan and run refuse it. tideover sql lint shows the details.

EXIT STATUS
  0 the runbook can be run
  1 --connect found something that stops the run; with --strict also: a guarantee is given up, or a warning was printed
  2 the runbook has mistakes`

// NewPlanCmd is tideover plan.
func NewPlanCmd(std *IO) *cobra.Command {
	var asJSON, connect, strict bool
	c := &cobra.Command{
		Use:   "plan RUNBOOK",
		Short: "Say what a runbook would do, and what can't be guaranteed",
		Long:  planLong,
		Args:  exactArgs(1, "one runbook"),
		RunE: func(c *cobra.Command, args []string) error {
			rb, profile, err := loadRunbook(args[0], std.Env)
			if err != nil {
				return err
			}
			described := steps.Describe(rb)
			readings, readErr := steps.Readings(upgradeOf(rb, profile))
			hazards := plan.Hazards(rb, profile)
			if asJSON {
				if err := json.NewEncoder(std.Out).Encode(map[string]any{"name": rb.Name, "hash": rb.Hash, "steps": described, "hazards": hazards, "migrations": readings}); err != nil {
					return err
				}
			} else {
				printPlan(std, rb, described, hazards)
				printReadings(std, readings)
			}
			if readErr != nil {
				return readErr
			}
			if err := steps.CheckMigrations(upgradeOf(rb, profile)); err != nil {
				return err
			}
			warned := 0
			if connect {
				if warned, err = lookAtBoth(c.Context(), std, rb, profile, asJSON); err != nil {
					return err
				}
			}
			if strict {
				return strictly(hazards, warned)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the plan as JSON")
	c.Flags().BoolVar(&connect, "connect", false, "also run preflight on both databases, and estimate time and disk")
	c.Flags().BoolVar(&strict, "strict", false, "fail where a guarantee is given up, or a warning is printed")
	return c
}

// strictError is a plan that can be run, and gives something up.
type strictError struct{ guarantees, warnings int }

// strictly is nil where a plan gives nothing up and warns of nothing.
func strictly(hazards []plan.Hazard, warnings int) error {
	given := map[plan.Guarantee]bool{}
	for _, h := range hazards {
		given[h.Guarantee] = true
	}
	if len(given) == 0 && warnings == 0 {
		return nil
	}
	return &strictError{len(given), warnings}
}

func (e *strictError) Error() string {
	var what []string
	if e.guarantees > 0 {
		what = append(what, count(e.guarantees, "guarantee is", "guarantees are")+" given up")
	}
	if e.warnings > 0 {
		what = append(what, count(e.warnings, "warning was", "warnings were")+" printed")
	}
	return "--strict: " + strings.Join(what, ", and ")
}

// Hint says where to look.
func (e *strictError) Hint() string {
	return "what is above says what would keep it; without --strict such a plan can be run"
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// printReadings lists the files that count: a folder that is read in another way than its author meant is seen here.
func printReadings(std *IO, list []steps.Reading) {
	const most = 20
	for _, r := range list {
		fmt.Fprintf(std.Out, "\n%s: read as %s; files that count, if the database doesn't have them:\n", r.Step, r.As)
		for i, f := range r.Files {
			if i == most && len(r.Files) > most+1 {
				fmt.Fprintf(std.Out, "  … and %d more, up to %s\n", len(r.Files)-most, r.Files[len(r.Files)-1])
				break
			}
			fmt.Fprintf(std.Out, "  %s\n", f)
		}
	}
}

func printPlan(std *IO, rb *plan.Runbook, described []steps.Description, hazards []plan.Hazard) {
	fmt.Fprintf(std.Out, "%s: %d steps, profile %s, runbook %.12s\n\n", rb.Name, len(described), rb.Profile, rb.Hash)
	w := tabwriter.NewWriter(std.Out, 0, 0, 2, ' ', 0)
	for i, d := range described {
		gate := ""
		if d.Gate {
			gate = " (waits for approval)"
		}
		fmt.Fprintf(w, "%2d\t%s%s\t%s\tundo: %s\n", i+1, d.ID, gate, d.Does, d.Undo)
	}
	w.Flush()
	if len(hazards) == 0 {
		fmt.Fprintln(std.Out, "\nevery guarantee can be kept")
		return
	}
	fmt.Fprintln(std.Out, "\nwhat can't be guaranteed as it stands:")
	for _, h := range hazards {
		where := ""
		if h.Step != "" {
			where = " (" + h.Step + ")"
		}
		fmt.Fprintf(std.Out, "  %s%s: %s\n", h.Guarantee, where, h.Text)
		if h.Hint != "" {
			fmt.Fprintf(std.Out, "     %s\n", strings.ReplaceAll(h.Hint, "\n", "\n     "))
		}
	}
}
