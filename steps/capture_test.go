package steps

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/internal/quick"
	"github.com/tideover/tideover/plan"
)

// A source that can't work must stop the run before anything is changed.
func TestPreflightAsksTheSource(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	e := upgraded(t)
	e.Runbook.Step(plan.Capture).Config = &plan.CaptureSpec{Source: "outbox", Outbox: "nowhere"}
	findings, err := e.preflight(t.Context(), &plan.PreflightSpec{MaxTransaction: time.Hour, MaxClockSkew: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(findings, func(f preflight.Finding) bool { return f.Check == "capture" })
	if i < 0 || findings[i].Level != preflight.Fail || !strings.Contains(findings[i].Text, "public.nowhere") || !strings.Contains(findings[i].Hint, "CREATE TABLE") {
		t.Errorf("findings: %+v", findings)
	}
}
