package steps

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

var replayKind = kindOf(plan.Replay,
	func(b base, env *Env, c *plan.ReplaySpec) Step { return &replayStep{base: b, env: env, spec: c} },
	func(c *plan.ReplaySpec) (does, undo string) {
		return fmt.Sprintf("brings changes over until at most %d wait, and keeps going", c.UntilLag), "scratch databases dropped"
	})

// replayStep brings the captured changes over until the backlog is small, and goes on in the background while later
// steps run, up to the cutover.
type replayStep struct {
	base
	env  *Env
	spec *plan.ReplaySpec
}

// Done is never true: an empty backlog is found in no time, and a process that takes the run over must get the scratch
// database ready.
func (s *replayStep) Done(context.Context) (bool, error) { return false, nil }

// Run replays until no more than until_lag changes wait, or none has waited longer than until_age, for steady_for on end.
func (s *replayStep) Run(ctx context.Context, p *Progress) error {
	r, err := s.env.Replayer()
	if err != nil {
		return err
	}
	if err := s.env.unmoved(ctx); err != nil {
		return err
	}
	if err := r.Prepare(ctx); err != nil {
		return err
	}
	if err := r.Uproot(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.spec.Timeout, errLate)
	defer cancel()
	near := steady(s.spec.SteadyFor, func(lag replay.Lag) bool {
		return lag.Changes <= int64(s.spec.UntilLag) || lag.Oldest <= s.spec.UntilAge
	})
	pass := s.spec.AuditPass
	if _, err := p.Load(auditFound, &pass); err != nil {
		return err
	}
	var short bool // the backlog is
	for {
		err = s.env.replayUntil(ctx, r, p, func(lag replay.Lag) bool {
			short = near(lag)
			return short && (!pass || s.env.audited() || lag.Parked > 0)
		})
		if err != nil || !pass || s.env.audited() {
			break
		}
		if err = unparked(ctx, r); err != nil { // no audit can compare beside what is parked
			break
		}
	}
	if errors.Is(context.Cause(ctx), errLate) {
		return s.late(short)
	}
	return found(ctx, p, err)
}

// errLate says that the step's timeout is over.
var errLate = errors.New("the step took too long")

// late says what the step has waited for in vain.
func (s *replayStep) late(short bool) error {
	if short {
		return fmt.Errorf("the audit did not go through all tables within %s: give it more of the time (audit), or the step more of it (timeout)", s.spec.Timeout)
	}
	return fmt.Errorf("the backlog did not come down to %d changes, or to %s, within %s: blue writes faster than replay applies",
		s.spec.UntilLag, s.spec.UntilAge, s.spec.Timeout)
}

// audited says whether the audit has gone through all tables.
func (e *Env) audited() bool { return e.audit == nil || e.audit.Coverage().Passes > 0 }

// auditFound is the checkpoint that an audit has found something: the run goes on to the switch only after a whole pass
// that finds nothing, whatever process it is in.
const auditFound = "audit.found"

// found notes that err is what an audit has found.
func found(ctx context.Context, p *Progress, err error) error {
	var wrong *replay.AuditError
	if !errors.As(err, &wrong) {
		return err
	}
	return errors.Join(err, p.Checkpoint(context.WithoutCancel(ctx), auditFound, true))
}

// steady holds when small has held at every look for so long.
func steady(long time.Duration, small func(replay.Lag) bool) func(replay.Lag) bool {
	var since time.Time
	return func(lag replay.Lag) bool {
		switch {
		case !small(lag):
			since = time.Time{}
			return false
		case since.IsZero():
			since = time.Now()
		}
		return time.Since(since) >= long
	}
}

