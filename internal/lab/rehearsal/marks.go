package rehearsal

import (
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/traffic"
)

// nobodyServes marks the time of a switch in which no side may take a write. It is exact in the process that switches: an
// event is shown before what it announces begins. From outside it may come too late.
func nobodyServes(mark func(string)) journal.Sink {
	return func(e journal.Event) {
		switch e.Kind {
		case journal.CutoverReplaying: // the fence is up
			mark(traffic.MarkFenced)
		case journal.CutoverCommitting:
			mark(traffic.MarkCommit)
		case journal.CutoverAborting: // blue may serve again before it is said
			mark(traffic.MarkUnfenced)
		}
	}
}

// Marks puts a run's deployments into a traffic's history: the checker asks what was done while replay or the hold was on,
// and what was asked after the release. name gives a step's mark from its id. The events may come from several
// processes, one after the other, as after a crash.
func Marks(mark func(string), name func(step string) string) journal.Sink {
	green, back := false, false // serves; the way back is being taken
	return func(e journal.Event) {
		switch e.Kind {
		case journal.StepStarted:
			mark(name(e.Step))
		case journal.CutoverHolding:
			mark(traffic.MarkHold)
		case journal.CutoverReleased:
			mark(traffic.MarkReleased)
			green, back = true, false
		case journal.CutoverAborting:
			if green {
				mark(traffic.MarkHold)
				back = true
			}
		case journal.CutoverAborted:
			if green {
				mark(traffic.MarkRollback)
			} else {
				mark(traffic.MarkAborted)
			}
			green, back = false, false
		case journal.RunStopped:
			if back { // green may go on
				mark(traffic.MarkReleased)
				back = false
			}
		case journal.RunAborted, journal.RunRolledBack:
			mark(traffic.MarkRollback)
			green, back = false, false
		}
	}
}
