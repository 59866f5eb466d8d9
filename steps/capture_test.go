package steps

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/preflight"
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

// A copy that is to hold while blue is busy has to see that it is.
func TestPreflightAsksWhatTheCopySees(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	e := upgraded(t)
	e.Runbook.Step(plan.Snapshot).Config = &plan.SnapshotSpec{MaxActive: 100}
	const hand = `CREATE ROLE owner_only; DO $$ DECLARE r regclass; BEGIN
		EXECUTE format('GRANT CREATE ON DATABASE %I TO owner_only', current_database());
		FOR r IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
			EXECUTE format('ALTER TABLE %s OWNER TO owner_only', r);
		END LOOP;
	END $$`
	if _, err := e.Blue.Pool().Exec(t.Context(), hand, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	var err error
	e.Blue.Close()
	if e.Blue, err = postgres.Open(t.Context(), "blue", e.Runbook.Blue.DSN+"&options=-c%20role%3Downer_only"); err != nil {
		t.Fatal(err)
	}
	defer e.Blue.Close()
	findings, err := e.preflight(t.Context(), &plan.PreflightSpec{MaxTransaction: time.Hour, MaxClockSkew: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(findings, func(f preflight.Finding) bool { return f.Check == "snapshot" })
	if i < 0 || findings[i].Level != preflight.Fail || !strings.Contains(findings[i].Hint, "pg_monitor") {
		t.Errorf("findings: %+v", findings)
	}
}
