package replay

import (
	"context"
	"time"
)

// FenceState is what a fence does now, by the database's clock.
type FenceState struct {
	Raised bool
	Stays  bool          // raised without an end
	Left   time.Duration // until it opens by itself; 0 where it stays, or is open
}

// State asks the fence. A database without one is open.
func (f *Fence) State(ctx context.Context) (FenceState, error) {
	until, now, err := f.read(ctx)
	if err != nil || until <= now {
		return FenceState{}, err
	}
	if until == forever {
		return FenceState{Raised: true, Stays: true}, nil
	}
	return FenceState{Raised: true, Left: time.Duration(until-now) * time.Microsecond}, nil
}
