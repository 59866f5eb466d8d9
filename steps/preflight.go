package steps

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/plan"
)

var preflightKind = kindOf(plan.Preflight,
	func(b base, env *Env, c *plan.PreflightSpec) Step { return &preflightStep{base: b, env: env, spec: c} },
	func(_ *plan.PreflightSpec) (does, undo string) {
		return "looks at both databases, and counts the rows that the new constraints would refuse", "nothing to undo"
	})

// preflightStep looks before anything is changed.
type preflightStep struct {
	base
	env  *Env
	spec *plan.PreflightSpec
}

// Done is never true: what was fine before a crash may not be now. Looking again is cheap.
func (s *preflightStep) Done(context.Context) (bool, error) { return false, nil }

// Run notes warnings and stops the run at the first failing check, naming all of them.
func (s *preflightStep) Run(ctx context.Context, p *Progress) error {
	findings, err := s.env.preflight(ctx, s.spec)
	if err != nil {
		return err
	}
	var failed []preflight.Finding
	for _, f := range findings {
		switch f.Level {
		case preflight.Warn:
			text := f.Check + ": " + f.Text
			if f.Rule != nil {
				text += "; \"tideover plan --connect\" proposes a rule for them"
			}
			if err := p.Note(ctx, "warn", "%s", text); err != nil {
				return err
			}
		case preflight.Fail:
			failed = append(failed, f)
		}
	}
	if len(failed) > 0 {
		return &PreflightError{Findings: failed}
	}
	return p.Note(ctx, "info", "%d checks, none stops the run", len(findings))
}

// Undo removes the scratch database that a killed preflight has left on green's server. It takes nothing else back,
// because nothing was changed; so what keeps it from that is said and keeps nobody from the way back.
func (s *preflightStep) Undo(ctx context.Context, p *Progress) error { return s.env.sweep(ctx, p) }

func (e *Env) sweep(ctx context.Context, p *Progress) error {
	if e.Green == nil {
		return nil
	}
	if err := postgres.SweepThrowaways(ctx, e.Green); err != nil {
		return p.Note(ctx, "warn", "%v", err)
	}
	return nil
}

// PreflightError lists the checks that stop a run.
type PreflightError struct{ Findings []preflight.Finding }

func (e *PreflightError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		lines[i] = f.Check + ": " + f.Text
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return fmt.Sprintf("%d checks stop the run:\n  %s", len(lines), strings.Join(lines, "\n  "))
}

// Hint joins the hints of the checks.
func (e *PreflightError) Hint() string {
	var hints []string
	for _, f := range e.Findings {
		if f.Hint != "" && !slices.Contains(hints, f.Hint) {
			hints = append(hints, f.Hint)
		}
	}
	return strings.Join(hints, "\n")
}

// Look runs preflight alone, outside of a run.
func Look(ctx context.Context, u Upgrade) ([]preflight.Finding, error) {
	env := &Env{Upgrade: u}
	defer env.close()
	if err := env.connect(ctx); err != nil {
		return nil, err
	}
	if err := checkMigrationsAt(ctx, u, env.Blue.DSN()); err != nil {
		return nil, err
	}
	spec := plan.NewConfig(plan.Preflight).(*plan.PreflightSpec)
	if step := u.Runbook.Step(plan.Preflight); step != nil {
		spec = step.Config.(*plan.PreflightSpec)
	}
	return env.preflight(ctx, spec)
}

func (e *Env) preflight(ctx context.Context, spec *plan.PreflightSpec) ([]preflight.Finding, error) {
	o := preflight.Options{Blue: e.Blue, Profile: e.Profile, MaxTransaction: spec.MaxTransaction, MaxClockSkew: spec.MaxClockSkew, MaxQuery: spec.MaxQuery}
	if !e.Runbook.InPlace() {
		migrator, err := e.migrator()
		if err != nil {
			return nil, err
		}
		o.Green, o.Migrator = e.Green, migrator
		o.BlueRole, o.GreenRole = e.Runbook.Blue.Role, e.Runbook.Green.Role
		if step := e.Runbook.Step(plan.Snapshot); step != nil {
			o.Privileges = step.Config.(*plan.SnapshotSpec).Privileges
		}
		if step := e.Runbook.Step(plan.Capture); step != nil {
			o.FromLog = step.Config.(*plan.CaptureSpec).Source == "logical"
		}
	}
	findings, err := preflight.Check(ctx, o)
	if err != nil {
		return findings, err
	}
	unable := func(check string, err error) {
		if err != nil {
			findings = append(findings, preflight.Finding{Level: preflight.Fail, Check: check, Text: err.Error(), Hint: hintOf(err)})
		}
	}
	if e.Runbook.Step(plan.Capture) != nil {
		unable("capture", e.source().Able(ctx))
	}
	if step := e.Runbook.Step(plan.Snapshot); step != nil {
		unable("snapshot", paceOf(step.Config.(*plan.SnapshotSpec)).Able(ctx, e.Blue))
	}
	if slices.ContainsFunc(findings, func(f preflight.Finding) bool { return f.Level == preflight.Fail }) {
		return findings, nil // what would stop the run has its name already
	}
	proved, err := e.prove(ctx)
	return append(findings, proved...), err
}
