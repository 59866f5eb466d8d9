package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// PlantError says that green would not take what the profile plants.
type PlantError struct{ Err error }

func (e *PlantError) Error() string { return fmt.Sprintf("profile: http.plant: %v", e.Err) }
func (e *PlantError) Unwrap() error { return e.Err }

// uprootWithin bounds the way back of a plant.
const uprootWithin = 10 * time.Second

// Planted puts rows of ours into green, as a merge does, while ask runs, and takes them away whatever comes of it. No audit looks at
// green meanwhile, and nothing is merged. What a killed process has left there goes first. Green must sleep: its triggers see nothing.
func (r *Replayer) Planted(ctx context.Context, word string, ask func(ctx context.Context) error) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	args := map[string]any{"word": word}
	plant := append(append([]string{}, r.Profile.HTTP.Uproot...), r.Profile.HTTP.Plant...)
	if err := r.onGreen(ctx, func(tx pgx.Tx) error { return inTurn(ctx, tx, plant, args) }); err != nil {
		return &PlantError{err}
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), uprootWithin)
		defer cancel()
		if left := r.uproot(ctx, args); left != nil {
			err = errors.Join(err, fmt.Errorf("profile: http.uproot: %w", left))
		}
	}()
	return ask(ctx)
}

// Uproot takes away what a killed process has left of a plant, before anything looks at green.
func (r *Replayer) Uproot(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.uproot(ctx, map[string]any{"word": ""})
	if code := postgres.Code(err); code == pgerrcode.UndefinedTable || code == pgerrcode.UndefinedColumn {
		return nil // then nothing was planted either
	}
	return err
}

// uproot takes away what was planted, by this process or a killed one.
func (r *Replayer) uproot(ctx context.Context, args map[string]any) error {
	if len(r.Profile.HTTP.Uproot) == 0 {
		return nil
	}
	return r.onGreen(ctx, func(tx pgx.Tx) error { return inTurn(ctx, tx, r.Profile.HTTP.Uproot, args) })
}

func inTurn(ctx context.Context, tx pgx.Tx, statements []string, args map[string]any) error {
	for _, sql := range statements {
		text, values, err := postgres.Named(sql, args)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, text, values...); err != nil {
			return err
		}
	}
	return nil
}
