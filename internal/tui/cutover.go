package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

// stage is a part of the switch as the screen names it.
type stage struct {
	kind journal.Kind
	word string
}

// stages lists the switch in order; its event is stored before the thing is done.
func stages() []stage {
	return []stage{
		{journal.CutoverPreparing, "prepare"}, {journal.CutoverHolding, "hold"}, {journal.CutoverFencing, "fence"},
		{journal.CutoverReplaying, "replay"}, {journal.CutoverVerifying, "verify"}, {journal.CutoverCommitting, "commit"},
		{journal.CutoverSwitched, "release"},
	}
}

// cutoverLines shows the switch while it is on: how far it is, and how long requests have waited of what they may.
func (m model) cutoverLines() []line {
	c := m.state.Cutover
	switch c.Last {
	case "", journal.CutoverReleased, journal.CutoverAborted:
		return nil
	case journal.CutoverAborting:
		return append([]line{styled(m.paint.bad, "switch  ✗ being called off; what waits goes on where it was")}, m.holdLine()...)
	}
	now := slices.IndexFunc(stages(), func(s stage) bool { return s.kind == c.Last })
	l := styled(m.paint.bold, "switch ")
	for i, s := range stages() {
		switch {
		case i < now:
			l = l.and(styled(m.paint.good, " ✓ "), text(s.word))
		case i == now:
			l = l.and(styled(m.paint.bold, " ▸ "+s.word))
		default:
			l = l.and(styled(m.paint.dim, " · "+s.word))
		}
	}
	lines := append([]line{l}, m.holdLine()...)
	if len(c.Participants) > 0 {
		who := "switch together: "
		lines = append(lines, styled(m.paint.dim, "        "+who+report.Plain(strings.Join(c.Participants, ", "))))
	}
	return lines
}

func (m model) holdLine() []line {
	if m.holdFrom.IsZero() {
		return nil
	}
	waited := m.since(m.holdFrom)
	deadline := time.Duration(m.state.Cutover.DeadlineMS) * time.Millisecond
	said := fmt.Sprintf("requests wait for %.1fs now", waited.Seconds())
	if deadline <= 0 || m.state.PastPointOfNoReturn {
		return []line{styled(m.paint.warn, "        "+said)}
	}
	said += fmt.Sprintf(" of %s at most; then blue goes on", report.Took(deadline))
	l := styled(m.paint.warn, "        "+said+"  ")
	cells := min(m.width-l.width(), 20)
	if cells < 8 {
		return []line{l}
	}
	return []line{l.and(styled(m.paint.warn, bar(waited.Seconds()/deadline.Seconds(), cells)))}
}
