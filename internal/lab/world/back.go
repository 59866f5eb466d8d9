package world

import (
	"context"
	"errors"
	"fmt"
)

// ThereAndBack takes a world over the switch, has green's clients write, and takes the run back. The answers are those of blue to
// some questions, one text each, once it serves again. Green is held against blue by the program itself, before anybody writes there.
func (p *Pair) ThereAndBack(ctx context.Context, w *World, onGreen string, questions ...string) (answers []string, log string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, err := p.set(ctx, w)
	defer func() { err = errors.Join(err, s.strike(context.WithoutCancel(ctx))) }()
	if err != nil {
		return nil, "", err
	}
	r := newRun(s)
	r.until = "retire"
	code, err := r.process(ctx, 0, "run", "--json", "upgrade.yaml")
	r.writers.wait()
	if err != nil {
		return nil, r.log(), err
	}
	if code != -1 {
		return nil, r.log(), fmt.Errorf("it ended before %s with exit status %d: %s", r.until, code, r.reason())
	}
	if out, err := r.command(ctx, "verify", "--full", "upgrade.yaml").CombinedOutput(); err != nil {
		return nil, r.log(), fmt.Errorf("verify: %w: %s", err, out)
	}
	if err := s.psql(ctx, s.green, onGreen); err != nil {
		return nil, r.log(), fmt.Errorf("green's clients: %w", err)
	}
	if code, err = r.process(ctx, 0, "rollback", "--json", "upgrade.yaml"); err != nil || code != 0 {
		return nil, r.log(), errors.Join(err, fmt.Errorf("the rollback ended with exit status %d: %s", code, r.reason()))
	}
	for _, q := range questions {
		found, err := ask[string](ctx, s.blue, q)
		if err != nil {
			return nil, r.log(), err
		}
		answers = append(answers, fmt.Sprint(found))
	}
	return answers, r.log(), nil
}
