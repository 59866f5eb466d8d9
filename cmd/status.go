package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/look"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
)

const statusLong = `Status asks what is so now and changes nothing: routers, both databases' fences, participants, servers, who is at work on
the run, and whom our sessions wait for. What can't be reached within some seconds is unknown, with the reason. Its first
line says who serves, whether clients wait or get 503, and when that ends by itself. Then comes what the journal says, and
the ways on with what each costs.

With --json it prints all of it as one object; with --watch it follows the events until the run ends.
` + targetHelp + ` Status works without them too, and
says what it could not ask.

EXIT STATUS
  0 said  1 the control database can't be reached; what else could be asked was said  2 usage`

// NewStatusCmd is tideover status.
func NewStatusCmd(std *IO) *cobra.Command {
	var f runFlags
	var watch bool
	c := &cobra.Command{
		Use:   "status [RUNBOOK]",
		Short: "Say who serves now, where a run stands, and the ways on with what each costs",
		Long:  statusLong,
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			path, _, err := f.split(std, c, args, 0, "one runbook")
			if err != nil {
				return err
			}
			t, err := f.open(ctx, std, path, true)
			if err != nil {
				return blindStatus(ctx, std, &f, path, err)
			}
			defer t.close()
			if watch {
				return follow(ctx, std, f, t.j, t.run)
			}
			st, err := stand(ctx, t, f.named(t.run.ID, t.run.Runbook))
			if err != nil {
				return errors.Join(st.printBlind(std.Out, f.json), err)
			}
			return st.print(std.Out, f.json)
		},
	}
	f.add(c, true)
	c.Flags().BoolVar(&watch, "watch", false, "follow the events until the run ends")
	return c
}

// standing is what status says: the state out of the journal, and what was asked.
type standing struct {
	journal.State
	Held     bool               `json:"held"` // a living process holds the run
	Now      look.Now           `json:"now"`
	Ways     []look.Way         `json:"ways"`
	Progress *postgres.Progress `json:"progress,omitempty"` // of the process at work, or the last one
	Approved string             `json:"approved,omitempty"` // who has approved the gate that waits
	Reality  look.Facts         `json:"reality"`

	next string
}

func stand(ctx context.Context, t *target, named string) (*standing, error) {
	st := &standing{}
	asked := make(chan look.Facts, 1)
	go func() {
		asked <- look.Ask(ctx, look.Question{Runbook: t.rb, Profile: t.profile, Control: t.db, Run: t.run.ID, Term: t.run.Holder.Term})
	}()
	err := st.read(ctx, t, named)
	st.Reality = <-asked
	st.Now = st.Reality.Now()
	return st, err
}

// read is what the journal says.
func (st *standing) read(ctx context.Context, t *target, named string) (err error) {
	if st.State, err = t.state(ctx); err != nil {
		return err
	}
	if st.Progress, err = t.j.Progress(ctx, t.run.ID); err != nil {
		return err
	}
	st.Held = t.run.Held
	if st.Gate != nil {
		if st.Approved, err = t.j.Approved(ctx, t.run.ID, st.Gate.Step); err != nil {
			return err
		}
	}
	st.Ways = look.Ways(&st.State, st.Held, named, deadlineOf(t.rb))
	if st.Approved != "" && st.Held {
		st.Ways = st.Ways[1:]
	}
	if len(st.Ways) > 0 && (!st.Held || st.Gate != nil && st.Approved == "") {
		st.next = st.Ways[0].Command
	}
	return nil
}

func (st *standing) print(w io.Writer, asJSON bool) error {
	if st.Ways == nil {
		st.Ways = []look.Way{}
	}
	if asJSON {
		return json.NewEncoder(w).Encode(st)
	}
	fmt.Fprintf(w, "%s\n\n", st.Now.Text)
	var held *journal.Holder
	if st.Held {
		held = &st.Holder
	}
	report.Status(w, &st.State, held, st.next)
	if st.Approved != "" {
		fmt.Fprintf(w, "approved  step %s, by %s; the run goes on when its process sees it\n", st.Gate.Step, report.Plain(st.Approved))
	}
	if p := st.Progress; p != nil && !st.Phase.Ended() {
		fmt.Fprintf(w, "progress  %s: %s, at %s\n", p.Step, report.Plain(report.Progress(p.Data)), p.Time.UTC().Format("15:04:05 UTC"))
	}
	for _, way := range st.Ways {
		fmt.Fprintf(w, "\n%s\n    %s\n    costs: %s\n", way.Command, way.Does, way.Costs)
	}
	fmt.Fprintf(w, "\nasked at %s:\n", st.Reality.At.UTC().Format(time.DateTime+" UTC"))
	st.Reality.Text(w)
	return nil
}

// blindStatus says what can be said where the control database can't be reached, and why there is no more.
func blindStatus(ctx context.Context, std *IO, f *runFlags, path string, err error) error {
	if path == "" || !errors.As(err, new(*postgres.ConnectError)) && !errors.As(err, new(*postgres.JournalError)) {
		return err
	}
	rb, sketchErr := plan.LoadSketch(path, std.Env)
	if sketchErr != nil {
		return err
	}
	_, profile, loadErr := loadRunbook(path, std.Env)
	if loadErr != nil {
		profile = &plan.Profile{}
	}
	facts := look.Ask(ctx, look.Question{Runbook: rb, Profile: profile, Run: f.run})
	st := &standing{Reality: facts, Now: facts.Now()}
	if printErr := st.printBlind(std.Out, f.json); printErr != nil {
		return printErr
	}
	return err
}

// printBlind is print without the journal.
func (st *standing) printBlind(w io.Writer, asJSON bool) error {
	if asJSON {
		return st.print(w, true)
	}
	fmt.Fprintf(w, "%s\n\nThe journal can't be read. Asked at %s:\n", st.Now.Text, st.Reality.At.UTC().Format(time.DateTime+" UTC"))
	st.Reality.Text(w)
	return nil
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
