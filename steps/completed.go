package steps

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// CompletedError refuses to begin a runbook anew whose last run was completed: green serves, and is no place to copy to.
type CompletedError struct {
	Run    postgres.Run
	Serves string // what was asked of the routers now
}

func (e *CompletedError) Error() string {
	return fmt.Sprintf("runbook %q was completed by run %q at %s; %s", e.Run.Name, e.Run.ID, e.Run.Ended.UTC().Format(time.DateTime+" UTC"), e.Serves)
}

// Hint says what to do.
func (e *CompletedError) Hint() string {
	return fmt.Sprintf("nothing is left to do: \"tideover status %s\" says what is so; the next upgrade is a runbook with a name of its own, whose blue is what serves now", e.Run.Runbook)
}

// ExitCode is 2: the command can't be meant, and nothing was touched.
func (e *CompletedError) ExitCode() int { return 2 }

// notCompleted looks whether the runbook's last run was completed.
func (e *Env) notCompleted(ctx context.Context, j *postgres.Journal) error {
	last, err := j.Latest(ctx, e.Runbook.Name)
	if errors.Is(err, postgres.ErrNoRun) {
		return nil
	}
	if err != nil || last.Outcome != journal.RunCompleted {
		return err
	}
	return &CompletedError{Run: last, Serves: e.servesNow(ctx)}
}

// servesNow asks the routers.
func (e *Env) servesNow(ctx context.Context) string {
	if e.Runbook.InPlace() {
		return "blue serves, upgraded in place"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var sides []plan.Side
	for _, r := range e.routers() {
		st, err := r.State(ctx)
		if err != nil {
			return fmt.Sprintf("who serves now is unknown: %v", err)
		}
		sides = append(sides, st.Side)
	}
	if len(sides) == 0 {
		return "who serves now is unknown: the runbook names no router"
	}
	for _, side := range sides[1:] {
		if side != sides[0] {
			return "its routers disagree who serves: " + strings.Join(strings.Fields(fmt.Sprint(sides)), " ")
		}
	}
	return fmt.Sprintf("%s serves", sides[0])
}
