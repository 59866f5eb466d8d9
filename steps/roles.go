package steps

import (
	"context"

	"github.com/tideover/tideover/internal/roles"
)

func (e *Env) server(ctx context.Context) (roles.Server, error) {
	return roles.Find(ctx, e.Blue, e.Green, e.Profile.Schema, e.Runbook.Blue.Role, e.Runbook.Green.Role)
}

// giveGreen gives the role that the runbook names for green's server what it needs, after the migrations have made all there is,
// and looks whether it, or the one that it is taken to be, can work. A person mends what is missing long before the hold.
func (e *Env) giveGreen(ctx context.Context, p *Progress) error {
	s, err := e.server(ctx)
	if err != nil {
		return err
	}
	if s.Green == "" {
		return p.Note(ctx, "warn", "nobody knows the role that green's server connects as (green.role): whether it can work was not looked at")
	}
	if s.Named {
		missing, err := s.Missing(ctx, e.Blue, e.Green, e.Profile)
		if err != nil {
			return err
		}
		if err := roles.Give(ctx, e.Green, e.budget(), missing); err != nil {
			return err
		}
	}
	return s.Check(ctx, e.Blue, e.Green, e.Profile)
}

// greenWorks looks once more, before anybody waits.
func (e *Env) greenWorks(ctx context.Context) error {
	s, err := e.server(ctx)
	if err != nil {
		return err
	}
	return s.Check(ctx, e.Blue, e.Green, e.Profile)
}
