package steps

import (
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/look"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/report"
)

// ruinous is advice that costs a side that serves, or has served, its data. Words that say that it is to be left alone are not.
var ruinous = regexp.MustCompile(`(?i)\b(empty|drop|recreate|re-create|truncate|clear|wipe|delete|create (a new|another))\b`)

// Whatever a run's state is, nothing that we say has somebody empty, drop or make anew a side: at 4 a.m. it would be done.
func TestNoHintRuinsASide(t *testing.T) {
	t.Parallel()
	said := 0
	hold := func(where, text string) {
		t.Helper()
		if text != "" {
			said++
		}
		if bad := ruinous.FindString(text); bad != "" {
			t.Errorf("%s says %q: %s", where, bad, text)
		}
	}
	run := postgres.Run{ID: "r", Name: "n", Runbook: "n.yaml", Ended: time.Unix(0, 0)}
	for _, phase := range journal.Phases() {
		for _, past := range []bool{false, true} {
			s := journal.State{Run: "r", Name: "n", Runbook: "n.yaml", Seq: 3, Phase: phase, PastPointOfNoReturn: past || phase.PastPointOfNoReturn(),
				Steps: []journal.StepState{
					{StepRef: journal.StepRef{ID: "snapshot", Undoable: true}, Status: journal.StepIsFinished},
					{StepRef: journal.StepRef{ID: "cutover", Undoable: true}, Status: journal.StepIsRunning},
					{StepRef: journal.StepRef{ID: "retire"}, Status: journal.StepIsPending},
				}}
			if phase.IsWaiting() {
				s.Gate = &journal.Gate{Step: "retire"}
			}
			for _, oneWay := range []bool{false, true} {
				if oneWay {
					s.Steps[2].Status = journal.StepIsRunning
				}
				where := fmt.Sprintf("%s, past %t, one way %t", phase, past, oneWay)
				hold(where, report.Standing(&s))
				hold(where, report.Next(&s, nil))
				hold(where, report.Next(&s, &journal.Holder{}))
				for _, held := range []bool{false, true} {
					for _, w := range look.Ways(&s, held, "n.yaml", time.Second) {
						hold(where, w.Command+"; "+w.Does+"; "+w.Costs)
					}
				}
				for _, cause := range []error{
					errors.New("x"), &greenNotEmptyError{"green"}, &parkedError{[]string{"c"}}, &verifyError{[]string{"d"}}, &guardError{"x", restartGreen},
				} {
					hold(where, (&StoppedError{Run: "r", Step: "cutover", Past: s.PastPointOfNoReturn, Next: "tideover resume n.yaml", Back: "tideover rollback n.yaml", Err: cause}).Hint())
				}
			}
		}
	}
	for _, err := range []interface{ Hint() string }{
		&CompletedError{Run: run, Serves: "green serves"}, &PastError{"r"}, &NoWayBackError{"r", "s"}, &ChangedError{What: "runbook"}, &ChangedError{What: "profile", Kept: true},
		&postgres.ActiveError{Run: run}, &NotKeptError{}, &NotKeptError{Blanked: true}, &journal.HeldError{},
	} {
		hold(fmt.Sprintf("%T", err), err.Hint())
	}
	if said < 200 {
		t.Errorf("only %d texts were held against it", said)
	}
}
