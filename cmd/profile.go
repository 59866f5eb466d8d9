package cmd

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/profilecheck"
	"github.com/tideover/tideover/plan"
)

const profileCheckLong = `Check reads a profile, a built-in one by its name or a file, and tries it against live databases, read-only: whether
every table and column that it names is there, and whether every statement in it can be prepared. Nothing is run.

Each database is given as a DSN without a password (a command line can be read by every user of the machine; use
PGPASSWORD or a password file), or in the environment: TIDEOVER_BLUE_DSN has the old schema, TIDEOVER_GREEN_DSN the new
one, migrated. Without either, only the file itself is checked.

EXIT STATUS
  0 nothing to object to  1 a database can't be asked  2 the profile has mistakes, each with file, line, column and field`

// NewProfileCmd is tideover profile.
func NewProfileCmd(std *IO) *cobra.Command {
	c := &cobra.Command{Use: "profile", Short: "Work on a profile", Args: exactArgs(0, "a subcommand"),
		RunE: func(c *cobra.Command, _ []string) error {
			return usageErrorf("profile: needs a subcommand: check or show")
		}}
	c.AddCommand(newProfileCheckCmd(std), newProfileShowCmd(std))
	return c
}

const profileShowLong = `Show prints a built-in profile as it is, with its comments: to read, or to begin one of your own with, which a runbook
names by its path:
  tideover profile show hydra > mine.yaml
  profile: mine.yaml

EXIT STATUS
  0 printed  2 there is no such built-in profile`

func newProfileShowCmd(std *IO) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Print a built-in profile",
		Long:  profileShowLong,
		Args:  exactArgs(1, "one built-in profile"),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := plan.BuiltinProfile(args[0])
			if err != nil {
				return usageError{err}
			}
			_, err = std.Out.Write(text)
			return err
		},
	}
}

func newProfileCheckCmd(std *IO) *cobra.Command {
	var blue, green string
	var asJSON bool
	c := &cobra.Command{
		Use:   "check PROFILE",
		Short: "Try a profile against live databases, read-only",
		Long:  profileCheckLong,
		Args:  exactArgs(1, "one profile"),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := plan.LoadProfile(args[0], ".")
			if err != nil {
				return usageError{err}
			}
			sides := map[string]*postgres.DB{}
			for _, side := range []struct{ name, flag, variable string }{{"blue", blue, "TIDEOVER_BLUE_DSN"}, {"green", green, "TIDEOVER_GREEN_DSN"}} {
				dsn := side.flag
				if dsn == "" {
					dsn = std.variable(side.variable)
				} else if tells(dsn) {
					return usageErrorf("--%s has a password in it, which every user of this machine can read; give it in %s instead", side.name, side.variable)
				}
				if dsn == "" {
					continue
				}
				db, err := postgres.Open(c.Context(), side.name, dsn)
				if err != nil {
					return err
				}
				defer db.Close()
				sides[side.name] = db
			}
			r, err := profilecheck.Check(c.Context(), sides["blue"], sides["green"], p)
			if err != nil {
				return err
			}
			return profileChecked(std, p, r, len(sides), asJSON)
		},
	}
	c.Flags().StringVar(&blue, "blue", "", "`DSN` of a database of the old schema, without a password")
	c.Flags().StringVar(&green, "green", "", "`DSN` of a database of the new schema, without a password")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

func profileChecked(std *IO, p *plan.Profile, r profilecheck.Result, sides int, asJSON bool) error {
	if asJSON {
		type problem struct {
			File   string `json:"file"`
			Line   int    `json:"line"`
			Column int    `json:"column"`
			Field  string `json:"field"`
			Text   string `json:"text"`
			Hint   string `json:"hint,omitempty"`
		}
		problems := []problem{}
		for _, e := range r.Problems {
			problems = append(problems, problem{e.File, e.Line, e.Column, e.Field, e.Msg, e.Way})
		}
		if err := json.NewEncoder(std.Out).Encode(map[string]any{"profile": p.Name, "databases": sides, "tried": r.Tried, "problems": problems}); err != nil {
			return err
		}
	}
	switch {
	case len(r.Problems) > 0:
		return usageError{r.Problems}
	case asJSON:
	case sides == 0:
		fmt.Fprintf(std.Out, "%s: the file is in order; no database was asked\n", p.Name)
	default:
		fmt.Fprintf(std.Out, "%s: %d tables, columns and statements tried, nothing to object to\n", p.Name, r.Tried)
	}
	return nil
}

// tells reports whether a DSN has a password in it, in either form. A password that pgconn finds elsewhere is no matter.
func tells(dsn string) bool {
	if u, err := url.Parse(dsn); err == nil && u.User != nil {
		_, has := u.User.Password()
		return has || u.Query().Has("password")
	}
	cfg, err := pgconn.ParseConfig(dsn)
	return err == nil && cfg.Password != "" && cfg.Password != os.Getenv("PGPASSWORD")
}
