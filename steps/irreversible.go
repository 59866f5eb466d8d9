package steps

import "context"

// Irreversible is a step that can't be taken back, and says so: once begun, it is a point of no return.
type Irreversible interface{ Irreversible() }

// Withdrawer is an [Irreversible] step that can be taken back for as long as it has not done anything yet.
type Withdrawer interface {
	Irreversible
	// Untouched says whether the step, which has begun, has changed nothing.
	Untouched(ctx context.Context, p *Progress) (bool, error)
	// Withdraw takes away what it has made to begin.
	Withdraw(ctx context.Context, p *Progress) error
}

// pointOfNoReturn is embedded by steps that can't be taken back.
type pointOfNoReturn struct{}

// Irreversible marks the step.
func (pointOfNoReturn) Irreversible() {}
