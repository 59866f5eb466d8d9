package steps

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
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

// Owners that green's server has not got are named before a copy is made.
func TestPreflightLooksForOwners(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	e := upgraded(t)
	green := pgtest.NewServer(t, pgserver.Options{Name: "green"})
	e.Green.Close()
	var err error
	if e.Green, err = postgres.Open(t.Context(), "green", green.DSN()); err != nil {
		t.Fatal(err)
	}
	defer e.Green.Close()
	e.Runbook.Step(plan.Snapshot).Config = &plan.SnapshotSpec{Privileges: true}
	role := "reader_" + strings.ToLower(rand.Text()[:8])
	pgtest.Exec(t, e.Blue.DSN(), `CREATE ROLE `+role+`; GRANT SELECT (id) ON oauth_session TO `+role)
	t.Cleanup(func() { pgtest.Exec(t, e.Blue.DSN(), `DROP OWNED BY `+role+`; DROP ROLE `+role) })
	findings, err := e.preflight(t.Context(), &plan.PreflightSpec{MaxTransaction: time.Hour, MaxClockSkew: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(findings, func(f preflight.Finding) bool { return f.Check == "owners" })
	if i < 0 || findings[i].Level != preflight.Fail || !strings.Contains(findings[i].Text, role) || !strings.Contains(findings[i].Hint, "CREATE ROLE") {
		t.Errorf("findings: %+v", findings)
	}
}

// What is not written to the log can't be captured from it.
func TestPreflightRefusesUnloggedTablesForTheLog(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgserver.Options{Name: "logical"})
	pgtest.Exec(t, server.DSN(), `CREATE UNLOGGED TABLE cache (id int PRIMARY KEY); CREATE TABLE token (id int PRIMARY KEY)`)
	blue, err := postgres.Open(t.Context(), "blue", server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer blue.Close()
	able := func(tables ...string) error {
		p := &plan.Profile{}
		for _, name := range tables {
			p.Tables = append(p.Tables, plan.Table{Name: name})
		}
		return replay.NewLogical(blue, p, 0).Able(t.Context())
	}
	if err := able("token"); err != nil {
		t.Error(err)
	}
	if err := able("token", "cache"); err == nil || !strings.Contains(err.Error(), "cache") || !strings.Contains(hintOf(err), "SET LOGGED") {
		t.Errorf("got %v, want the table that is not in the log", err)
	}
}