// replayUntil applies batches until the backlog is small enough. With nothing to apply it waits a moment.
func (e *Env) replayUntil(ctx context.Context, r *replay.Replayer, p *Progress, enough func(replay.Lag) bool) error {
	for {
		lag, err := e.lag(ctx)
		if err != nil {
			return err
		}
		e.report(p, lag)
		if enough(lag) {
			return nil
		}
		began := time.Now()
		a, err := r.Batch(ctx)
		if a.Changes > 0 || err != nil {
			e.timed(journal.Timing{Step: p.Step(), What: journal.TimedBatch, Count: a.Changes, Began: began}, err)
		}
		if err != nil {
			return err
		}
		if err := p.Spend(ctx, a.Changes); err != nil {
			return err
		}
		if e.audit != nil && e.audit.Due() {
			if _, err := e.audit.Page(ctx); err != nil {
				return err
			}
			continue
		}
		if a.Changes > 0 || len(a.Parked) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(r.Poll):
		}
	}
}

// Background goes on until the cutover, or the end of the process.
func (s *replayStep) Background(ctx context.Context, p *Progress) error {
	r, err := s.env.Replayer()
	if err != nil {
		return err
	}
	if err := r.Prepare(ctx); err != nil {
		return err
	}
	if err := r.Uproot(ctx); err != nil {
		return err
	}
	var before int64
	began := time.Now()
	return found(ctx, p, r.Run(ctx, func(lag replay.Lag) {
		s.env.report(p, lag)
		var applied int64
		if before > 0 {
			applied = lag.Applied - before
		}
		before = lag.Applied
		if applied > 0 {
			s.env.timed(journal.Timing{Step: p.Step(), What: journal.TimedBatch, Count: applied, Began: began}, nil)
		}
		defer func() { began = time.Now() }()
		_ = p.Spend(ctx, applied) // when ctx ends, Run does
	}))
}

// Undo drops the scratch databases.
func (s *replayStep) Undo(ctx context.Context, p *Progress) error {
	r, err := s.env.Replayer()
	if err != nil {
		return err
	}
	return r.Close(ctx)
}

func (e *Env) lag(ctx context.Context) (replay.Lag, error) {
	return replay.LagOf(ctx, e.source(), replay.NewCapture(e.Blue, e.Profile, plan.Blue))
}

func (e *Env) report(p *Progress, lag replay.Lag) {
	note := fmt.Sprintf("%d behind, the oldest for %s", lag.Changes, lag.Oldest.Round(time.Millisecond))
	if e.audit != nil {
		note += fmt.Sprintf("; %d rows audited", e.audit.Coverage().Total())
	}
	b := &journal.Backlog{Changes: lag.Changes, OldestS: lag.Oldest.Seconds(), Parked: lag.Parked}
	if e.audit != nil {
		b.Audited = e.audit.Coverage().Total()
	}
	p.show(journal.ProgressData{Done: lag.Applied, Total: lag.Captured, Unit: "changes", Note: note, Backlog: b})
}

// tellAudit says how much of green was held against blue before the switch.
func (e *Env) tellAudit(ctx context.Context, p *Progress) error {
	if e.audit == nil {
		return nil
	}
	c := e.audit.Coverage()
	if err := p.Figure(ctx, "audit", AuditFigures{Passes: c.Passes, Rows: c.Rows}); err != nil {
		return err
	}
	return p.Note(ctx, "info", "the audit has held %d rows of %d tables against green, and gone through all of them %d times", c.Total(), len(c.Rows), c.Passes)
}

// AuditFigures are what the figure "audit" says: how often the audit went through all tables, and how many rows of each
// table of blue it has held against green, in the process that made the switch.
type AuditFigures struct {
	Passes int              `json:"passes"`
	Rows   map[string]int64 `json:"rows"`
}

// catchUp waits until what is captured by now has been replayed by the work in the background.
func (e *Env) catchUp(ctx context.Context) error {
	lag, err := e.lag(ctx)
	if err != nil {
		return err
	}
	target := lag.Captured
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for lag.Applied < target && lag.Changes > 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if lag, err = e.lag(ctx); err != nil {
			return err
		}
	}
	return nil
}
