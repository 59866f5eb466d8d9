package steps

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tideover/tideover/internal/roles"
)

func (e *Env) server(ctx context.Context) (roles.Server, error) {
	return roles.Find(ctx, e.Blue, e.Green, e.Profile.Schema, e.Runbook.Blue.Role, e.Runbook.Green.Role)
}

// giveGreen gives the role that the runbook names for green's server what it needs, after the migrations have made all there is,
// and looks whether it, or the one that it is taken to be, can work. A person mends what is missing long before the hold.
func (e *Env) giveGreen(ctx context.Context, p *Progress, before roles.Names) error {
	s, err := e.server(ctx)
	if err != nil {
		return err
	}
	if s.Green == "" {
		return p.Note(ctx, "warn", "nobody knows the role that green's server connects as (green.role): whether it can work was not looked at")
	}
	if s.Named {
		missing, err := s.Missing(ctx, e.Blue, e.Green, e.Profile, before)
		if err != nil {
			return err
		}
		if err := roles.Give(ctx, e.Green, e.budget(), missing); err != nil {
			return err
		}
	}
	return s.Check(ctx, e.Blue, e.Green, e.Profile, before)
}

// greenWorks looks once more, before anybody waits.
func (e *Env) greenWorks(ctx context.Context) error {
	s, err := e.server(ctx)
	if err != nil {
		return err
	}
	before, err := e.namesBefore()
	if err != nil {
		return err
	}
	return s.Check(ctx, e.Blue, e.Green, e.Profile, before)
}

// namesKey is the checkpoint of what everything on green was called before the first of the migrations.
const namesKey = "names"

// namesBefore are those; nil where they were not noted.
func (e *Env) namesBefore() (names roles.Names, err error) {
	for _, st := range e.State().Steps {
		if b, there := st.Checkpoints[namesKey]; there {
			if err := json.Unmarshal(b, &names); err != nil {
				return nil, fmt.Errorf("step %q: checkpoint %q: %w", st.ID, namesKey, err)
			}
		}
	}
	return names, nil
}
