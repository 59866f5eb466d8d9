package steps

import (
	"context"

	"github.com/tideover/tideover/internal/compat"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/sqlrewrite"
)

var compatViewsKind = kindOf(plan.CompatViews,
	func(b base, env *Env, c *plan.CompatViewsSpec) Step {
		return &compatViewsStep{base: b, env: env, spec: c}
	},
	func(_ *plan.CompatViewsSpec) (does, undo string) {
		return "puts views with explicit columns in front of the tables, and waits until every session of the server uses them", "taken away"
	})

// compatViewsStep puts views with explicit columns in front of the tables of an old server that reads with SELECT *. They
// are taken away by undo, or by retire: when the new server's version has taken the old one's place.
type compatViewsStep struct {
	base
	env  *Env
	spec *plan.CompatViewsSpec
}

func (s *compatViewsStep) views() *compat.Views {
	role := s.spec.Role
	if role == "" {
		role = s.env.Runbook.Blue.Role
	}
	return &compat.Views{DB: s.env.Blue, Tables: s.env.Profile.Schema, Role: role, Budget: s.env.budget(),
		LeftOut: []string{"goose_db_version", migrate.LedgerTable, sqlrewrite.BackfillTable}}
}

// Done: the views stand in for the tables, and every session of the server uses them.
func (s *compatViewsStep) Done(ctx context.Context) (bool, error) {
	there, err := s.views().There(ctx)
	if err != nil || !there {
		return false, err
	}
	if err := s.views().Check(ctx); err != nil {
		return false, nil // Run says what is wrong
	}
	old, err := s.views().Old(ctx)
	return err == nil && len(old) == 0, err
}

// Run makes them and waits: a session that is older than they are would meet the new columns.
func (s *compatViewsStep) Run(ctx context.Context, p *Progress) error {
	v := s.views()
	if err := v.Make(ctx); err != nil {
		return err
	}
	if err := v.Wait(ctx, s.spec.Timeout, s.tell(ctx, p)); err != nil {
		return err
	}
	if err := v.Check(ctx); err != nil {
		return err
	}
	return p.Note(ctx, "info", "every session of role %q reads and writes through views of schema %s", v.Role, compat.Schema)
}

// tell notes how many sessions are waited for; a note that can't be stored is found out by the next event.
func (s *compatViewsStep) tell(ctx context.Context, p *Progress) func(int) {
	return func(old int) {
		_ = p.Note(ctx, "info", "waiting for %d sessions of the server that began before the change; restart its instances one by one to be faster", old)
	}
}

// Undo gives the role its search_path back, waits for the sessions that use the views, and drops them.
func (s *compatViewsStep) Undo(ctx context.Context, p *Progress) error {
	return s.views().Remove(ctx, s.spec.Timeout, s.tell(ctx, p))
}

// Finish takes the views away: the new server's version has taken the old one's place.
func (s *compatViewsStep) Finish(ctx context.Context, p *Progress) (bool, error) {
	return true, s.Undo(ctx, p)
}
