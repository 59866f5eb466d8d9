package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/look"
	"github.com/tideover/tideover/steps"
)

const (
	askEvery  = 100 * time.Millisecond
	askWithin = 10 * time.Second // the process looks twice a second
)

const askHelp = `

The process at work answers within a second or two, and who asked is told what follows or why it is refused. What nobody answers
in ten seconds is withdrawn: nobody does it later. The journal has who asked, from where, and why (tideover history).
` + targetHelp + `

EXIT STATUS
  0 done  1 refused, or nobody answered  2 usage`

// askFlags are those of every command that asks the process at work for something.
type askFlags struct {
	targetFlags
	reason string
	fill   func(d *journal.AskedData, s *journal.State) // what the run's state says of it; nil: nothing
}

func (f *askFlags) add(c *cobra.Command) {
	f.targetFlags.add(c)
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the journal")
}

// ask puts a command before the process at work on a run, and says what it answers.
func (f *askFlags) ask(ctx context.Context, std *IO, path string, d journal.AskedData) error {
	t, err := f.open(ctx, std, path, true)
	if err != nil {
		return err
	}
	defer t.close()
	state, err := t.state(ctx)
	if err != nil {
		return err
	}
	named := f.named(t.run.ID, t.run.Runbook)
	if state.Phase.Ended() {
		return &refusedError{verb: d.Verb, text: fmt.Sprintf("run %s has ended: it is %s", t.run.ID, state.Phase)}
	}
	if !t.run.Held {
		return idle(ctx, std, t, &state, d, named)
	}
	if f.fill != nil {
		f.fill(&d, &state)
	}
	d.By, d.Host, d.Reason = person(), hostName(), f.reason
	id, err := t.j.Ask(ctx, t.run.ID, t.run.Holder.Term, d)
	if err != nil {
		return err
	}
	done, answer, err := awaitAnswer(ctx, t, id)
	if err != nil {
		return err
	}
	if !done {
		return &refusedError{verb: d.Verb, text: answer, hint: fmt.Sprintf("\"tideover status %s\" says where the run stands, and the ways on", named)}
	}
	fmt.Fprintf(std.Err, "%s\n", answer)
	return nil
}

// awaitAnswer waits for the process; what it has not answered in time is withdrawn, when ctx ends too.
func awaitAnswer(ctx context.Context, t *target, id int64) (done bool, text string, err error) {
	waiting, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for waiting.Err() == nil {
		answered, done, text, err := t.j.Answer(waiting, id)
		if err == nil && answered {
			return done, text, nil
		}
		select {
		case <-waiting.Done():
		case <-ticker.C:
		}
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
	defer stop()
	withdrawn, err := t.j.TakeBack(last, id)
	switch {
	case err != nil:
		return false, "", fmt.Errorf("nobody has answered, and the command could not be withdrawn: %w", err)
	case withdrawn && ctx.Err() != nil:
		return false, "", context.Cause(ctx)
	case withdrawn:
		return false, fmt.Sprintf("nobody has answered in %s, and it is withdrawn: the process may hang, or be of an older tideover", askWithin), nil
	}
	_, done, text, err = t.j.Answer(last, id) // it came in the last moment
	return done, text, err
}

// idle is for a run that has no process.
func idle(ctx context.Context, std *IO, t *target, state *journal.State, d journal.AskedData, named string) error {
	if st, ok := state.Step(d.Step); d.Verb == journal.Deny && ok && st.Gate && st.ApprovedBy == "" && st.Attempts == 0 {
		there, err := t.j.Withdraw(ctx, t.run.ID, d.Step)
		if err != nil {
			return err
		}
		if there {
			fmt.Fprintf(std.Err, "the approval of %s is withdrawn: the run will wait there\n", d.Step)
		} else {
			fmt.Fprintf(std.Err, "nobody has approved %s: the run will wait there\n", d.Step)
		}
		return nil
	}
	e := &refusedError{verb: d.Verb, text: fmt.Sprintf("no process is at work on run %s: there is nobody to ask", t.run.ID)}
	for i, way := range look.Ways(state, false, named, 0) {
		if i > 0 {
			e.hint += "\n"
		}
		e.hint += fmt.Sprintf("%q %s", way.Command, way.Does)
	}
	return e
}

// refusedError is what was asked for and is not done.
type refusedError struct{ verb, text, hint string }

func (e *refusedError) Error() string { return e.verb + ": " + e.text }
func (e *refusedError) Hint() string  { return e.hint }

// askCmd is a command that asks for something that needs no more than its name.
func askCmd(std *IO, verb, short, long string) *cobra.Command {
	var f askFlags
	c := &cobra.Command{
		Use:   verb + " [RUNBOOK]",
		Short: short,
		Long:  long + askHelp,
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			path, _, err := f.split(std, c, args, 0, "one runbook")
			if err != nil {
				return err
			}
			return f.ask(c.Context(), std, path, journal.AskedData{Verb: verb})
		},
	}
	f.add(c)
	return c
}

// whenRefused says at which stages a verb is refused, for its help.
func whenRefused(verb string) string {
	text := ""
	for _, stage := range steps.Stages() {
		if reason := steps.Refusal(verb, stage); reason != "" {
			text += fmt.Sprintf("\n  %-32s %s", stage, reason)
		}
	}
	return "\n\nRefused:" + text
}
