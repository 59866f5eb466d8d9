package world

import (
	"context"
	"slices"
)

// Shrink leaves features out of a world as long as it still goes wrong, and returns the smallest recipe that it found
// within so many plays, with its outcome.
func (p *Pair) Shrink(ctx context.Context, r Recipe, plays int) (Recipe, Outcome, error) {
	_, features := Generate(r)
	var last Outcome
	for size := max(1, len(features)/2); ; {
		smaller := false
		for from := 0; from < len(features); {
			if plays--; plays < 0 {
				return r.with(features), last, nil
			}
			w, left := Generate(r.with(slices.Delete(slices.Clone(features), from, min(from+size, len(features)))))
			w.Name += "_shrunk"
			o, err := p.Play(ctx, w)
			if ctx.Err() != nil {
				return r, last, ctx.Err()
			}
			if err == nil && o.Verdict == Wrong { // a world that can't be made is no smaller one
				features, last, smaller = left, o, true
				continue
			}
			from += size
		}
		if size == 1 && !smaller {
			return r.with(features), last, nil
		}
		size = max(1, size/2)
	}
}

func (r Recipe) with(features []string) Recipe {
	r.Features = features
	return r
}
