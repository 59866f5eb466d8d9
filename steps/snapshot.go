package steps

import (
	"context"
	"fmt"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

var snapshotKind = kindOf(plan.Snapshot,
	func(b base, env *Env, c *plan.SnapshotSpec) Step { return &snapshotStep{base: b, env: env, spec: c} },
	func(c *plan.SnapshotSpec) (does, undo string) {
		return fmt.Sprintf("copies blue into green from one snapshot, %d tables at a time", c.Jobs), "green emptied"
	})

// snapshotStep copies blue into green from one snapshot. A crash leaves whole tables and their checkpoints: the rest is
// copied from a new snapshot, which is right only because capture was on before, so that replay evens out the two.
type snapshotStep struct {
	base
	env  *Env
	spec *plan.SnapshotSpec
}

// copiedKey is the checkpoint that green's content is ours; with a part's name behind it, that the part is copied.
const copiedKey = "copied"

// Done can't tell a whole copy from a half: the checkpoints can, and Run goes by them.
func (s *snapshotStep) Done(context.Context) (bool, error) { return false, nil }

// Run copies what green itself does not record as copied yet.
func (s *snapshotStep) Run(ctx context.Context, p *Progress) error {
	var begun bool
	resumed, err := p.Load(copiedKey, &begun)
	if err != nil {
		return err
	}
	if !resumed {
		empty, err := snapshot.Empty(ctx, s.env.Green)
		if err != nil {
			return err
		}
		if !empty {
			return &greenNotEmptyError{s.env.Green.String()}
		}
		// From here on green's content is ours, and a crash may leave half of it behind.
		if err := p.Checkpoint(ctx, copiedKey, true); err != nil {
			return err
		}
	}
	if err := s.env.drift().Record(ctx, s.env.budget()); err != nil {
		return err
	}
	pace := paceOf(s.spec)
	pace.Pass, pace.Rate = p.Pass, p.Rate
	result, err := snapshot.Copy(ctx, snapshot.Options{
		Blue: s.env.Blue, Green: s.env.Green, Profile: s.env.Profile, Jobs: s.spec.Jobs, Privileges: s.spec.Privileges, Triggers: s.triggers(),
		Pace:     pace,
		Progress: func(c snapshot.Progress) { p.show(copyProgress(c)) },
		PartDone: func(ctx context.Context, part string, rows int64) error {
			return p.Checkpoint(ctx, copiedKey+" "+part, rows)
		},
	})
	if err != nil {
		return err
	}
	if l, ok := s.env.source().(*replay.Logical); ok { // the copy has what blue's tables log now for our sake
		if err := l.RestoreIdentities(ctx, s.env.Green, s.env.budget()); err != nil {
			return err
		}
	}
	return p.Figure(ctx, "rows.copied", result.Total)
}

// triggers says whether triggers record the changes of the profile's tables.
func (s *snapshotStep) triggers() bool {
	_, ok := s.env.source().(*replay.Capture)
	return ok && s.env.Runbook.Step(plan.Capture) != nil
}

// copyProgress is how far a copy is, as events say it.
func copyProgress(c snapshot.Progress) journal.ProgressData {
	d := journal.ProgressData{Done: c.Done, Total: c.Total, Unit: "bytes", Note: c.Note, Rows: c.Rows, LeftS: int64(c.Left.Seconds())}
	for _, t := range c.Tables {
		d.Parts = append(d.Parts, journal.PartProgress{Name: t.Table, Done: t.Done, Total: t.Total, Rows: t.Rows, LeftS: int64(t.Left.Seconds())})
	}
	return d
}

// Undo empties green, unless green has served: then it is evidence, and stays. A green that this run refused because it
// was not empty is not ours, and is left alone.
func (s *snapshotStep) Undo(ctx context.Context, p *Progress) error {
	if s.env.pastPointOfNoReturn() {
		return p.Note(ctx, "info", "green is kept as it is: it has served")
	}
	var begun bool
	if ours, err := p.Load(copiedKey, &begun); err != nil || !ours {
		return err
	}
	return snapshot.Clear(ctx, s.env.Green, s.env.Profile.Schema)
}

// greenNotEmptyError is a green that holds somebody's tables.
type greenNotEmptyError struct{ green string }

func (e *greenNotEmptyError) Error() string {
	return fmt.Sprintf("%s is not empty: it has tables that this run did not make", e.green)
}

func (e *greenNotEmptyError) Hint() string {
	return "name a database under green.dsn that has nothing in it; leave this one as it is where a server uses it, or ever has"
}

// paceOf is how much of blue a runbook lets the copy take.
func paceOf(spec *plan.SnapshotSpec) snapshot.Pace {
	return snapshot.Pace{MaxRate: int64(spec.MaxRate) * 1_000_000, MaxLag: spec.MaxLag, MaxActive: spec.MaxActive}
}
