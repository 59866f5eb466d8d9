package replay

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tideover/tideover/internal/lab/mutant"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/postgres"
)

// each plays histories from a seed on, until one says stop or the test ends. There is an arena more than there are
// processors, since a player waits for its answers.
func each(t *testing.T, source string, first, count uint64, play func(a *arena, seed uint64) (goOn bool)) {
	t.Helper()
	var next atomic.Uint64
	var stopped atomic.Bool
	var players sync.WaitGroup
	for range min(uint64(runtime.GOMAXPROCS(0)+1), count) {
		a := newArena(t, source)
		players.Go(func() {
			for !stopped.Load() && t.Context().Err() == nil {
				n := next.Add(1) - 1
				if n >= count || !play(a, first+n) {
					stopped.Store(true)
				}
			}
		})
	}
	players.Wait()
}

// naiveFenceSQL keeps the fence's state in a row. A writer with an old snapshot reads the row of its snapshot.
const naiveFenceSQL = `
CREATE TABLE IF NOT EXISTS tideover.naive (until bigint);
TRUNCATE tideover.naive;
INSERT INTO tideover.naive VALUES (0);
CREATE OR REPLACE FUNCTION tideover.refuse_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
BEGIN
	IF (SELECT until FROM tideover.naive) <> 0 AND ` + passed + ` IS NOT TRUE THEN
		RAISE EXCEPTION 'writes have moved' USING ERRCODE = 'TD001';
	END IF;
	RETURN NULL;
END $$`

// bound is how many histories a mistake may survive.
const bound = 100

// mutants are mistakes in the mechanism. The last, a fence that reads a row, is made in the database.
var mutants = []mutant.Mutant{
	{Name: "a watermark instead of claims", Edits: []mutant.Edit{
		{File: "replay.go", Old: "	prepared bool\n", New: "	prepared bool\n	scanned  int64\n"},
		{File: "claim.go", Old: "	var head []string\n	err = alongTheIndex", New: `	found, err = changes(ctx, tx, WatermarkSQL, r.scanned)
	r.scanned = max(r.scanned, Newest(found))
	if true {
		return found, 0, err
	}
	var head []string
	err = alongTheIndex`},
	}},
	{Name: "no closure", Edits: []mutant.Edit{
		{File: "closure.go", Old: "	fresh := make(map[string][]tuple)\n	for table, set", New: "	if true {\n		return found, nil\n	}\n	fresh := make(map[string][]tuple)\n	for table, set"},
		{File: "closure.go", Old: "	for _, e := range r.loose {\n", New: "	if true {\n		return found, nil\n	}\n	for _, e := range r.loose {\n"},
	}},
	{Name: "no ledger", Edits: []mutant.Edit{
		{File: "batch.go", Old: "	if err := r.readEpoch(ctx)", New: "	if true {\n		return nil\n	}\n	if err := r.readEpoch(ctx)"},
		{File: "merge.go", Old: "return a, enter(ctx, tx, r.epoch, ids(d.changes))", New: "return a, nil"},
	}},
	{Name: "merge by one key only", Edits: []mutant.Edit{
		{File: "merge.go", Old: "if err := r.replace(ctx, tx, stages, d);", New: "if err := error(nil);"},
	}},
	{Name: "collapse keeps the first change", Edits: []mutant.Edit{
		{File: "claim.go", Old: "			seeds = append(seeds, s)\n		}\n", New: "			seeds = append(seeds, s)\n		} else {\n			continue\n		}\n"},
	}},
	{Name: "revocations are not applied", Edits: []mutant.Edit{
		{File: "batch.go", Old: "r.apply(ctx, tx, claimed, true)", New: "r.apply(ctx, tx, WithoutRevoked(claimed), true)"},
		{File: "reverse.go", Old: "revoke(ctx, tx, all, func", New: "revoke(ctx, tx, nil, func"},
	}},
	{Name: "on_delete is forgotten", Edits: []mutant.Edit{
		{File: "merge.go", Old: "r.removeByStatement(ctx, tx, gone.statements)", New: "r.removeByStatement(ctx, tx, gone.statements[:0])"},
	}},
	{Name: naiveFence},
}

const naiveFence = "the fence reads a row"

// mutantOf is the mutant of a name, with crash points.
func mutantOf(t testing.TB, name string) mutant.Mutant {
	t.Helper()
	i := slices.IndexFunc(mutants, func(m mutant.Mutant) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("there is no mutant %q", name)
	}
	return mutants[i].With(crashPoints)
}

// WatermarkSQL claims what is above the highest transaction seen: the mistake that a claim is not.
const WatermarkSQL = `
SELECT id, ctid::text, txid::text, table_name, op, coalesce(kind, ''), key, kept
FROM tideover.change c WHERE c.txid > $1::bigint::text::xid8 ORDER BY c.txid, id`

// Newest is the highest transaction among changes.
func Newest(all []change) (newest int64) {
	for _, c := range all {
		if txid, err := strconv.ParseInt(c.txid, 10, 64); err == nil {
			newest = max(newest, txid)
		}
	}
	return newest
}

// WithoutRevoked leaves out what was revoked.
func WithoutRevoked(all []change) []change {
	return slices.DeleteFunc(slices.Clone(all), func(c change) bool { return c.kind == "revoked" })
}

// A change of the source that leaves a mutant behind shows at once, not only where histories are played.
func TestMutantsFitTheSource(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		if _, err := mutantOf(t, m.Name).Files("."); err != nil {
			t.Error(err)
		}
	}
	for _, m := range carryMutants {
		if _, err := m.Files("."); err != nil {
			t.Error(err)
		}
	}
	for _, m := range lineageMutants {
		if _, err := m.Files("."); err != nil {
			t.Error(err)
		}
	}
}

// A mistake in the mechanism that no history shows would mean that histories prove nothing about it.
func TestMutationsAreCaught(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	played := mutants
	if !mutant.Inside() {
		played = slice.Pick(t, 2, mutants)
	}
	for _, m := range played {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			if variants.In(t, mutantOf(t, m.Name)) {
				caught(t, m.Name)
			}
		})
	}
}

// caught plays histories until one shows a finding. It fails the test where none does, and where what they show is that
// the mutant is none: its own SQL is wrong.
func caught(t *testing.T, name string) {
	t.Helper()
	fenceSQL := ""
	if name == naiveFence {
		fenceSQL = naiveFenceSQL
	}
	var shown atomic.Bool
	var played atomic.Int64
	each(t, triggers, 0, bound, func(a *arena, seed uint64) bool {
		played.Add(1)
		finding := a.play(t.Context(), seed, fenceSQL)
		if errors.As(finding, new(trouble)) && !errors.Is(finding, context.Canceled) {
			t.Errorf("history -seed %d: %v", seed, finding)
			return false
		}
		if strings.HasPrefix(postgres.Code(finding), "42") {
			t.Errorf("history -seed %d: the mutant's own SQL is wrong: %v", seed, finding)
			return false
		}
		if finding != nil {
			shown.Store(true)
			t.Logf("caught by history %d, after %d: %.300s", seed, played.Load(), finding.Error())
		}
		return finding == nil
	})
	if !shown.Load() && !t.Failed() {
		t.Errorf("%d histories did not notice", played.Load())
	}
}
