package replay

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
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
	IF (SELECT until FROM tideover.naive) <> 0 AND current_setting('tideover.pass', true) IS DISTINCT FROM 'on' THEN
		RAISE EXCEPTION 'writes have moved' USING ERRCODE = 'TD001';
	END IF;
	RETURN NULL;
END $$`

// bound is how many histories a mistake may survive.
const bound = 100

// A mistake in the mechanism that no history shows would mean that histories prove nothing about it.
func TestMutationsAreCaught(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, m := range []mutation{
		{name: "a watermark instead of claims", hooks: hooks{watermark: true}},
		{name: "no closure", hooks: hooks{noClosure: true}},
		{name: "no ledger", hooks: hooks{noLedger: true}},
		{name: "merge by one key only", hooks: hooks{matchOnly: true}},
		{name: "collapse keeps the first change", hooks: hooks{firstChange: true}},
		{name: "revocations are not applied", hooks: hooks{noRevocations: true}},
		{name: "the fence reads a row", naiveFence: true},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var caught atomic.Bool
			var played atomic.Int64
			each(t, triggers, 0, bound, func(a *arena, seed uint64) bool {
				played.Add(1)
				finding := a.play(t.Context(), seed, m)
				if errors.As(finding, new(trouble)) && !errors.Is(finding, context.Canceled) {
					t.Errorf("history -seed %d: %v", seed, finding)
					return false
				}
				if strings.HasPrefix(postgres.Code(finding), "42") {
					t.Errorf("history -seed %d: the mutant's own SQL is wrong: %v", seed, finding)
					return false
				}
				if finding != nil {
					caught.Store(true)
					t.Logf("caught by history %d, after %d: %.300s", seed, played.Load(), finding.Error())
				}
				return finding == nil
			})
			if !caught.Load() && !t.Failed() {
				t.Errorf("%d histories did not notice", played.Load())
			}
		})
	}
}
