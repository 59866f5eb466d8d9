package steps

import (
	"context"
	"fmt"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/plan"
)

var monitorKind = kindOf(plan.Monitor,
	func(b base, env *Env, c *plan.MonitorSpec) Step { return &monitorStep{base: b, env: env, spec: c} },
	func(c *plan.MonitorSpec) (does, undo string) {
		return fmt.Sprintf("watches green for %s; more than %.1f %% of errors stop it", c.For, c.MaxErrorRate*100), "nothing to undo"
	})

// monitorStep watches what clients get after the switch, at the router, and may go back by itself.
type monitorStep struct {
	base
	NothingToUndo
	env  *Env
	spec *plan.MonitorSpec
}

// Done is never true: watching has no effect to find.
func (s *monitorStep) Done(context.Context) (bool, error) { return false, nil }

const monitorEvery = 250 * time.Millisecond

// Run watches for as long as the runbook says.
func (s *monitorStep) Run(ctx context.Context, p *Progress) error {
	routers := s.env.routers()
	if len(routers) == 0 {
		return p.Note(ctx, "warn", "no router is named in the runbook: there is nothing to watch")
	}
	if _, err := s.env.askAnswers(ctx, p, "", harmless); err != nil {
		if s.spec.Rollback && ctx.Err() == nil {
			return &RollbackError{Err: err}
		}
		return err
	}
	first, err := sides(ctx, routers, plan.Green)
	if err != nil {
		return err
	}
	began := time.Now()
	tick := time.NewTicker(monitorEvery)
	defer tick.Stop()
	last := first
	for time.Since(began) < s.spec.For {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if last, err = sides(ctx, routers, plan.Green); err != nil {
			return err
		}
		requests, errors := last.Requests-first.Requests, last.Errors-first.Errors
		p.Report(time.Since(began).Milliseconds(), s.spec.For.Milliseconds(), "steps", fmt.Sprintf("%d requests, %d errors, p95 %.0f ms", requests, errors, last.P95MS))
		if requests >= monitorEnough && float64(errors) > s.spec.MaxErrorRate*float64(requests) {
			return s.tooMany(requests, errors)
		}
	}
	blue, err := sides(ctx, routers, plan.Blue)
	if err != nil {
		return err
	}
	requests, errors := last.Requests-first.Requests, last.Errors-first.Errors
	if requests > 0 && float64(errors) > s.spec.MaxErrorRate*float64(requests) {
		return s.tooMany(requests, errors)
	}
	return p.Note(ctx, "info", "%d requests on green, %d errors; p95 %.1f ms on blue before, %.1f ms on green now", requests, errors, blue.P95MS, last.P95MS)
}

// monitorEnough is the number of requests below which a rate says little.
const monitorEnough = 50

func (s *monitorStep) tooMany(requests, errors int64) error {
	err := fmt.Errorf("%d of %d requests on green failed, more than max_error_rate %.3f", errors, requests, s.spec.MaxErrorRate)
	if s.spec.Rollback {
		return &RollbackError{Err: err}
	}
	return err
}

// sides adds up what the router's replicas say of one side; the latency is the slowest replica's.
func sides(ctx context.Context, routers []*router.Client, side plan.Side) (router.SideState, error) {
	var sum router.SideState
	for _, r := range routers {
		state, err := r.State(ctx)
		if err != nil {
			return sum, err
		}
		at := state.Sides[side]
		sum.Requests += at.Requests
		sum.Errors += at.Errors
		sum.Unreachable += at.Unreachable
		sum.P50MS, sum.P95MS, sum.P99MS = max(sum.P50MS, at.P50MS), max(sum.P95MS, at.P95MS), max(sum.P99MS, at.P99MS)
	}
	return sum, nil
}

// routers are clients of the router's replicas, in the runbook's order.
func (e *Env) routers() []*router.Client {
	if e.Runbook.Router == nil {
		return nil
	}
	clients := make([]*router.Client, 0, len(e.Runbook.Router.Admin))
	for _, base := range e.Runbook.Router.Admin {
		clients = append(clients, router.NewClient(base, e.Runbook.Router.Token))
	}
	return clients
}
