package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

var lifetimesKind = kindOf(plan.TokenLifetimes,
	func(b base, env *Env, c *plan.TokenLifetimesSpec) Step {
		return &lifetimesStep{base: b, env: env, spec: c}
	},
	func(c *plan.TokenLifetimesSpec) (does, undo string) {
		return fmt.Sprintf("raises access-token lifetimes to %s", c.AccessToken), "restored"
	})

// lifetimesStep raises access-token lifetimes on blue, so that fewer tokens are written while the run is on. What was
// before is kept in a checkpoint, and restored on every way out: by Undo, or by Finish.
type lifetimesStep struct {
	base
	env  *Env
	spec *plan.TokenLifetimesSpec
}

const lifetimesKey = "lifetimes"

// Done can't tell our lifetimes from the operator's.
func (s *lifetimesStep) Done(context.Context) (bool, error) { return false, nil }

// Run keeps the present lifetimes, then raises those that are shorter.
func (s *lifetimesStep) Run(ctx context.Context, p *Progress) error {
	levers := s.env.Profile.Lifetimes
	if levers == nil {
		return fmt.Errorf("profile %s names no way to change token lifetimes: leave the step out", s.env.Profile.Name)
	}
	before := map[string]*int64{}
	kept, err := p.Load(lifetimesKey, &before)
	if err != nil {
		return err
	}
	if !kept {
		if before, err = readLifetimes(ctx, s.env.Blue, s.env.Profile); err != nil {
			return err
		}
		if err := p.Checkpoint(ctx, lifetimesKey, before); err != nil {
			return err
		}
	}
	seconds := int64(s.spec.AccessToken / time.Second)
	raised := 0
	for id, was := range before {
		if was != nil && *was >= seconds {
			continue
		}
		if err := writeLifetime(ctx, s.env.Blue, s.env.Profile, id, &seconds); err != nil {
			return err
		}
		raised++
		p.Report(int64(raised), int64(len(before)), "rows", "clients")
	}
	var longest int64
	err = s.env.Blue.InSchema(ctx, s.env.Profile.Schema, func(tx pgx.Tx) error { return tx.QueryRow(ctx, levers.Longest).Scan(&longest) })
	if err != nil {
		return fmt.Errorf("longest token lifetime: %w", err)
	}
	return p.Note(ctx, "info", "access tokens of %d clients now live %s; the longest exposure of a stolen one is %s",
		raised, s.spec.AccessToken, time.Duration(longest)*time.Second)
}

// Undo restores blue's lifetimes.
func (s *lifetimesStep) Undo(ctx context.Context, p *Progress) error {
	return s.restore(ctx, p.State(), s.env.Blue)
}

// Finish restores the lifetimes on the side that stays.
func (s *lifetimesStep) Finish(ctx context.Context, p *Progress) (bool, error) {
	side := s.env.Green
	if s.env.Runbook.InPlace() {
		side = s.env.Blue
	}
	return true, s.restore(ctx, p.State(), side)
}

// restore puts the kept lifetimes back on a side. A client that somebody has changed meanwhile keeps that change.
func (s *lifetimesStep) restore(ctx context.Context, state journal.State, side *postgres.DB) error {
	st, _ := state.Step(s.id)
	kept, ok := st.Checkpoints[lifetimesKey]
	if !ok {
		return nil
	}
	before := map[string]*int64{}
	if err := json.Unmarshal(kept, &before); err != nil {
		return fmt.Errorf("step %q: checkpoint %q: %w", s.id, lifetimesKey, err)
	}
	now, err := readLifetimes(ctx, side, s.env.Profile)
	if err != nil {
		return err
	}
	seconds := int64(s.spec.AccessToken / time.Second)
	for id, is := range now {
		was, known := before[id]
		if !known || is == nil || *is != seconds || (was != nil && *was == seconds) {
			continue
		}
		if err := writeLifetime(ctx, side, s.env.Profile, id, was); err != nil {
			return err
		}
	}
	return nil
}

func readLifetimes(ctx context.Context, side *postgres.DB, p *plan.Profile) (map[string]*int64, error) {
	lifetimes := map[string]*int64{}
	err := side.InSchema(ctx, p.Schema, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, p.Lifetimes.Read)
		if err != nil {
			return err
		}
		var id string
		var seconds *int64
		_, err = pgx.ForEachRow(rows, []any{&id, &seconds}, func() error {
			lifetimes[id] = seconds
			seconds = nil
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: token lifetimes: %w", side.Name(), err)
	}
	return lifetimes, nil
}

func writeLifetime(ctx context.Context, side *postgres.DB, p *plan.Profile, id string, seconds *int64) error {
	statement, args, err := postgres.Named(p.Lifetimes.Write, map[string]any{"id": id, "seconds": seconds})
	if err != nil {
		return fmt.Errorf("profile: lifetimes.write: %w", err)
	}
	err = side.InSchema(ctx, p.Schema, func(tx pgx.Tx) error { _, err := tx.Exec(ctx, statement, args...); return err })
	if err != nil {
		return fmt.Errorf("%s: token lifetime of client %q: %w", side.Name(), id, err)
	}
	return nil
}
