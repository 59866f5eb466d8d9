package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

// NewHistoryCmd is tideover history.
func NewHistoryCmd(std *IO) *cobra.Command {
	var f targetFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "history {RUNBOOK | RUN}",
		Short: "Say who did what with a run: began, approved, stopped, took over, took back",
		Long: `History is the audit of a run: who began it, approved its gates, asked its process for something, stopped it, took it over
or took it back, when, from which machine, and with which reason; which guardrails were overridden, and how it ended. With
--json an object a line.

With --control DSN (or ` + controlVariable + ` in the environment) the argument is a run's id in that database, else a runbook.`,
		Args: exactArgs(1, "a runbook or a run"),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			path := args[0]
			if f.control == "" {
				f.control = std.variable(controlVariable)
			}
			if f.control != "" {
				path, f.run = "", args[0]
			}
			db, j, err := f.journal(ctx, std, path)
			if err != nil {
				return err
			}
			defer db.Close()
			run, err := f.find(ctx, j)
			if path != "" {
				rb, _, loadErr := loadRunbook(path, std.Env)
				if loadErr != nil {
					return loadErr
				}
				run, err = findRun(ctx, j, rb, f.run)
			}
			if err != nil {
				return err
			}
			events, err := j.Load(ctx, run.ID, 0)
			if err != nil {
				return err
			}
			return printHistory(std.Out, audit(events), asJSON)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	return c
}

// deed is one line of a run's audit.
type deed struct {
	Time   time.Time    `json:"time"`
	Kind   journal.Kind `json:"kind"`
	Step   string       `json:"step,omitempty"`
	By     string       `json:"by"` // who did it, or whose process
	Host   string       `json:"host"`
	PID    int          `json:"pid,omitempty"`
	Reason string       `json:"reason,omitempty"`
	Text   string       `json:"text"`
}

// audit picks what persons did out of a run's events. What a process did is its owner's.
func audit(events []journal.Event) []deed {
	deeds := []deed{}
	var holder journal.RunTakenData
	for i, e := range events {
		d := deed{Time: e.Time, Kind: e.Kind, Step: e.Step, By: holder.User, Host: holder.Host, PID: holder.PID, Text: report.Describe(e)}
		switch e.Kind {
		case journal.RunStarted:
			if i+1 < len(events) && events[i+1].Kind == journal.RunTaken {
				holder = dataOf[journal.RunTakenData](events[i+1])
				d.By, d.Host, d.PID = holder.User, holder.Host, holder.PID
			}
			d.Text = "began the run: " + d.Text
		case journal.RunTaken:
			holder = dataOf[journal.RunTakenData](e)
			if holder.Term == 1 {
				continue // it is who began it
			}
			d.By, d.Host, d.PID = holder.User, holder.Host, holder.PID
		case journal.RunStopped:
			d.Reason = dataOf[journal.StoppedData](e).Reason
		case journal.RunUndoing, journal.CutoverAborting:
			d.Reason = dataOf[journal.ReasonData](e).Reason
		case journal.GateApproved:
			a := dataOf[journal.ApprovedData](e)
			d.By, d.Reason = a.By, a.Reason
			if a.Host != "" {
				d.Host, d.PID = a.Host, 0
			}
		case journal.RunAsked:
			a := dataOf[journal.AskedData](e)
			d.By, d.Host, d.PID, d.Reason = a.By, a.Host, 0, a.Reason
		case journal.StepNote:
			if dataOf[journal.NoteData](e).Level != "warn" {
				continue
			}
		case journal.GateWaiting, journal.StepFailed, journal.CutoverCommitting, journal.CutoverReleased, journal.CutoverAborted,
			journal.RunCompleted, journal.RunAborted, journal.RunRolledBack:
		default:
			continue
		}
		deeds = append(deeds, d)
	}
	return deeds
}

func dataOf[T any](e journal.Event) (v T) {
	if len(e.Data) > 0 {
		_ = json.Unmarshal(e.Data, &v) // of another version: zero, since showing must not fail
	}
	return v
}

func printHistory(w io.Writer, deeds []deed, asJSON bool) error {
	if asJSON {
		lines := json.NewEncoder(w)
		for _, d := range deeds {
			if err := lines.Encode(d); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range deeds {
		fmt.Fprintf(t, "%s\t%s\t%s\n", d.Time.UTC().Format(time.DateTime+" UTC"), report.Plain(d.By+" on "+d.Host), report.Plain(d.Text))
	}
	return t.Flush()
}
