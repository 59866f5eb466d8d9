package cmd

import (
	"context"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

const runLong = `Run takes a runbook through the whole upgrade, on the databases and servers that it names. Every step is written
to the journal before the next begins: whatever happens, tideover resume goes on and tideover rollback goes back.

Ctrl-C stops safely: blue goes on serving, and the run can be resumed. On a terminal the run is shown as it goes; with
--json each event is a line on stdout.

EXIT STATUS
  0 completed  1 failed  2 the runbook has mistakes  3 another process holds the run
  4 stopped safely before the point of no return  5 blue and green differ  130 interrupted`

// NewRunCmd is tideover run.
func NewRunCmd(std *IO) *cobra.Command {
	var f runFlags
	var yes bool
	var override []string
	c := &cobra.Command{
		Use:   "run RUNBOOK",
		Short: "Run the upgrade that a runbook describes",
		Long:  runLong,
		Args:  exactArgs(1, "one runbook"),
		RunE: func(c *cobra.Command, args []string) error {
			load := func(context.Context) (*plan.Runbook, *plan.Profile, error) { return loadRunbook(args[0], std.Env) }
			return work(c.Context(), std, f, load, yes, override, steps.Start)
		},
	}
	f.add(c, false)
	f.observeFlags.add(c)
	c.Flags().BoolVar(&yes, "yes", false, "open every gate (approve: true) without asking")
	addOverride(c, &override)
	return c
}

// NewResumeCmd is tideover resume.
func NewResumeCmd(std *IO) *cobra.Command {
	var f runFlags
	var yes bool
	var override []string
	c := &cobra.Command{
		Use:   "resume [RUNBOOK]",
		Short: "Go on with a run that stopped or crashed",
		Long: `Resume takes over a run whose process is gone and goes on where the journal says that it was. A cutover that was
under way is completed or aborted by looking at the router, the fences and the participants, not at what was planned. A
run that was on its way back goes on going back. A runbook or profile that says something else than when the run began is
refused; comments, white space and the order of keys don't count.
` + targetHelp + `

EXIT STATUS
  as tideover run`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			path, _, err := f.split(std, c, args, 0, "one runbook")
			if err != nil {
				return err
			}
			load, take := f.takeOver(std, path)
			return work(c.Context(), std, f, load, yes, override, take)
		},
	}
	f.add(c, true)
	f.observeFlags.add(c)
	c.Flags().BoolVar(&yes, "yes", false, "open every gate (approve: true) without asking")
	addOverride(c, &override)
	return c
}

// NewRollbackCmd is tideover rollback.
func NewRollbackCmd(std *IO) *cobra.Command {
	var f runFlags
	var reason string
	var yes bool
	c := &cobra.Command{
		Use:   "rollback [RUNBOOK]",
		Short: "Take a run back: blue serves again",
		Long: `Rollback takes back every step of a run that has an effect, the last one first. Before the point of no return
blue is as it was. After it the cutover is turned round: green is fenced, the revocations that were made on green are
brought back to blue, the participants and the router return to blue. Rows that green's clients have written go back
where the profile says so (carry_back). Sessions that only green knows, and all other rows that were written there, are
counted and named before anything is done, and on a terminal you are asked; green is kept for people to look at.
` + targetHelp + `

EXIT STATUS
  0 taken back  1 failed: type it again  3 another process holds the run`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			path, _, err := f.split(std, c, args, 0, "one runbook")
			if err != nil {
				return err
			}
			load, take := f.takeOver(std, path)
			return perform(c.Context(), std, f, load, false, asking(std, yes, take), func(ctx context.Context, s *steps.Session) error { return s.Rollback(ctx, reason) })
		},
	}
	f.add(c, true)
	f.observeFlags.add(c)
	c.Flags().StringVar(&reason, "reason", "asked for by a person", "why, for the journal")
	c.Flags().BoolVar(&yes, "yes", false, "go back without asking")
	return c
}

// begin takes a run: a new one, or one that has no living process.
type begin func(context.Context, steps.Options) (*steps.Session, error)

// load reads the runbook and its profile.
type load func(context.Context) (*plan.Runbook, *plan.Profile, error)

// work runs or resumes.
func work(ctx context.Context, std *IO, f runFlags, read load, yes bool, override []string, take begin) error {
	override, err := steps.ParseOverride(override)
	if err != nil {
		return usageError{err}
	}
	within := take
	take = func(ctx context.Context, o steps.Options) (*steps.Session, error) {
		o.Override = override
		return within(ctx, o)
	}
	return perform(ctx, std, f, read, yes, take, func(ctx context.Context, s *steps.Session) error { return s.Run(ctx) })
}

// perform takes a run, shows it while do works on it, and reports. The view is made once the run is ours: a screen
// begins with the state that the run is in.
func perform(ctx context.Context, std *IO, f runFlags, read load, yes bool, take begin, do func(context.Context, *steps.Session) error) error {
	ctx, stop := enduring(ctx)
	defer stop()
	rb, profile, err := read(ctx)
	if err != nil {
		return err
	}
	watched, err := f.observe(ctx, std)
	if err != nil {
		return err
	}
	defer watched.close()
	var v *view
	o := steps.Options{
		Upgrade: upgradeOf(rb, profile), Version: version, Timed: watched.Timed,
		Sink: report.Tee(watched.Sink, func(e journal.Event) { v.Sink()(e) }),
		Gate: gateFunc(func(ctx context.Context, step string) (string, error) { return v.Wait(ctx, step) }),
	}
	if yes {
		o.Gate = steps.Open{By: person()}
	}
	session, err := take(ctx, o)
	if err != nil {
		return err
	}
	defer session.Close()
	watched.begin(session.State())
	v = newView(ctx, std, f, rb.Name, session.State(), nil, stop)
	defer v.Close()
	err = do(ctx, session)
	v.Finish(report.Collect(session.State()))
	return err
}

// gateFunc is a gate made of its Wait.
type gateFunc func(ctx context.Context, step string) (string, error)

func (f gateFunc) Wait(ctx context.Context, step string) (string, error) { return f(ctx, step) }

// takeOver is how a run is read and taken that has no living process.
func (f *targetFlags) takeOver(std *IO, path string) (load, begin) {
	var id string
	read := func(ctx context.Context) (*plan.Runbook, *plan.Profile, error) {
		t, err := f.open(ctx, std, path, false)
		if err != nil {
			return nil, nil, err
		}
		defer t.close()
		id = t.run.ID
		return t.rb, t.profile, nil
	}
	return read, func(ctx context.Context, o steps.Options) (*steps.Session, error) { return steps.Resume(ctx, o, id) }
}

// person is who types.
func person() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	if name := os.Getenv("USER"); name != "" {
		return name
	}
	return "somebody"
}

// hostName is where they type it.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "an unknown machine"
	}
	return name
}
