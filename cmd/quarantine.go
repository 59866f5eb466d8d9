package cmd

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
)

const quarantineLong = `Rows that nothing could save are not dropped: a rule of the profile moves them to the table tideover.quarantine on
green, with all rows that hung on them. There they stay until a person decides.

  tideover quarantine list RUNBOOK            # rule, table and key of each; never its content
  tideover quarantine restore RUNBOOK RULE    # put a rule's rows back into their tables`

// NewQuarantineCmd is tideover quarantine.
func NewQuarantineCmd(std *IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "quarantine",
		Short: "See the rows that clean-up rules have set aside on green, and put them back",
		Long:  quarantineLong,
		Args:  exactArgs(0, "a subcommand"),
		RunE: func(*cobra.Command, []string) error {
			return usageErrorf("quarantine: needs a subcommand: list or restore")
		},
	}
	c.AddCommand(newQuarantineListCmd(std), newQuarantineRestoreCmd(std))
	return c
}

func newQuarantineListCmd(std *IO) *cobra.Command {
	var asJSON bool
	var rule string
	c := &cobra.Command{
		Use:   "list RUNBOOK",
		Short: "List the rows in quarantine: rule, table, key and since when",
		Long: `List prints a line for each row in quarantine, the oldest first, its fields apart by tabs; with --json an object a line. What the row holds is
not printed: it can be a secret. "SELECT row FROM tideover.quarantine" on green shows it.`,
		Args: exactArgs(1, "one runbook"),
		RunE: func(c *cobra.Command, args []string) error {
			rb, profile, err := loadRunbook(args[0], std.Env)
			if err != nil {
				return err
			}
			if err := knownRule(profile, rule); err != nil {
				return err
			}
			conn, err := postgres.Connect(c.Context(), "green", rb.Green.DSN)
			if err != nil {
				return err
			}
			defer conn.Close(c.Context())
			lines := json.NewEncoder(std.Out)
			n := int64(0)
			err = cleanup.List(c.Context(), conn, rule, func(q cleanup.Quarantined) error {
				n++
				if asJSON {
					return lines.Encode(q)
				}
				_, err := fmt.Fprintf(std.Out, "%s\t%s\t%s\t%s\n", q.Rule, q.Table, q.Key, q.At.UTC().Format(time.RFC3339))
				return err
			})
			if err == nil && !asJSON {
				fmt.Fprintf(std.Err, "%s rows in quarantine\n", report.Thousands(n))
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	c.Flags().StringVar(&rule, "rule", "", "only what this `RULE` of the profile has set aside")
	return c
}

func newQuarantineRestoreCmd(std *IO) *cobra.Command {
	return &cobra.Command{
		Use:   "restore RUNBOOK RULE",
		Short: "Put a rule's rows back into their tables on green",
		Long: `Restore puts the rows that a rule set aside back into their tables, parents first, and takes them out of the
quarantine, in one transaction: all or none. What made a row offend is not mended by it, and a constraint that refuses
one refuses all. Mend the row in tideover.quarantine first, or drop the constraint. A row whose key is in the table again stays as it is.

Rows that were set aside before the migrations have the old schema's columns. Where the table has changed since, they do not
fit any more and nothing is put back.`,
		Args: exactArgs(2, "one runbook and one rule"),
		RunE: func(c *cobra.Command, args []string) error {
			rb, profile, err := loadRunbook(args[0], std.Env)
			if err != nil {
				return err
			}
			if err := knownRule(profile, args[1]); err != nil {
				return err
			}
			conn, err := postgres.Connect(c.Context(), "green", rb.Green.DSN)
			if err != nil {
				return err
			}
			defer conn.Close(c.Context())
			n, err := cleanup.Restore(c.Context(), conn, profile.Schemas(), args[1])
			if err != nil {
				return err
			}
			fmt.Fprintf(std.Out, "%s rows are back\n", report.Thousands(n))
			return nil
		},
	}
}

// knownRule refuses a rule that the profile does not have; the empty name means all.
func knownRule(p *plan.Profile, name string) error {
	if name == "" || slices.ContainsFunc(p.Rules, func(r plan.Rule) bool { return r.Name == name && r.Quarantine }) {
		return nil
	}
	var known []string
	for _, r := range p.Rules {
		if r.Quarantine {
			known = append(known, r.Name)
		}
	}
	return usageErrorf("profile %s has no rule %q that sets rows aside; there are %q", p.Name, name, known)
}
