package cutover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

// stage is one transition of the switch. Kind is recorded, then do is done. The words are docs/cutover-states.md.
type stage struct {
	kind    journal.Kind
	name    string // "while …"
	does    string
	failure string
	crash   string
	do      func(*Switch, context.Context, *attempt) error
}

// attempt is what one Run knows of itself.
type attempt struct {
	figures          Figures
	held, fenced     time.Time
	recordedAnything bool
}

// stages is the switch up to the point of no return, in order.
var stages = []stage{
	{journal.CutoverPreparing, "preparing", "every participant is asked; replay is brought as near as it goes; new logins wait, those under way may finish", giveBlueBack, "abort", (*Switch).prepare},
	{journal.CutoverHolding, "holding", "the router holds writes and logins until forwarded writes are answered; the deadline begins", giveBlueBack, "abort", (*Switch).hold},
	{journal.CutoverFencing, "fencing", "blue's database refuses writes, until a second past the deadline", giveBlueBack, "abort", (*Switch).fence},
	{journal.CutoverReplaying, "replaying", "the last changes are brought over", giveBlueBack, "abort", (*Switch).replay},
	{journal.CutoverVerifying, "verifying", "what was brought over is verified; green's own triggers are switched on; green's state is remembered; the hold is looked at once more; blue's fence is made to stay", giveBlueBack, "abort", (*Switch).verify},
}

// onward is the switch from the point of no return.
var onward = []stage{
	{journal.CutoverCommitting, "committing", "**point of no return**: participants commit in order; green's fence is lowered; the router points at green", tryAgain, "look; complete, or abort where nothing is on green and it can't be verified", (*Switch).commit},
	{journal.CutoverSwitched, "releasing", "the router lets go, to green; blue stays fenced", tryAgain, "complete", (*Switch).release},
}

// fenceOutlasts is how much longer than the deadline blue's fence stands where nobody lowers it.
const fenceOutlasts = time.Second

const (
	giveBlueBack = "blue's fence is lowered, the router lets go to blue, participants abort in reverse order"
	tryAgain     = "tried again; stuck: resume completes it"
)

// Table is docs/cutover-states.md.
func Table() string {
	var b strings.Builder
	b.WriteString("# The switch, stage by stage\n\nWritten by `go test ./cutover -update`. Each event is stored before the stage is done.\n\n")
	b.WriteString("| event stored | what is done | on failure | after a crash |\n|---|---|---|---|\n")
	for _, part := range [][]stage{stages, onward} {
		for _, st := range part {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", st.kind, st.does, st.failure, st.crash)
		}
	}
	fmt.Fprintf(&b, "| `%s` | nothing more: green serves | — | look; complete where a router does not point at green |\n", journal.CutoverReleased)
	fmt.Fprintf(&b, "| `%s` | %s | tried again; stuck: resume completes it | abort again |\n", journal.CutoverAborting, giveBlueBack)
	fmt.Fprintf(&b, "| `%s` | nothing more: blue serves | — | — |\n", journal.CutoverAborted)
	return b.String()
}

func (s *Switch) prepare(ctx context.Context, a *attempt) error {
	var refused []error
	for _, p := range s.Participants {
		if err := p.Prepare(ctx, s.ticket("prepare")); err != nil {
			refused = append(refused, fmt.Errorf("participant %q: prepare: %w", p.Name(), err))
		}
	}
	if len(refused) > 0 {
		return errors.Join(refused...)
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	if s.DrainLogins == 0 {
		return nil
	}
	start := time.Now() // from here on new logins wait
	left, err := s.Router.Drain(ctx, s.ticket("drain"), s.DrainLogins, s.DrainLogins+s.deadline())
	drained := time.Since(start)
	a.figures.LoginsLeft, a.figures.DrainMS = left, drained.Milliseconds()
	if err != nil || drained < longDrain {
		return err
	}
	return s.settle(ctx)
}

// longDrain is how long logins take to be let out if so much has come meanwhile that the hold would be longer for it.
const longDrain = 500 * time.Millisecond

func (s *Switch) settle(ctx context.Context) error {
	if s.Settle == nil {
		return nil
	}
	return s.Settle(ctx)
}

func (s *Switch) hold(ctx context.Context, a *attempt) error {
	a.held = time.Now()
	return s.Router.Hold(ctx, s.ticket("hold"), s.deadline())
}

func (s *Switch) fence(ctx context.Context, a *attempt) error {
	a.fenced = time.Now()
	// Should this process die, blue opens by itself a little after the router has let go.
	last := s.deadline()
	if end, ok := ctx.Deadline(); ok {
		last = time.Until(end)
	}
	if err := s.Fence.Raise(ctx, last+fenceOutlasts); err != nil {
		return fmt.Errorf("blue's fence: %w", err)
	}
	return nil
}

func (s *Switch) replay(ctx context.Context, a *attempt) error {
	start := time.Now()
	defer func() { a.figures.ReplayMS = time.Since(start).Milliseconds() }()
	return s.Replay(ctx)
}

func (s *Switch) verify(ctx context.Context, a *attempt) error {
	start := time.Now()
	defer func() { a.figures.VerifyMS = time.Since(start).Milliseconds() }()
	if err := s.Verify(ctx); err != nil {
		return err
	}
	if s.Wake != nil { // from the first commit on, green may be written by others
		if err := s.Wake(ctx); err != nil {
			return err
		}
	}
	if s.Pin != nil {
		if err := s.Pin(ctx); err != nil {
			return err
		}
	}
	return s.stillQuiet(ctx)
}

// stillQuiet looks once more before the point of no return: a router that has restarted holds nothing, and somebody may
// have lowered the fence by hand. From here the fence stays until it is lowered.
func (s *Switch) stillQuiet(ctx context.Context) error {
	routing, err := s.Router.Look(ctx, s.ticket("look"))
	if err != nil {
		return err
	}
	if routing.Newer {
		return journal.ErrFenced
	}
	if routing.Quiet < routing.Replicas {
		return fmt.Errorf("%d of %d routers do not hold any more: restarted, or past their deadline", routing.Replicas-routing.Quiet, routing.Replicas)
	}
	if err := s.Fence.Keep(ctx); err != nil {
		return fmt.Errorf("blue's fence: %w", err)
	}
	return nil
}
