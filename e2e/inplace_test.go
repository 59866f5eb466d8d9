package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/traffic"
)

// The migrations of TestInPlace, as a vendor would write them: on tables that the traffic uses.
var inPlace = map[string]string{
	"30001_fill.sql": "-- +goose Up\nUPDATE audit SET n = n + 1;\n",
	"30002_tokens.sql": `-- +goose Up
CREATE INDEX oauth_access_scope_idx ON oauth_access (client_id, signature);
ALTER TABLE oauth_refresh ADD COLUMN trace uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE oauth_refresh ADD CONSTRAINT oauth_refresh_signature_check CHECK (signature <> '');
ALTER TABLE oauth_client ADD COLUMN tier text NOT NULL DEFAULT 'standard';
`,
	"30003_drop.sql": "-- +goose Up\nALTER TABLE audit DROP COLUMN spare;\n",
}

const inPlaceRunbook = `version: 1
profile: bundled
blue:
  dsn: ${TIDEOVER_BLUE_DSN}
steps:
  - step: preflight
  - step: migrate
    target: live
    source: migrations
    allow: [ALLOWED]
  - step: validate
  - step: retire
`

// TestInPlace migrates the database of a serving server, under traffic: what is not allowed is refused before the run; the
// process is killed in a back-fill and in an index build, and resumed; no request fails.
func TestInPlace(t *testing.T) {
	slice.In(t, 3)
	th := newTheatre(t, staysOnBlue)
	pgtest.Exec(t, th.BlueDSN, `CREATE TABLE audit (id bigint PRIMARY KEY, n integer NOT NULL, spare text)`)
	pgtest.Exec(t, th.BlueDSN, `INSERT INTO audit SELECT i, 0 FROM generate_series(1, 400000) i`)
	dir := t.TempDir()
	th.runbook = filepath.Join(dir, "inplace.yaml")
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range inPlace {
		write("migrations/"+name, text)
	}
	write("inplace.yaml", strings.Replace(inPlaceRunbook, "ALLOWED", "", 1))
	for _, command := range []string{"plan", "run"} {
		c := tideover(t.Context(), t, th.Environment(), command, th.runbook)
		if c.code != 2 || !strings.Contains(c.stderr, "30003_drop.sql:2: breaks-old-server") || !strings.Contains(c.stderr, "allow: [breaks-old-server]") {
			t.Fatalf("%s: exit code %d\n%s", command, c.code, c.stderr)
		}
	}
	write("inplace.yaml", strings.Replace(inPlaceRunbook, "ALLOWED", "breaks-old-server", 1))

	note := func(e journal.Event, want string) bool {
		var d struct {
			Done int64
			Note string
			Text string
		}
		_ = json.Unmarshal(e.Data, &d)
		return strings.Contains(d.Text, want) || d.Note == want && d.Done > 0
	}
	code, killed, stderr := th.play(t, func(e journal.Event) bool { return e.Kind == journal.StepProgress && note(e, "back-fill") }, "run", th.runbook, "--json", "--yes")
	if !killed {
		t.Fatalf("no back-fill was seen; exit code %d\n%s", code, stderr)
	}
	holder, err := pgx.Connect(t.Context(), th.BlueDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(context.WithoutCancel(t.Context()))
	if _, err := holder.Exec(t.Context(), `BEGIN; LOCK TABLE oauth_access IN ROW EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	code, killed, stderr = th.play(t, func(e journal.Event) bool { return e.Kind == journal.StepNote && note(e, "tokens.sql: waits for pid") }, "resume", th.runbook, "--json", "--yes")
	if !killed {
		t.Fatalf("no index build was seen to wait; exit code %d\n%s", code, stderr)
	}
	if _, err := holder.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := th.play(t, nil, "resume", th.runbook, "--json", "--yes"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	if !pgtest.Query[bool](t, th.BlueDSN, `SELECT count(*) = 400000 AND bool_and(n = 1) FROM audit`) {
		t.Error("rows were not written once each")
	}
	if !pgtest.Query[bool](t, th.BlueDSN, `SELECT (SELECT count(*) = 3 FROM goose_db_version WHERE version_id >= 30001) AND to_regclass('tideover_migration') IS NULL
		AND to_regclass('tideover_backfill') IS NULL AND NOT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)
		AND (SELECT convalidated FROM pg_constraint WHERE conname = 'oauth_refresh_signature_check')`) {
		t.Error("something is left behind or missing")
	}
	th.judgeInPlace(t)
}

// judgeInPlace ends the traffic of an upgrade in place, and wants no finding and no failed request.
func (th *theatre) judgeInPlace(t *testing.T) {
	t.Helper()
	th.stop()
	if err := th.traffic.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := th.traffic.History()
	v := traffic.Check(h)
	for _, f := range v.Findings {
		if f.Class != traffic.NothingProved { // what the sweep itself was given nobody asks for again: there is no switch to end at
			t.Error(f)
		}
	}
	if v.Failed > 0 || v.Revocations == 0 {
		t.Errorf("%s; want revocations, and no request that failed", v)
	}
	busyBetween(t, h, "migrate", "validate")
	t.Log(v)
}
