package cmd

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// loadRunbook reads a runbook with its profile, and sees whether the two go together.
func loadRunbook(path string, env func(string) (string, bool)) (*plan.Runbook, *plan.Profile, error) {
	rb, err := plan.LoadRunbook(path, env)
	if err != nil {
		return nil, nil, usageError{err}
	}
	profile, err := plan.LoadProfile(rb.Profile, filepath.Dir(path))
	if err != nil {
		return nil, nil, usageError{err}
	}
	if err := plan.Fit(rb, profile); err != nil {
		return nil, nil, usageError{err}
	}
	return rb, profile.ForRunbook(rb), nil
}

// openJournal connects to the control database of a runbook. The caller closes it.
func openJournal(ctx context.Context, rb *plan.Runbook) (*postgres.DB, *postgres.Journal, error) {
	dsn := rb.Control.DSN
	if dsn == "" {
		dsn = rb.Blue.DSN
	}
	db, err := postgres.Open(ctx, "control", dsn)
	if err != nil {
		return nil, nil, err
	}
	return db, postgres.NewJournal(db), nil
}

// findRun returns the run that a person means: the one named by --run, or the newest of the runbook.
func findRun(ctx context.Context, j *postgres.Journal, rb *plan.Runbook, id string) (postgres.Run, error) {
	var run postgres.Run
	var err error
	if id != "" {
		run, err = j.Find(ctx, id)
	} else {
		run, err = j.Latest(ctx, rb.Name)
	}
	if errors.Is(err, postgres.ErrNoRun) {
		return run, &noRunError{runbook: rb.Path, err: err}
	}
	return run, err
}

type noRunError struct {
	runbook string
	err     error
}

func (e *noRunError) Error() string { return e.err.Error() }
func (e *noRunError) Unwrap() error { return e.err }
func (e *noRunError) Hint() string {
	return "begin one with \"tideover run " + e.runbook + "\""
}

// stateOf folds the stored events of a run.
func stateOf(ctx context.Context, j *postgres.Journal, run string) (journal.State, error) {
	events, err := j.Load(ctx, run, 0)
	if err != nil {
		return journal.State{}, err
	}
	return journal.Fold(events)
}

// runFlags are the flags that run, resume and rollback share.
type runFlags struct {
	json  bool
	noTUI bool
	targetFlags
	observeFlags
}

func (f *runFlags) add(c *cobra.Command, withRun bool) {
	c.Flags().BoolVar(&f.json, "json", false, "one event per line on stdout, the last one the report")
	c.Flags().BoolVar(&f.noTUI, "no-tui", false, "plain lines even on a terminal")
	if withRun {
		f.targetFlags.add(c)
	}
}
