package steps

import (
	"context"
	"fmt"

	"github.com/tideover/tideover/plan"
)

var cleanupKind = kindOf(plan.Cleanup,
	func(b base, env *Env, c *plan.CleanupSpec) Step { return &cleanupStep{base: b, env: env, spec: c} },
	func(c *plan.CleanupSpec) (does, undo string) {
		return fmt.Sprintf("runs the profile's rules %s the migrations", c.Phase), "with green"
	})

// cleanupStep runs the profile's rules of one phase on green's bulk copy. Every delta goes through the same rules.
type cleanupStep struct {
	base
	NothingToUndo // the copy as a whole is taken back by the snapshot step
	env           *Env
	spec          *plan.CleanupSpec
}

// Done can't tell; rules may run again, which changes nothing.
func (s *cleanupStep) Done(context.Context) (bool, error) { return false, nil }

// Run applies the rules and notes what each of them changed.
func (s *cleanupStep) Run(ctx context.Context, p *Progress) error {
	conn, err := s.env.Green.ConnectAs(ctx, "cleanup")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	results, err := s.env.rules(false).Apply(ctx, conn, s.spec.Phase)
	if err != nil {
		return err
	}
	var repaired, quarantined int64
	for _, r := range results {
		if r.Rows == 0 {
			continue
		}
		if r.Left > 0 {
			return &leftError{rule: r.Rule, left: r.Left}
		}
		verb := "repaired"
		if r.Quarantined {
			verb = "moved to quarantine"
			quarantined += r.Rows
		} else {
			repaired += r.Rows
		}
		if err := p.Note(ctx, "info", "rule %s: %d rows %s", r.Rule, r.Rows, verb); err != nil {
			return err
		}
	}
	if err := p.Figure(ctx, "rows.repaired."+s.id, repaired); err != nil {
		return err
	}
	return p.Figure(ctx, "rows.quarantined."+s.id, quarantined)
}

// leftError is a rule whose repair does not mend what its own condition finds.
type leftError struct {
	rule string
	left int64
}

func (e *leftError) Error() string {
	return fmt.Sprintf("rule %s: %d rows still offend after their repair", e.rule, e.left)
}

func (e *leftError) Hint() string {
	return "the rule's fix and its where don't match: correct the profile, rollback, and run again"
}
