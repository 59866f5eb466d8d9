package cmd

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tideover/tideover/internal/estimate"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

// lookAtBoth runs preflight outside of a run, and says how often it warns. Then it says how
// long the copy would take about. It writes nothing to blue and keeps nothing on green.
func lookAtBoth(ctx context.Context, std *IO, rb *plan.Runbook, profile *plan.Profile, asJSON bool) (warned int, err error) {
	findings, err := steps.Look(ctx, upgradeOf(rb, profile))
	if err != nil {
		return 0, err
	}
	failed := 0
	for _, f := range findings {
		switch f.Level {
		case preflight.Fail:
			failed++
		case preflight.Warn:
			warned++
		}
	}
	proposed, err := preflight.Proposed(findings)
	if err != nil {
		return warned, err
	}
	estimated, unable := steps.Estimate(ctx, upgradeOf(rb, profile))
	switch {
	case ctx.Err() != nil:
		return warned, context.Cause(ctx)
	case unable != nil:
		warned++
		fmt.Fprintf(std.Err, "warning: no estimate could be made: %v\n", unable)
	}
	if asJSON {
		if err := json.NewEncoder(std.Out).Encode(map[string]any{"findings": findings, "proposed_rules": proposed, "estimate": estimated}); err != nil {
			return warned, err
		}
	} else {
		fmt.Fprintln(std.Out, "\npreflight:")
		for _, f := range findings {
			fmt.Fprintf(std.Out, "  %-4s  %s: %s\n", f.Level, f.Check, f.Text)
			if f.Hint != "" && f.Level != preflight.OK {
				fmt.Fprintf(std.Out, "        %s\n", f.Hint)
			}
		}
		if estimated != nil {
			fmt.Fprintln(std.Out)
			estimate.Text(std.Out, *estimated)
		}
		if proposed != "" {
			fmt.Fprintf(std.Out, "\nrules for the rows that no rule of the profile sees to; read them, then put them into your profile:\n\n%s", proposed)
		}
	}
	if failed > 0 {
		return warned, fmt.Errorf("%d checks stop the run", failed)
	}
	return warned, nil
}
