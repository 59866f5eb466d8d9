package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tideover/tideover/plan"
)

// Order says in whose name a command is given: the run, and the term of the process that has it. A command with an
// older term of the same run comes from a process that has lost the run, and is refused. So is one with a lower call
// number than was heard in this term: it was on its way when its sender had given it up and ordered something else.
type Order struct {
	Run  string `json:"run"`
	Term int64  `json:"term"`
	Call int64  `json:"call,omitempty"` // 0: not numbered
}

// Conditions for which a command is refused. The control API answers them with 409, and Client gives them back.
var (
	ErrStale      = errors.New("an older term") // another process has taken the run over
	ErrLate       = errors.New("a later command was heard")
	ErrBusy       = errors.New("another run")              // another run drains or holds
	ErrNotHolding = errors.New("the router does not hold") // the hold was never ordered, or its deadline has passed
	ErrNotQuiet   = errors.New("writes not answered")      // forwarded writes are still under way
)

// claim checks an order against what was heard before, and remembers its term. The caller holds control.
func (g *gate) claim(o Order) error {
	if o.Run == "" || o.Term < 1 {
		return fmt.Errorf("router: run %q, term %d: both are needed", o.Run, o.Term)
	}
	g.mu.Lock()
	state, phase, owner := g.state, g.phase, g.owner
	g.mu.Unlock()
	known := state.Terms[o.Run]
	if o.Term < known {
		return fmt.Errorf("router: run %s: term %d, but %d was heard: %w", o.Run, o.Term, known, ErrStale)
	}
	if last := g.last; last.Run == o.Run && last.Term == o.Term && o.Call != 0 && o.Call < last.Call {
		return fmt.Errorf("router: run %s: call %d, but %d was heard: %w", o.Run, o.Call, last.Call, ErrLate)
	}
	if phase != Open && owner.Run != o.Run {
		return fmt.Errorf("router: run %s: %s for run %s: %w", o.Run, phase, owner.Run, ErrBusy)
	}
	g.last = o
	if o.Term == known {
		return nil
	}
	next := state.withTerm(o)
	if err := g.store.save(next); err != nil {
		return err
	}
	g.mu.Lock()
	g.state = next
	g.mu.Unlock()
	return nil
}

// heed checks an order that changes nothing of the gate.
func (g *gate) heed(o Order) error {
	g.control.Lock()
	defer g.control.Unlock()
	return g.claim(o)
}

// drain makes new logins wait, for as long as deadline. In a hold it changes nothing.
func (g *gate) drain(o Order, deadline time.Duration) error {
	g.control.Lock()
	defer g.control.Unlock()
	if err := g.claim(o); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase == Holding {
		return nil
	}
	g.owner = o
	g.set(Draining)
	g.arm(min(deadline, g.limits.Hold))
	return nil
}

// hold makes writes and logins wait, for as long as deadline, and returns when every one that was forwarded before has
// been answered. If that takes longer than answered, or ctx ends, the hold ends too. Ordered again, it sets a new
// deadline.
func (g *gate) hold(ctx context.Context, o Order, deadline, answered time.Duration) error {
	quiet, epoch, err := g.beginHold(o, deadline)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, min(answered, deadline))
	defer cancel()
	select {
	case <-quiet:
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.epoch != epoch || g.phase != Holding {
		return fmt.Errorf("router: the hold ended while it waited for forwarded writes: %w", ErrNotHolding)
	}
	if g.writes > 0 {
		left := g.writes
		g.set(Open)
		return fmt.Errorf("router: %d forwarded: %w", left, ErrNotQuiet)
	}
	g.quietHold = true
	return nil
}

func (g *gate) beginHold(o Order, deadline time.Duration) (<-chan struct{}, int, error) {
	g.control.Lock()
	defer g.control.Unlock()
	if err := g.claim(o); err != nil {
		return nil, 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owner = o
	if g.phase != Holding {
		g.set(Holding)
	}
	g.arm(min(deadline, g.limits.Hold))
	if g.quiet == nil {
		g.quiet = make(chan struct{})
	}
	quiet := g.quiet
	if g.writes == 0 {
		close(g.quiet)
		g.quiet = nil
	}
	return quiet, g.epoch, nil
}

// switchTo points the router at a side, for good, while it holds. A router that points there already agrees. The
// deadline of the hold can't end it half way: it waits for the file.
func (g *gate) switchTo(o Order, side plan.Side) error {
	if side != plan.Blue && side != plan.Green {
		return fmt.Errorf("router: side %q: want blue or green", side)
	}
	g.control.Lock()
	defer g.control.Unlock()
	if err := g.claim(o); err != nil {
		return err
	}
	g.mu.Lock()
	if g.state.Side == side {
		g.mu.Unlock()
		return nil
	}
	if g.phase != Holding {
		g.mu.Unlock()
		return fmt.Errorf("router: switch to %s: %w", side, ErrNotHolding)
	}
	if !g.quietHold {
		g.mu.Unlock()
		return fmt.Errorf("router: switch to %s: %w", side, ErrNotQuiet)
	}
	g.switching = true
	next := g.state.withSide(side)
	g.mu.Unlock()

	err := g.store.save(next)

	g.mu.Lock()
	defer g.mu.Unlock()
	g.switching = false
	if err == nil {
		g.state = next
		g.switched = time.Now()
	}
	if !time.Now().Before(g.until) {
		g.expired++
		g.set(Open)
	}
	return err
}

// release lets everything that waits go on to the side that serves. An open router agrees.
func (g *gate) release(o Order) error {
	g.control.Lock()
	defer g.control.Unlock()
	if err := g.claim(o); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != Open {
		g.set(Open)
	}
	return nil
}
