package steps

import "context"

// Finisher is a step that keeps something standing until the way back is given up. The retire step asks each, in the
// runbook's order.
type Finisher interface {
	// Finish takes it away, and says whether there was anything. It may be called again.
	Finish(ctx context.Context, p *Progress) (did bool, err error)
}

// finish asks every step that has something to finish.
func (e *Env) finish(ctx context.Context, p *Progress) (did bool, err error) {
	for _, step := range e.steps {
		f, ok := step.(Finisher)
		if !ok {
			continue
		}
		some, err := f.Finish(ctx, p)
		if err != nil {
			return did, err
		}
		did = did || some
	}
	return did, nil
}
