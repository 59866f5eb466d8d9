package router

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tideover/tideover/plan"
)

// Phase is what the gate does with requests that wait.
type Phase string

// The phases. From holding and draining the gate goes back to open by release, or by itself when its deadline passes.
const (
	Open     Phase = "open"
	Draining Phase = "draining" // new logins wait
	Holding  Phase = "holding"  // writes and logins wait
)

// Reasons for which a request is not forwarded.
var (
	errQueueFull = errors.New("too many requests wait for the switch")
	errWaited    = errors.New("the switch took longer than a request may wait")
)

// gate lets requests through to the side that serves, or makes them wait. It knows nothing of HTTP.
//
// mu guards memory only and is never held over a file's fsync: introspection asks for the side all the time. control
// puts the commands of the control API in order.
type gate struct {
	limits  Limits
	control sync.Mutex
	store   *store
	last    Order // the newest command of the run that was heard last; guarded by control

	mu        sync.Mutex
	state     stored
	phase     Phase
	owner     Order         // who drains or holds
	epoch     int           // counts holds and drains: the timer of an earlier one does nothing
	until     time.Time     // deadline of the present hold or drain
	timer     *time.Timer   //
	quietHold bool          // in this hold, every write forwarded before it has been answered
	switched  time.Time     // when the side last changed
	switching bool          // the side is being stored: the deadline waits for that
	expired   int           // holds and drains that ended by their deadline
	changed   chan struct{} // closed at every change of phase or side
	quiet     chan struct{} // not nil while a hold waits for writes to reach 0
	writes    int           // forwarded and not answered
	shares    *shares
}

func newGate(limits Limits, store *store, state stored) *gate {
	return &gate{limits: limits, store: store, state: state, phase: Open, changed: make(chan struct{}), shares: newShares(limits)}
}

// serving is the side that answers at this moment.
func (g *gate) serving() plan.Side {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state.Side
}

func (g *gate) holding() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.phase == Holding
}

// busy reports whether it drains or holds.
func (g *gate) busy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.phase != Open
}

// switchedWithin reports whether this process has pointed the router elsewhere within the last d.
func (g *gate) switchedWithin(d time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.switched.IsZero() && time.Since(g.switched) < d
}

// enter waits until a write or login may go on, counts it as forwarded, and says where to. Each success needs one
// leave. A request that stops waiting, because ctx ends, has not been counted and must not be forwarded.
func (g *gate) enter(ctx context.Context, newLogin bool, who claimant) (side plan.Side, waited bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var w *waiter
	for g.phase == Holding || (g.phase == Draining && newLogin) {
		if !waited {
			if w = g.shares.take(who.claim()); w == nil {
				return "", false, errQueueFull
			}
			waited = true
			defer g.shares.give(w)
		}
		if w.gone {
			return "", true, errQueueFull
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-w.out:
		case <-ctx.Done():
		}
		g.mu.Lock()
		if ctx.Err() != nil {
			return "", waited, context.Cause(ctx)
		}
	}
	if ctx.Err() != nil {
		return "", waited, context.Cause(ctx)
	}
	g.writes++
	return g.state.Side, waited, nil
}

// sit waits, in a hold in a place of its own, until done is closed: by a request that goes on for this one, too.
func (g *gate) sit(ctx context.Context, who claimant, done <-chan struct{}) (held bool, err error) {
	var out chan struct{} // never closed where it has no place
	g.mu.Lock()
	if g.phase == Holding {
		w := g.shares.take(who.claim())
		if w == nil {
			g.mu.Unlock()
			return false, errQueueFull
		}
		held, out = true, w.out
		defer func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.shares.give(w)
		}()
	}
	g.mu.Unlock()
	select {
	case <-done:
		return held, nil
	case <-out:
		return held, errQueueFull
	case <-ctx.Done():
		return held, context.Cause(ctx)
	}
}

// leave counts a forwarded write as answered.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes--
	if g.writes == 0 && g.quiet != nil {
		close(g.quiet)
		g.quiet = nil
	}
}

// pause waits for a reason to try a write again that a fence has refused: the gate changes, or pause passes while
// nothing is held. It returns ctx's error when the request has waited long enough.
func (g *gate) pause(ctx context.Context, pause time.Duration) error {
	g.mu.Lock()
	changed, held := g.changed, g.phase == Holding
	g.mu.Unlock()
	if held {
		return nil // enter does the waiting
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// set changes phase and side and wakes everything that waits. The caller holds mu.
func (g *gate) set(phase Phase) {
	if phase == Open && g.shares.taken >= crowd {
		time.AfterFunc(2*time.Second, giveMemoryBack)
	}
	g.phase = phase
	g.quietHold = false
	if phase == Open {
		g.stopTimer()
		g.owner = Order{}
		g.until = time.Time{}
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// crowd is how many requests make a hold that leaves much memory behind: their goroutines' stacks have grown, and
// nothing shrinks them until a collection, which the quiet after a switch may put off for long.
const crowd = 1000

func giveMemoryBack() {
	runtime.GC() // halves the stacks that are mostly unused
	debug.FreeOSMemory()
}

func (g *gate) stopTimer() {
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	g.epoch++
}

// arm ends the present hold or drain after d, whatever has become of those who ordered it. The caller holds mu.
func (g *gate) arm(d time.Duration) {
	g.stopTimer()
	epoch := g.epoch
	g.until = time.Now().Add(d)
	g.timer = time.AfterFunc(d, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.epoch == epoch && !g.switching {
			g.expired++
			g.set(Open)
		}
	})
}

// view is the gate's part of the state.
func (g *gate) view() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := State{
		Side: g.state.Side, Phase: g.phase, Draining: g.phase == Draining, Holding: g.phase == Holding,
		Quiet: g.phase == Holding && g.quietHold, Run: g.owner.Run, Term: g.owner.Term,
		Terms: g.state.Terms, // never changed in place
		Held:  g.shares.taken, InFlight: g.writes, ExpiredHolds: g.expired,
	}
	if g.phase != Open {
		st.UntilMS = max(0, time.Until(g.until).Milliseconds())
	}
	return st
}

// close stops the timer of a hold.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopTimer()
}
