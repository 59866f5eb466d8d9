package cutover

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/plan"
)

// Routers are all replicas of the router. A command goes to all at once and has worked when it has worked at each.
type Routers []*router.Client

func (r Routers) each(f func(i int, c *router.Client) error) error {
	var group errgroup.Group
	for i, c := range r {
		group.Go(func() error { return f(i, c) })
	}
	return group.Wait()
}

func order(t Ticket) router.Order { return router.Order{Run: t.Run, Term: t.Term, Call: t.Call} }

// Drain is Router.Drain; left is the sum over the replicas.
func (r Routers) Drain(ctx context.Context, t Ticket, wait, deadline time.Duration) (left int, err error) {
	lefts := make([]int, len(r))
	err = r.each(func(i int, c *router.Client) (err error) {
		lefts[i], err = c.Drain(ctx, order(t), wait, deadline)
		return err
	})
	for _, n := range lefts {
		left += n
	}
	return left, err
}

// Hold is Router.Hold. Half of the deadline may go by until forwarded writes are answered.
func (r Routers) Hold(ctx context.Context, t Ticket, deadline time.Duration) error {
	return r.each(func(_ int, c *router.Client) error { return c.Hold(ctx, order(t), deadline, deadline/2) })
}

// Switch is Router.Switch.
func (r Routers) Switch(ctx context.Context, t Ticket, side plan.Side) error {
	return r.each(func(_ int, c *router.Client) error { return c.Switch(ctx, order(t), side) })
}

// Release is Router.Release.
func (r Routers) Release(ctx context.Context, t Ticket) error {
	return r.each(func(_ int, c *router.Client) error { return c.Release(ctx, order(t)) })
}

// Look is Router.Look.
func (r Routers) Look(ctx context.Context, t Ticket) (Routing, error) {
	states := make([]router.State, len(r))
	err := r.each(func(i int, c *router.Client) (err error) {
		states[i], err = c.State(ctx)
		return err
	})
	w := Routing{Replicas: len(r)}
	for _, st := range states {
		if st.Side == plan.Green {
			w.Green++
		}
		if st.Phase != router.Open {
			w.Busy++
		}
		if st.Quiet {
			w.Quiet++
		}
		w.Newer = w.Newer || st.Terms[t.Run] > t.Term
	}
	return w, err
}
