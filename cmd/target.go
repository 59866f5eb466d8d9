package cmd

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

// targetFlags are how a command is told which run it is about: by the runbook's file, or by the control database, which has
// the runbook of each of its runs.
type targetFlags struct {
	control string
	run     string
}

const controlVariable = "TIDEOVER_CONTROL_DSN"

const targetHelp = `
Without RUNBOOK, --control DSN (or ` + controlVariable + ` in the environment, where its password is not in the process list) names
the control database, and --run the run there; the newest one is the default. The journal has the runbook and the profile
that the run was started with. Variables that the runbook names must be set here too.`

func (f *targetFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.run, "run", "", "the run's id (default: the newest run of the runbook)")
	c.Flags().StringVar(&f.control, "control", "", "the control database, in place of RUNBOOK: a connection `DSN`")
}

// split takes the runbook off the arguments, of which n more must follow. Without a runbook the control database must be named.
func (f *targetFlags) split(std *IO, c *cobra.Command, args []string, n int, what string) (path string, rest []string, err error) {
	if f.control == "" && len(args) == n {
		f.control = std.variable(controlVariable)
	}
	if len(args) == n+1 && f.control == "" {
		return args[0], args[1:], nil
	}
	if len(args) == n && f.control != "" {
		return "", args, nil
	}
	return "", nil, usageErrorf("%s: needs %s, or --control in place of the runbook; see %s --help", c.CommandPath(), what, c.CommandPath())
}

// target is a run and what it was started with.
type target struct {
	rb      *plan.Runbook
	profile *plan.Profile
	db      *postgres.DB
	j       *postgres.Journal
	run     postgres.Run
}

func (t *target) close() { t.db.Close() }

// named is what a person types after a command for this run: the runbook's file, or the run.
func (f *targetFlags) named(run string, path string) string {
	if f.control != "" {
		return "--control DSN --run " + run
	}
	return path
}

// open finds the run. sketch is for who only looks, or asks: variables that are not set are no mistake then, but for those of the
// control database. The caller closes it.
func (f *targetFlags) open(ctx context.Context, std *IO, path string, sketch bool) (_ *target, err error) {
	t := &target{}
	defer func() {
		if err != nil && t.db != nil {
			t.db.Close()
		}
	}()
	if path != "" {
		if err := t.load(path, std, sketch); err != nil {
			return nil, err
		}
		if t.db, t.j, err = openJournal(ctx, t.rb); err != nil {
			return nil, err
		}
		t.run, err = findRun(ctx, t.j, t.rb, f.run)
		return t, err
	}
	if t.db, err = postgres.Open(ctx, "control", f.control); err != nil {
		return nil, err
	}
	t.j = postgres.NewJournal(t.db)
	if t.run, err = f.find(ctx, t.j); err != nil {
		return nil, err
	}
	if t.rb, t.profile, err = steps.KeptUpgrade(ctx, t.j, t.run.ID, std.Env, sketch); err != nil {
		return nil, keptError(err)
	}
	t.rb.Control.DSN = f.control
	if err := plan.Fit(t.rb, t.profile); err != nil {
		return nil, usageError{err}
	}
	t.profile = t.profile.ForRunbook(t.rb)
	return t, nil
}

// keptError tells mistakes of a text from those of a database.
func keptError(err error) error {
	if errors.As(err, new(plan.Errors)) || errors.As(err, new(*plan.Error)) {
		return usageError{err}
	}
	return err
}

func (t *target) load(path string, std *IO, sketch bool) (err error) {
	if t.rb, t.profile, err = loadRunbook(path, std.Env); err == nil || !sketch {
		return err
	}
	rb, sketchErr := plan.LoadSketch(path, std.Env)
	if sketchErr != nil {
		return err
	}
	dsn := rb.Control.DSN
	if dsn == "" {
		dsn = rb.Blue.DSN
	}
	if plan.Unset(dsn) != "" {
		return err
	}
	profile, profileErr := plan.LoadProfile(rb.Profile, filepath.Dir(path))
	if profileErr != nil {
		return err
	}
	t.rb, t.profile = rb, profile.ForRunbook(rb)
	return nil
}

// find is the run that --run names, or the newest.
func (f *targetFlags) find(ctx context.Context, j *postgres.Journal) (postgres.Run, error) {
	if f.run != "" {
		run, err := j.Find(ctx, f.run)
		if errors.Is(err, postgres.ErrNoRun) {
			err = &noSuchRunError{err}
		}
		return run, err
	}
	runs, err := j.Runs(ctx)
	if err != nil {
		return postgres.Run{}, err
	}
	if len(runs) == 0 {
		return postgres.Run{}, &noSuchRunError{postgres.ErrNoRun}
	}
	return runs[0], nil
}

// noSuchRunError is a control database without the run.
type noSuchRunError struct{ err error }

func (e *noSuchRunError) Error() string { return e.err.Error() }
func (e *noSuchRunError) Unwrap() error { return e.err }
func (e *noSuchRunError) Hint() string {
	return "\"tideover runs --control DSN\" lists the runs of a control database"
}

// state folds the stored events of the run.
func (t *target) state(ctx context.Context) (journal.State, error) {
	return stateOf(ctx, t.j, t.run.ID)
}
