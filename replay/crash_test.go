package replay

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tideover/tideover/internal/lab/mutant"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
)

var errCrash = errors.New("the process died here")

// crashPoints lets a context's [points] have a say at the points where a crash hurts most, and gives databases for deltas
// in place of new ones. Tests that need it play in a test binary that has it: see [withCrashPoints].
var crashPoints = mutant.Mutant{Name: "crash points", Edits: []mutant.Edit{
	before("read", "err", "enqueue.go", "	tag, err := r.tx.Exec(ctx, `UPDATE tideover.stream"),
	{File: "enqueue.go", Old: "	r.reached(r.end)\n	return nil", New: "	r.reached(r.end)\n	return Reach(ctx, \"stored\")"},
	{File: "outbox.go", Old: "		_, err := tx.Exec(ctx, move)\n", New: "		_, err := tx.Exec(ctx, move)\n" + unlessFailed("read")},
	{File: "outbox.go", Old: "	return o.wrap(err)\n}\n\n// Refused", New: unlessFailed("stored") + "	return o.wrap(err)\n}\n\n// Refused"},
	before("loaded", "err", "batch.go", "	return r.migrate(ctx, conn, dsn, d)"),
	{File: "batch.go", Old: "	return r.leftQuarantine(ctx, conn, d)", New: "	err := r.leftQuarantine(ctx, conn, d)\n" + unlessFailed("migrated") + "	return err"},
	before("staged", "a, err", "merge.go", "	if err := r.replace(ctx, tx, stages, d)"),
	before("merged", "err", "batch.go", "		if !commit {"),
	before("committed", "Applied{}, truncated, err", "batch.go", "	if err := r.mark(ctx, claimed)"),
	{File: "batch.go", Old: "	return a, truncated, nil", New: "	return a, truncated, Reach(ctx, \"marked\")"},
	{File: "reverse.go", Old: "		return enter(ctx, tx, epoch, ids(claimed))", New: "		err := enter(ctx, tx, epoch, ids(claimed))\n" + unlessFailed("merged") + "		return err"},
	before("committed", "Applied{}, err", "reverse.go", "	a.Changes = int64(len(claimed))"),

	{File: "scratch.go", Old: "	s.template = s.name()\n", New: "	if ScratchOf(ctx) != nil {\n		return nil\n	}\n	s.template = s.name()\n"},
	{File: "scratch.go", Old: "	if s.ready == \"\" {\n		if err := s.create(ctx); err != nil {\n			return err\n",
		New: "	if s.ready == \"\" && ScratchOf(ctx) == nil {\n		if err := s.create(ctx); err != nil {\n			return err\n"},
	{File: "scratch.go", Old: "	if s.ready == \"\" {\n		if err := s.create(ctx); err != nil {\n			return \"\", err\n",
		New: "	if given := ScratchOf(ctx); given != nil {\n		return given(ctx)\n	}\n	if s.ready == \"\" {\n		if err := s.create(ctx); err != nil {\n			return \"\", err\n"},
}}

// before puts a point in front of a line, in a function that gives results where it fails.
func before(point, results, file, line string) mutant.Edit {
	return mutant.Edit{File: file, Old: line, New: fmt.Sprintf("	if err := Reach(ctx, %q); err != nil {\n		return %s\n	}\n%s", point, results, line)}
}

// unlessFailed is a point that is reached where err is nil.
func unlessFailed(point string) string {
	return fmt.Sprintf("	if err == nil {\n		err = Reach(ctx, %q)\n	}\n", point)
}

// points are what a context brings to the code that crashPoints changes.
type points struct {
	at      func(point string) error
	scratch func(ctx context.Context) (dsn string, err error)
}

type pointsKey struct{}

func (p points) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, pointsKey{}, p)
}

// Reach is called at each point.
func Reach(ctx context.Context, point string) error {
	if p, ok := ctx.Value(pointsKey{}).(points); ok && p.at != nil {
		return p.at(point)
	}
	return nil
}

// ScratchOf gives databases of blue's empty schema quickly. nil: the replayer makes its own.
func ScratchOf(ctx context.Context) func(context.Context) (string, error) {
	p, _ := ctx.Value(pointsKey{}).(points)
	return p.scratch
}

// at is a context whose points are told to f.
func at(ctx context.Context, f func(point string) error) context.Context {
	return points{at: f}.in(ctx)
}

var variants = mutant.Tests{Environment: func(t testing.TB) []string {
	return []string{"TIDEOVER_TEST_DSN_TEST=" + pgtest.Shared(t).DSN()}
}}

// withCrashPoints reports whether this process has crash points. Where it is false, the test has been played in one that
// has them.
func withCrashPoints(t *testing.T) bool {
	t.Helper()
	return variants.In(t, crashPoints)
}
