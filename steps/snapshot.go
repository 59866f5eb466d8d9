package steps

import (
	"context"
	"fmt"
	"sync"

	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

// snapshotStep copies blue into green from one snapshot. A crash leaves whole tables and their checkpoints: the rest is
// copied from a new snapshot, which is right only because capture was on before, so that replay evens out the two.
type snapshotStep struct {
	base
	env  *Env
	spec *plan.SnapshotSpec
}

const copiedKey = "copied"

// Done can't tell a whole copy from a half: the checkpoints can, and Run goes by them.
func (s *snapshotStep) Done(context.Context) (bool, error) { return false, nil }

// Run copies what no checkpoint names yet.
func (s *snapshotStep) Run(ctx context.Context, p *Progress) error {
	copied := map[string]int64{}
	resumed, err := p.Load(copiedKey, &copied)
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
		if err := p.Checkpoint(ctx, copiedKey, copied); err != nil {
			return err
		}
	}
	done := make(map[string]bool, len(copied))
	for table := range copied {
		done[table] = true
	}
	var mu sync.Mutex
	rows, err := snapshot.Copy(ctx, snapshot.Options{
		Blue: s.env.Blue, Green: s.env.Green, Profile: s.env.Profile, Jobs: s.spec.Jobs, Done: done,
		Progress: func(done, total int64, note string) { p.Report(done, total, "bytes", note) },
		TableDone: func(ctx context.Context, table string, rows int64) error {
			mu.Lock()
			defer mu.Unlock()
			copied[table] = rows
			return p.Checkpoint(ctx, copiedKey, copied)
		},
	})
	if err != nil {
		return err
	}
	_ = rows // of this attempt alone; the checkpoints know them all
	var total int64
	for _, n := range copied {
		total += n
	}
	return p.Figure(ctx, "rows.copied", total)
}

// Undo empties green, unless green has served: then it is evidence, and stays. A green that this run refused because it
// was not empty is not ours, and is left alone.
func (s *snapshotStep) Undo(ctx context.Context, p *Progress) error {
	if s.env.pastPointOfNoReturn() {
		return p.Note(ctx, "info", "green is kept as it is: it has served")
	}
	var copied map[string]int64
	if ours, err := p.Load(copiedKey, &copied); err != nil || !ours {
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
	return "green must be an empty database: create a new one and name it under green.dsn, or drop what is there"
}
