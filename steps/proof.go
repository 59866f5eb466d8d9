package steps

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
	"github.com/tideover/tideover/replay/proof"
)

// prove takes the upgrade through in miniature, on databases of its own on green's server, and puts what came out into
// words of the preflight. There is nothing to prove where nothing is replayed.
func (e *Env) prove(ctx context.Context) ([]preflight.Finding, error) {
	const check = "proof"
	if e.Runbook.InPlace() || e.Runbook.Step(plan.Replay) == nil {
		return nil, nil
	}
	migrator, err := e.migrator()
	if err != nil {
		return nil, err
	}
	report, err := proof.Run(ctx, proof.Options{
		Blue: e.Blue, Green: e.Green, Profile: e.Profile, Migrator: migrator,
		Rules: e.rules, KeptOnly: !replay.RecordsWhatIsWanted(e.source()),
	})
	if ctx.Err() != nil {
		return nil, err
	}
	var found []preflight.Finding
	var lineage *replay.LineageError
	if errors.As(err, &lineage) {
		for _, o := range lineage.Objections {
			found = append(found, preflight.Finding{Level: preflight.Fail, Check: check, Text: fmt.Sprintf("%s:%d: %s", o.File, o.Line, o.Text),
				Hint: o.Way + "; where it can't go wrong during this upgrade, say so in the profile (settled)"})
		}
	} else if err != nil {
		found = append(found, preflight.Finding{Level: preflight.Fail, Check: check, Text: fmt.Sprintf("the upgrade in miniature stops: %v", err), Hint: hintOf(err)})
	}
	for _, f := range report.Objections {
		found = append(found, preflight.Finding{Level: preflight.Fail, Check: check, Text: "in miniature, " + f.Text, Hint: f.Way})
	}
	if err == nil && len(report.Objections) == 0 {
		found = append(found, preflight.Finding{Level: preflight.OK, Check: check,
			Text: fmt.Sprintf("in miniature, with %d rows of blue and %d changes, green ends as the migrations make it", report.Rows, report.Deeds)})
	}
	if len(report.Untried) > 0 {
		found = append(found, preflight.Finding{Level: preflight.Warn, Check: check,
			Text: "not tried in miniature: " + strings.Join(report.Untried, "; "), Hint: "rehearse with rows in these tables"})
	}
	return found, nil
}
