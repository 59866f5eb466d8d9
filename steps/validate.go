package steps

import (
	"context"
	"fmt"
	"strings"

	"github.com/tideover/tideover/internal/invariant"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/plan"
)

var validateKind = kindOf(plan.Validate,
	func(b base, env *Env, c *plan.ValidateSpec) Step { return &validateStep{base: b, env: env, spec: c} },
	func(c *plan.ValidateSpec) (does, undo string) {
		does = "asks the invariants on both sides"
		if c.Repair {
			does += ", and repairs differences from blue"
		}
		if c.Full {
			does += "; holds every row of green against a migration of blue's state"
		}
		return does, "nothing to undo"
	})

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

// While blue is written the two sides are never read at the same moment, and a row that is missing in one round and extra
// in the next is two writes on their way. A difference counts when it is the same for lastingRounds rounds, with all that
// had been captured replayed in between.
const (
	attempts      = 8
	lastingRounds = 3
)

// Run ends without error when both sides agree.
func (s *validateStep) Run(ctx context.Context, p *Progress) error {
	if s.env.Runbook.InPlace() {
		return s.validateInPlace(ctx, p)
	}
	asked := s.asked()
	streaks := map[invariant.Difference]int{}
	var differences []invariant.Difference
	for round := 1; ; round++ {
		found, err := invariant.Check(ctx, s.env.Blue, s.env.Green, s.env.Profile.Schema, asked)
		if err != nil {
			return err
		}
		streaks = lengthen(streaks, found)
		p.Report(int64(round), attempts, "steps", fmt.Sprintf("%d differences", len(found)))
		differences = lasting(found, streaks, lastingRounds)
		again := lasting(found, streaks, 2)
		if s.env.pastPointOfNoReturn() { // nothing is on its way any more
			differences, again = found, nil
		}
		if len(found) == 0 || round > 1 && len(again) == 0 || round == attempts || s.env.pastPointOfNoReturn() {
			break
		}
		if err := s.settle(ctx, again); err != nil {
			return err
		}
	}
	if err := p.Figure(ctx, "invariants."+s.id, map[string]int{"asked": len(asked), "differences": len(differences)}); err != nil {
		return err
	}
	if len(differences) > 0 {
		return &DifferError{Differences: differences}
	}
	if err := p.Note(ctx, "info", "%d invariants hold", len(asked)); err != nil || !s.spec.Full {
		return err
	}
	return s.full(ctx, p)
}

// full compares all rows.
func (s *validateStep) full(ctx context.Context, p *Progress) error {
	live := !s.env.pastPointOfNoReturn()
	round := int64(0)
	found, err := s.env.compareAll(ctx, live, func() error {
		round++
		p.Report(round, verifyRounds, "rounds", "all of blue is migrated once more, and compared")
		if !live {
			return nil
		}
		return s.env.catchUp(ctx)
	})
	if err != nil {
		return err
	}
	if err := p.Figure(ctx, "compared."+s.id, map[string]int64{"tables": int64(found.Tables), "rows": found.Rows, "differences": found.Count}); err != nil {
		return err
	}
	if found.Count > 0 {
		return &UnlikeError{Count: found.Count, Differences: found.Differences}
	}
	return p.Note(ctx, "info", "%d rows of %d tables are what the migrations make of blue", found.Rows, found.Tables)
}

// UnlikeError says where green is not what the migrations make of blue.
type UnlikeError struct {
	Count       int64
	Differences []oracle.Difference
}

func (e *UnlikeError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "green is not what the migrations make of blue, in %d places", e.Count)
	for i, d := range e.Differences {
		if i == differencesShown {
			fmt.Fprintf(&b, "\n  … and %d more", e.Count-int64(i))
			break
		}
		fmt.Fprintf(&b, "\n  %s", d)
	}
	return b.String()
}

// Hint says how to go on.
func (e *UnlikeError) Hint() string {
	return "find out what has written to green beside replay, or what the migrations make of such a row only in company of others (follow: in the profile); " +
		"until the switch nothing is lost: roll back and begin anew"
}

// ExitCode is 5: blue and green differ.
func (e *UnlikeError) ExitCode() int { return 5 }

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

// lengthen counts for how many rounds, up to this one, each difference has been there.
func lengthen(streaks map[invariant.Difference]int, found []invariant.Difference) map[invariant.Difference]int {
	longer := make(map[invariant.Difference]int, len(found))
	for _, d := range found {
		longer[d] = streaks[d] + 1
	}
	return longer
}

// lasting keeps the differences that have been there for so many rounds.
func lasting(found []invariant.Difference, streaks map[invariant.Difference]int, rounds int) []invariant.Difference {
	var kept []invariant.Difference
	for _, d := range found {
		if streaks[d] >= rounds {
			kept = append(kept, d)
		}
	}
	return kept
}

// settle repairs, where it may, what was there the round before, too, and replays what is captured by now.
func (s *validateStep) settle(ctx context.Context, again []invariant.Difference) error {
	r, err := s.env.Replayer()
	if err != nil {
		return err
	}
	if s.spec.Repair {
		byTable := map[string][]string{}
		for _, d := range again {
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
