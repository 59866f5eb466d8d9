package steps

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

const (
	waitsEvery   = time.Second
	waitsTimeout = 2 * time.Second // one question to one database
	waitsKnown   = 1000            // pairs that are remembered
)

// waits notes whom our sessions wait for. A wait is told once, when a second look sees it too: most are over before that, and those
// of the lock budget come and go in attempts of less than a second.
type waits struct {
	r    *Runner
	dbs  []*postgres.DB
	seen map[string]int // looks, by who waits for whom
}

func newWaits(r *Runner, dbs ...*postgres.DB) *waits {
	return &waits{r: r, dbs: dbs, seen: map[string]int{}}
}

// watch looks until ctx ends.
func (w *waits) watch(ctx context.Context) {
	ticker := time.NewTicker(waitsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.look(ctx)
		}
	}
}

// look asks each database once. What can't be asked is asked again.
func (w *waits) look(ctx context.Context) {
	state := w.r.State()
	st, ok := state.Current()
	if !ok || st.Kind == string(plan.Migrate) { // migrations name their blockers themselves
		return
	}
	for _, db := range w.dbs {
		asking, cancel := context.WithTimeout(ctx, waitsTimeout)
		found, err := db.Waits(asking)
		cancel()
		if err != nil {
			continue
		}
		for _, wait := range found {
			if strings.HasPrefix(wait.For.Application, "tideover/") {
				continue // one of ours, which waits itself or is at work
			}
			key := fmt.Sprintf("%s %s %d %d", db.Name(), wait.Application, wait.For.PID, wait.For.Since.UnixMicro())
			if len(w.seen) >= waitsKnown {
				clear(w.seen)
			}
			if w.seen[key]++; w.seen[key] != 2 {
				continue
			}
			storing, cancel := context.WithTimeout(ctx, waitsTimeout)
			_ = w.r.rec.append(storing, st.ID, journal.StepNote, journal.NoteData{Level: "warn", About: journal.AboutWait,
				Text: fmt.Sprintf("%s waits for a lock on %s, for %s", strings.TrimPrefix(wait.Application, "tideover/"), db.Name(), wait.For)}) // nobody's run stops for it
			cancel()
		}
	}
}
