package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/plan"
)

// TestOldServerInPlace takes the unmodified server of generation 1.0, which reads with SELECT * and keeps plans, to 1.1 with
// the vendor's stock migrations, under traffic: behind views, killed in the middle of a concurrent index build and of a
// back-fill and resumed; then the new server takes over behind the router, and what only the old one needed goes. No request
// fails from the first to the last.
func TestOldServerInPlace(t *testing.T) {
	slice.In(t, 6)
	dir := t.TempDir()
	profile, err := os.ReadFile("../plan/profiles/bundled.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The router's green is 1.1, whose admin API lies where that of 1.0 does.
	own := filepath.Join(dir, "bundled-1.yaml")
	if err := os.WriteFile(own, []byte(strings.Replace(string(profile), "    green_prefix: /admin\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	th := newTheatreOn(t, deployment.Options{InPlace: true, Before: "1.0", After: "1.1", Profile: own, Seed: seed.Options{Clients: 10, Sessions: 300}}, "bundled-in-place.yaml",
		staysOnBlue, func(c *traffic.Config) { c.BypassPublic, c.BypassAdmin = "", "" })
	pgtest.Exec(t, th.BlueDSN, `INSERT INTO oauth_client (id, contacts, metadata) SELECT 'old-' || i, '["' || i || '"]', '{}' FROM generate_series(1, 150000) i`)

	holder, err := pgx.Connect(t.Context(), th.BlueDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(context.WithoutCancel(t.Context()))
	if _, err := holder.Exec(t.Context(), `BEGIN; LOCK TABLE oauth_access IN ROW EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	says := func(e journal.Event) (text string, done int64) {
		var d struct {
			Done       int64
			Note, Text string
		}
		_ = json.Unmarshal(e.Data, &d)
		return d.Text + d.Note, d.Done
	}
	code, killed, stderr := th.play(t, func(e journal.Event) bool {
		text, _ := says(e)
		return e.Kind == journal.StepNote && strings.Contains(text, "token_indexes.sql: waits for pid")
	}, "run", th.runbook, "--json")
	if !killed {
		t.Fatalf("no index build was seen to wait; exit code %d\n%s", code, stderr)
	}
	if !pgtest.Query[bool](t, th.BlueDSN, `SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)`) {
		t.Error("the killed build left nothing: nothing was tested")
	}
	if _, err := holder.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	code, killed, stderr = th.play(t, func(e journal.Event) bool {
		text, done := says(e)
		return e.Kind == journal.StepProgress && text == "back-fill" && done > 0
	}, "resume", th.runbook, "--json")
	if !killed {
		t.Fatalf("no back-fill was seen; exit code %d\n%s", code, stderr)
	}
	if n := pgtest.Query[int](t, th.BlueDSN, `SELECT count(*) FROM oauth_client_details`); n == 0 || n > 150000 {
		t.Errorf("killed with %d rows filled: not in the middle", n)
	}
	code, _, stderr = th.play(t, func(e journal.Event) bool {
		if e.Kind == journal.GateWaiting {
			th.changeServers(t)
		}
		return false
	}, "resume", th.runbook, "--json")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	if !pgtest.Query[bool](t, th.BlueDSN, `SELECT (SELECT max(version_id) = 11004 FROM goose_db_version) AND to_regclass('tideover_migration') IS NULL AND to_regclass('tideover_backfill') IS NULL
		AND NOT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid) AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'tideover_compat')
		AND NOT EXISTS (SELECT FROM pg_proc WHERE proname LIKE 'tideover%copy') AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'oauth_client'::regclass AND attname IN ('contacts', 'metadata'))`) {
		t.Error("something is left behind or missing")
	}
	if !pgtest.Query[bool](t, th.BlueDSN, `SELECT count(*) = 150000 AND bool_and(d.contacts = '["' || substr(c.id, 5) || '"]') FROM oauth_client c LEFT JOIN oauth_client_details d ON d.client_id = c.id WHERE c.id LIKE 'old-%'`) ||
		!pgtest.Query[bool](t, th.BlueDSN, `SELECT NOT EXISTS (SELECT FROM oauth_client c WHERE NOT EXISTS (SELECT FROM oauth_client_details d WHERE d.client_id = c.id))`) {
		t.Error("not every client has its details")
	}
	th.judgeInPlace(t)
}

// changeServers is what an operator does at the gate: the new server has become ready by itself, the router goes over to it,
// the old one is stopped, and the gate is opened.
func (th *theatre) changeServers(t *testing.T) {
	t.Helper()
	if !pgtest.Query[bool](t, th.BlueDSN, `SELECT count(*) = 2 FROM pg_attribute WHERE attrelid = 'oauth_client'::regclass AND attname IN ('contacts', 'metadata') AND NOT attisdropped`) {
		t.Error("what the old server needs is gone while it serves")
	}
	if err := th.Ready(t.Context(), th.GreenServer); err != nil {
		t.Fatal(err)
	}
	c := router.NewClient(th.RouterControl, th.RouterToken)
	o := router.Order{Run: "by hand", Term: 1}
	if _, err := c.Drain(t.Context(), o, 10*time.Second, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := c.Hold(t.Context(), o, 10*time.Second, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := c.Switch(t.Context(), o, plan.Green); err != nil {
		t.Fatal(err)
	}
	if err := c.Release(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := th.Stop(deployment.BlueServer); err != nil {
		t.Fatal(err)
	}
	if o := tideover(t.Context(), t, th.Environment(), "approve", th.runbook, "retire"); o.code != 0 {
		t.Fatalf("approve: %d\n%s", o.code, o.stderr)
	}
}
