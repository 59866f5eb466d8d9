package steps

import (
	"context"
	"time"
)

// Gate waits until a person lets a step begin, and says who that was.
type Gate interface {
	Wait(ctx context.Context, step string) (by string, err error)
}

// Open is a gate that stands open: --yes.
type Open struct{ By string }

// Wait returns at once.
func (g Open) Wait(context.Context, string) (string, error) { return g.By, nil }

// Poll is a gate that is opened from another process, by "tideover approve": it asks Approved every so often.
type Poll struct {
	Approved func(ctx context.Context, step string) (by string, err error) // "" while nobody has
	Every    time.Duration
}

// Wait asks until somebody has approved.
func (g Poll) Wait(ctx context.Context, step string) (string, error) {
	ticker := time.NewTicker(g.Every)
	defer ticker.Stop()
	for {
		by, err := g.Approved(ctx, step)
		if err != nil || by != "" {
			return by, err
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// Any is a gate with several doors, such as a key in the terminal and another process: the first that opens, or
// breaks, counts. Without a door it waits until the context ends.
type Any []Gate

// Wait returns what the first door returns, after all of them have returned.
func (g Any) Wait(ctx context.Context, step string) (string, error) {
	type answer struct {
		by  string
		err error
	}
	wait, cancel := context.WithCancel(ctx)
	answers := make(chan answer, len(g))
	for _, door := range g {
		go func() {
			by, err := door.Wait(wait, step)
			answers <- answer{by, err}
		}()
	}
	if len(g) == 0 {
		<-wait.Done()
	}
	var first answer
	for i := range g {
		a := <-answers
		if i == 0 {
			first = a
			cancel()
		}
	}
	cancel()
	if first.by == "" && first.err == nil {
		first.err = context.Cause(ctx)
	}
	return first.by, first.err
}
