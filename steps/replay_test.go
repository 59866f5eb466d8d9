package steps

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tideover/tideover/replay"
)

// TestSteady: a lull is not enough, and a look at a large backlog starts the time again.
func TestSteady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		small := func(lag replay.Lag) bool { return lag.Changes <= 10 }
		if !steady(0, small)(replay.Lag{Changes: 10}) {
			t.Error("without a time, one look at a small backlog is not enough")
		}
		done := steady(3*time.Second, small)
		for i, c := range []struct {
			after   time.Duration // since the look before
			changes int64
			want    bool
		}{{0, 0, false}, {2 * time.Second, 5, false}, {500 * time.Millisecond, 11, false},
			{2 * time.Second, 5, false}, {2 * time.Second, 5, false}, {time.Second, 5, true}} {
			time.Sleep(c.after) // of a synctest bubble
			if got := done(replay.Lag{Changes: c.changes}); got != c.want {
				t.Errorf("look %d: %v", i, got)
			}
		}
	})
}
