package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
)

// NewRunsCmd is tideover runs.
func NewRunsCmd(std *IO) *cobra.Command {
	var f targetFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "runs [RUNBOOK]",
		Short: "List all runs of a control database",
		Long: `Runs lists every run that a control database has, of all runbooks, the newest first: its id, its runbook, how it ended,
who began it, when, and how long it took. With --json an object a line.

Without RUNBOOK, --control DSN (or ` + controlVariable + ` in the environment) names the control database.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			path, _, err := f.split(std, c, args, 0, "one runbook")
			if err != nil {
				return err
			}
			db, j, err := f.journal(c.Context(), std, path)
			if err != nil {
				return err
			}
			defer db.Close()
			return listRuns(c.Context(), std, j, asJSON)
		},
	}
	c.Flags().StringVar(&f.control, "control", "", "the control database, in place of RUNBOOK: a connection `DSN`")
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	return c
}

// journal opens the control database alone.
func (f *targetFlags) journal(ctx context.Context, std *IO, path string) (*postgres.DB, *postgres.Journal, error) {
	if path == "" {
		db, err := postgres.Open(ctx, "control", f.control)
		if err != nil {
			return nil, nil, err
		}
		return db, postgres.NewJournal(db), nil
	}
	rb, _, err := loadRunbook(path, std.Env)
	if err != nil {
		sketch, sketchErr := plan.LoadSketch(path, std.Env)
		if sketchErr != nil || plan.Unset(sketch.Control.DSN) != "" || sketch.Control.DSN == "" && plan.Unset(sketch.Blue.DSN) != "" {
			return nil, nil, err
		}
		rb = sketch
	}
	return openJournal(ctx, rb)
}

// listed is a run as runs --json prints it.
type listed struct {
	Run     string    `json:"run"`
	Name    string    `json:"name"`    // of the runbook
	Outcome string    `json:"outcome"` // "completed", "aborted", "rolled_back"; "running" or "stopped" while it has not ended
	User    string    `json:"user,omitempty"`
	Host    string    `json:"host,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Seconds float64   `json:"seconds"` // until it ended, or until now
}

func listRuns(ctx context.Context, std *IO, j *postgres.Journal, asJSON bool) error {
	runs, err := j.Runs(ctx)
	if err != nil {
		return err
	}
	began, err := j.Beginners(ctx)
	if err != nil {
		return err
	}
	if len(runs) == 0 && !asJSON {
		fmt.Fprintln(std.Out, "no run has been started")
		return nil
	}
	lines := json.NewEncoder(std.Out)
	t := tabwriter.NewWriter(std.Out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(t, "RUN\tRUNBOOK\tOUTCOME\tBEGUN BY\tBEGUN\tTOOK")
	}
	for _, r := range runs {
		l := listed{Run: r.ID, Name: r.Name, Outcome: outcomeOf(r), User: began[r.ID].User, Host: began[r.ID].Host, Started: r.Created, Ended: r.Ended}
		end := r.Ended
		if end.IsZero() {
			end = time.Now()
		}
		l.Seconds = max(end.Sub(r.Created), 0).Seconds()
		if asJSON {
			if err := lines.Encode(l); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Run, report.Plain(l.Name), l.Outcome, report.Plain(l.User+" on "+l.Host),
			l.Started.UTC().Format(time.DateTime+" UTC"), report.Took(time.Duration(l.Seconds*float64(time.Second))))
	}
	return t.Flush()
}

func outcomeOf(r postgres.Run) string {
	switch r.Outcome {
	case journal.RunCompleted:
		return "completed"
	case journal.RunAborted:
		return "aborted"
	case journal.RunRolledBack:
		return "rolled_back"
	}
	if r.Held {
		return "running"
	}
	return "stopped"
}
