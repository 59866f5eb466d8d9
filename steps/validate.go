package steps

import (
	"context"
	"fmt"
	"strings"

	"github.com/tideover/tideover/internal/invariant"
	"github.com/tideover/tideover/plan"
)

// validateStep asks the profile's invariants on both sides and lists what differs, by key. With repair it puts the rows
// of blue behind a difference into the change queue again, and asks once more.
type validateStep struct {
	base
	NothingToUndo
	env  *Env
	spec *plan.ValidateSpec
}

// Done is never true: the answer changes with every write.
func (s *validateStep) Done(context.Context) (bool, error) { return false, nil }

// attempts bounds the rounds of asking. While blue is written the two sides are never read at the same moment: a
// difference counts only when it is still there after replay has caught up.
const attempts = 5

// Run ends without error when both sides agree.
func (s *validateStep) Run(ctx context.Context, p *Progress) error {
	asked := s.asked()
	var differences []invariant.Difference
	var last map[string]bool
	for round := 1; round <= attempts; round++ { // a difference that is new in every round is a write on its way
		found, err := invariant.Check(ctx, s.env.Blue, s.env.Green, asked)
		if err != nil {
			return err
		}
		differences = lasting(found, last)
		last = keysOf(found)
		p.Report(int64(round), attempts, "steps", fmt.Sprintf("%d differences", len(found)))
		if len(found) == 0 || round > 1 && len(differences) == 0 {
			break
		}
		if err := s.settle(ctx, differences, round); err != nil {
			return err
		}
	}
	if err := p.Figure(ctx, "invariants."+s.id, map[string]int{"asked": len(asked), "differences": len(differences)}); err != nil {
		return err
	}
	if len(differences) == 0 {
		return p.Note(ctx, "info", "%d invariants hold", len(asked))
	}
	failure := &DifferError{Differences: differences}
	if s.env.Faults.Any() {
		return p.Note(ctx, "warn", "not stopped, since a fault is on: %s", failure)
	}
	return failure
}

// asked are the invariants that mean something now. Once green has served, the two sides go different ways: only what is
// asked of green alone is left.
func (s *validateStep) asked() []plan.Invariant {
	if !s.env.pastPointOfNoReturn() {
		return s.env.Profile.Invariants
	}
	var alone []plan.Invariant
	for _, inv := range s.env.Profile.Invariants {
		if inv.Blue == "" {
			alone = append(alone, inv)
		}
	}
	return alone
}

// lasting keeps the differences that were there the round before, too.
func lasting(found []invariant.Difference, before map[string]bool) []invariant.Difference {
	if before == nil {
		return found
	}
	var kept []invariant.Difference
	for _, d := range found {
		if before[d.Invariant+"\x00"+d.Key] {
			kept = append(kept, d)
		}
	}
	return kept
}

func keysOf(found []invariant.Difference) map[string]bool {
	keys := make(map[string]bool, len(found))
	for _, d := range found {
		keys[d.Invariant+"\x00"+d.Key] = true
	}
	return keys
}

// settle repairs, where it may, and replays what is captured by now, so that the next round asks about the same moment.
func (s *validateStep) settle(ctx context.Context, found []invariant.Difference, round int) error {
	if s.env.pastPointOfNoReturn() {
		return nil // green has moved on; nothing is brought over from blue any more
	}
	r, err := s.env.Replayer()
	if err != nil {
		return err
	}
	if s.spec.Repair && round > 1 && !s.env.Faults.Any() {
		byTable := map[string][]string{}
		for _, d := range found {
			if d.RepairTable != "" {
				byTable[d.RepairTable] = append(byTable[d.RepairTable], d.Key)
			}
		}
		for table, keys := range byTable {
			if err := r.Enqueue(ctx, table, keys); err != nil {
				return err
			}
		}
	}
	return s.env.catchUp(ctx)
}

// DifferError says where blue and green differ.
type DifferError struct{ Differences []invariant.Difference }

const differencesShown = 10

func (e *DifferError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "blue and green differ in %d places", len(e.Differences))
	for i, d := range e.Differences {
		if i == differencesShown {
			fmt.Fprintf(&b, "\n  … and %d more", len(e.Differences)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s", d)
	}
	return b.String()
}

// Hint says how to go on.
func (e *DifferError) Hint() string {
	return "set repair: true on the validate step to bring the named rows over again, or add a rule to the profile for what the migrations change; then resume"
}

// ExitCode is 5: blue and green differ.
func (e *DifferError) ExitCode() int { return 5 }
