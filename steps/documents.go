package steps

import (
	"context"
	"fmt"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// documents are the texts that the journal keeps of an upgrade.
func (u *Upgrade) documents() []postgres.Document {
	return []postgres.Document{
		{Kind: postgres.RunbookDocument, Name: u.Runbook.Path, Text: u.Runbook.Kept.Text, Blanked: u.Runbook.Kept.Blanked},
		{Kind: postgres.ProfileDocument, Name: u.Runbook.Profile, Text: u.Profile.Kept.Text, Blanked: u.Profile.Kept.Blanked},
	}
}

// contentIn is what the texts that the journal keeps of a run say, as this program reads them: another version may have other
// defaults. Empty where they are not kept.
func contentIn(ctx context.Context, j *postgres.Journal, run string) (Content, error) {
	var c Content
	d, ok, err := j.Document(ctx, run, postgres.RunbookDocument)
	if err != nil {
		return c, err
	}
	if ok {
		if rb, err := plan.SketchRunbook(d.Name, []byte(d.Text), nothingSet); err == nil {
			c.Runbook = rb.Content
		}
	}
	if d, ok, err = j.Document(ctx, run, postgres.ProfileDocument); err != nil {
		return c, err
	}
	if ok {
		if p, err := plan.ParseProfile(d.Name, []byte(d.Text)); err == nil {
			c.Profile = p.Content
		}
	}
	return c, nil
}

func nothingSet(string) (string, bool) { return "", false }

// KeptUpgrade is the runbook and profile that a run was started with, out of its journal. With sketch, variables that are not set
// are no mistake (plan.SketchRunbook), and passwords that the journal has not kept are not needed. The error is a
// [*NotKeptError] where the journal has them not, or not whole.
func KeptUpgrade(ctx context.Context, j *postgres.Journal, run string, env func(string) (string, bool), sketch bool) (*plan.Runbook, *plan.Profile, error) {
	d, ok, err := j.Document(ctx, run, postgres.RunbookDocument)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, &NotKeptError{Run: run}
	}
	parse := plan.ParseRunbook
	if sketch {
		parse = plan.SketchRunbook
	} else if d.Blanked {
		return nil, nil, &NotKeptError{Run: run, Blanked: true}
	}
	rb, err := parse(d.Name, []byte(d.Text), env)
	if err != nil {
		return nil, nil, err
	}
	rb.Path = d.Name
	if d, ok, err = j.Document(ctx, run, postgres.ProfileDocument); err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, &NotKeptError{Run: run}
	}
	profile, err := plan.ParseProfile(d.Name, []byte(d.Text))
	return rb, profile, err
}

// NotKeptError says that a journal does not have what a run was started with.
type NotKeptError struct {
	Run     string
	Blanked bool // it has them without the passwords that stood in the file
}

func (e *NotKeptError) Error() string {
	if e.Blanked {
		return fmt.Sprintf("the journal has the runbook of run %q without the passwords that stood in the file", e.Run)
	}
	return fmt.Sprintf("the journal has no runbook of run %q", e.Run)
}

// Hint says what to do.
func (e *NotKeptError) Hint() string {
	if e.Blanked {
		return "name the runbook's file; passwords that come from the environment (${NAME}) need none"
	}
	return "name the runbook's file: the run was begun by an older tideover, or the file could not be kept without a password in it"
}
