package cmd

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
)

const cleanupLong = `Cleanup says what the profile's clean-up rules would do: for each the number of rows, whether it repairs them or sets
them aside, and the keys of some. It changes nothing, and never prints what a row holds. Rules themselves run in a run: on the
copy by the cleanup steps, and on every change that is replayed.

By default the rules of before the migrations are held against blue. A rule with more rows than it expects
(expect_at_most) stops a run until a person approves them: tideover approve RUNBOOK --rule RULE --rows N.

EXIT STATUS
  0 no rule would stop a run  1 one would  2 usage`

// NewCleanupCmd is tideover cleanup.
func NewCleanupCmd(std *IO) *cobra.Command {
	var dry, asJSON bool
	var side, phase string
	var sample int
	c := &cobra.Command{
		Use:   "cleanup RUNBOOK --dry-run",
		Short: "Say what the clean-up rules would do, with counts and a sample",
		Long:  cleanupLong,
		Args:  exactArgs(1, "one runbook"),
		RunE: func(c *cobra.Command, args []string) error {
			if !dry {
				return usageErrorf("cleanup: rules run in a run only; --dry-run says what they would do")
			}
			if phase != "before" && phase != "after" {
				return usageErrorf("cleanup: --phase is before or after")
			}
			rb, profile, err := loadRunbook(args[0], std.Env)
			if err != nil {
				return err
			}
			dsn := map[string]string{"blue": rb.Blue.DSN, "green": rb.Green.DSN}[side]
			if dsn == "" {
				return usageErrorf("cleanup: --on is blue or green, and the runbook must have its dsn")
			}
			conn, err := postgres.Connect(c.Context(), side, dsn)
			if err != nil {
				return err
			}
			defer conn.Close(c.Context())
			found, err := cleanup.New(profile.Rules, cleanup.Options{Schemas: profile.Schemas(), Approved: approvedIn(rb)}).Preview(c.Context(), conn, phase, sample)
			if err != nil {
				return err
			}
			return printPreview(std, found, asJSON)
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "change nothing (needed)")
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	c.Flags().StringVar(&side, "on", "blue", "the `SIDE` that is looked at: blue or green")
	c.Flags().StringVar(&phase, "phase", "before", "the rules of `PHASE`: before or after the migrations")
	c.Flags().IntVar(&sample, "sample", 5, "name the keys of so many rows a rule")
	return c
}

func printPreview(std *IO, found []cleanup.Preview, asJSON bool) error {
	lines := json.NewEncoder(std.Out)
	stops := 0
	for _, p := range found {
		if p.TooMany {
			stops++
		}
		if asJSON {
			if err := lines.Encode(p); err != nil {
				return err
			}
			continue
		}
		does := "repair"
		if p.Quarantined {
			does = "quarantine"
		}
		limit := ""
		if p.TooMany {
			limit = fmt.Sprintf(", at most %s are expected: it would stop the run", report.Thousands(*p.ExpectAtMost))
		}
		fmt.Fprintf(std.Out, "%s: %s %s rows of %s%s\n", p.Rule, does, report.Thousands(p.Rows), p.Table, limit)
		if len(p.Keys) > 0 {
			fmt.Fprintf(std.Out, "  %s\n", report.Plain(strings.Join(p.Keys, " ")))
		}
	}
	if stops > 0 {
		return fmt.Errorf("%d rules have more rows than they expect", stops)
	}
	return nil
}

// approvedIn are the rows that a runbook approves, by rule.
func approvedIn(rb *plan.Runbook) map[string]int64 {
	approved := map[string]int64{}
	for _, s := range rb.Steps {
		if c, ok := s.Config.(*plan.CleanupSpec); ok {
			for rule, rows := range c.Approve {
				approved[rule] = rows
			}
		}
	}
	return approved
}
