package steps

import (
	"context"
	"fmt"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

var captureKind = kindOf(plan.Capture,
	func(b base, env *Env, c *plan.CaptureSpec) Step { return &captureStep{base: b, env: env, spec: c} },
	func(c *plan.CaptureSpec) (does, undo string) {
		switch {
		case c.Source == "logical":
			return "makes a replication slot on blue that gives every change", "slot dropped"
		case c.Source == "outbox":
			return fmt.Sprintf("takes every change from %s, which the server writes", c.Outbox), "queue dropped"
		case c.OnError == "mark-incomplete":
			return "installs triggers on blue that record every change, or mark the run as one that can only be taken back", "triggers removed"
		}
		return "installs triggers on blue that record every change", "triggers removed"
	})

// captureStep begins to record changes on blue. The fence is not needed before the cutover, which puts it in place right
// before the hold: until then no statement of the server pays for it.
type captureStep struct {
	base
	env  *Env
	spec *plan.CaptureSpec
}

// source is what brings blue's changes: the run has one.
func (e *Env) source() replay.Source {
	e.sourceOnce.Do(func() {
		p := e.Profile
		triggers := replay.NewCapture(e.Blue, p, plan.Blue)
		e.captured = triggers
		if step := e.Runbook.Step(plan.Capture); step != nil {
			switch c := step.Config.(*plan.CaptureSpec); c.Source {
			case "triggers":
				if c.OnError == "mark-incomplete" {
					e.captured = triggers.MarkIncomplete()
				}
			case "logical":
				e.captured = replay.NewLogical(e.Blue, p, int64(c.MaxWALMB)<<20)
			case "outbox":
				e.captured = replay.NewOutbox(e.Blue, p, c.Outbox)
			}
		}
	})
	return e.captured
}

func (e *Env) blueFence() *replay.Fence {
	return replay.NewFence(e.Blue, e.Profile.Schema, e.Profile.Others...)
}
func (e *Env) greenFence() *replay.Fence {
	return replay.NewFence(e.Green, e.Profile.Schema, e.Profile.Others...)
}

// watch notices writes to the tables that the profile does not name.
func (e *Env) watch() *replay.Watch { return replay.NewWatch(e.Blue, e.Profile) }

// drift compares blue's schema with the copied one.
func (e *Env) drift() *replay.Drift {
	privileges := false
	if step := e.Runbook.Step(plan.Snapshot); step != nil {
		privileges = step.Config.(*plan.SnapshotSpec).Privileges
	}
	return replay.NewDrift(e.Blue, e.Green, privileges)
}

// unmoved says whether blue is still what was copied, but for what is captured: nobody has changed its schema, or written where
// nothing looks.
func (e *Env) unmoved(ctx context.Context) error {
	if err := e.drift().Check(ctx); err != nil {
		return err
	}
	for what, installed := range map[string]func(context.Context) (bool, error){
		"the capture's triggers": e.source().Installed, "the triggers that notice writes to other tables": e.watch().Installed,
	} {
		there, err := installed(ctx)
		if err == nil && !there {
			if err = e.drift().Check(ctx); err == nil { // a table that has come, or has another name, meanwhile
				err = &unwatchedError{what}
			}
		}
		if err != nil {
			return err
		}
	}
	return e.watch().Check(ctx)
}

// unwatchedError says that something of what notices changes of blue was off for a time.
type unwatchedError struct{ what string }

func (e *unwatchedError) Error() string {
	return e.what + " on blue are not all there and firing always: they were switched off (DISABLE TRIGGER, and ENABLE after it), or dropped, and what was written meanwhile is not known"
}

// Hint says what a person can do.
func (e *unwatchedError) Hint() string {
	return "blue serves, and has lost nothing; take the run back with tideover rollback, and begin a new one; keep jobs off blue that disable triggers"
}

// ExitCode is 4: stopped safely before the point of no return.
func (e *unwatchedError) ExitCode() int { return 4 }

// Done looks whether changes are recorded.
func (s *captureStep) Done(ctx context.Context) (bool, error) {
	if watched, err := s.env.watch().Installed(ctx); err != nil || !watched {
		return false, err
	}
	return s.env.source().Installed(ctx)
}

// Run begins to record; whatever needs a lock waits no longer for it than the budget.
func (s *captureStep) Run(ctx context.Context, p *Progress) error {
	if s.spec.Source == "logical" {
		if err := s.warnOfSlot(ctx, p); err != nil {
			return err
		}
	}
	if err := s.env.watch().Install(ctx, s.env.budget()); err != nil {
		return err
	}
	return s.env.source().Install(ctx, s.env.budget())
}

// warnOfSlot says that nobody watches the slot's log while no process of the run is alive.
func (s *captureStep) warnOfSlot(ctx context.Context, p *Progress) error {
	var keep string
	if err := s.env.Blue.Pool().QueryRow(ctx, `SELECT pg_catalog.current_setting('max_slot_wal_keep_size')`).Scan(&keep); err != nil {
		return err
	}
	if keep != "-1" {
		return nil
	}
	return p.Note(ctx, "warn", "blue keeps its log for the slot without a limit of its own: while this run is stopped nobody watches that; set max_slot_wal_keep_size on blue")
}

// Background brings the changes that no trigger writes, up to the cutover.
func (s *captureStep) Background(ctx context.Context, p *Progress) error {
	return s.env.source().Run(ctx)
}

// Undo removes everything from blue but the journal, the cutover's fence too.
func (s *captureStep) Undo(ctx context.Context, p *Progress) error {
	if err := s.env.blueFence().Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	if err := s.env.watch().Remove(ctx, s.env.budget()); err != nil {
		return err
	}
	return s.env.source().Remove(ctx, s.env.budget())
}
