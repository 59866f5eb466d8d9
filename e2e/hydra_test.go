//go:build hydra

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/testdata"
)

// TestHydra takes the real Ory Hydra from 1.11.10 to 2.3.0 under traffic, with every kind of row that its migrations
// refuse or corrupt, and wants nothing lost.
func TestHydra(t *testing.T) {
	t.Chdir(t.TempDir())
	o := tideover(t.Context(), t, nil, "rehearse", "--json", "--keep", hydraRunbook(t))
	if o.code != 0 {
		t.Fatalf("exit code %d\n%s", o.code, o.stderr)
	}
	r := reportOf(t, o)
	wantClean(t, r)
	if r.Revocations.Captured == 0 || r.Revocations.Captured != r.Revocations.Replayed || r.Revocations.Replayed != r.Revocations.Verified {
		t.Errorf("captured = replayed = verified must hold: %+v", r.Revocations)
	}
	if r.Revocations.InWindow < 5 || r.Oracle.RowsCompared == 0 || r.Rows.Repaired == 0 || r.Rows.Quarantined == 0 {
		t.Errorf("too little was tried to prove anything: %+v %+v %+v", r.Revocations, r.Oracle, r.Rows)
	}
	dirs, err := filepath.Glob("tideover-hydra-2x-*")
	if err != nil || len(dirs) != 1 {
		t.Fatalf("--keep has left %v (%v)", dirs, err)
	}
	f, err := os.Open(filepath.Join(dirs[0], "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := traffic.ReadHistory(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests, %.0f a second from the first to the end of the run; hold %d ms; %d revocations captured; %d rows compared",
		r.Requests.Total, rate(h), r.Cutover.HoldMS, r.Revocations.Captured, r.Oracle.RowsCompared)
}

// rate is how many requests a second were answered between the first mark and the last.
func rate(h *traffic.History) float64 {
	var from, to time.Duration
	answered := 0
	for _, r := range h.Records {
		switch {
		case r.Mark != "" && from == 0:
			from = r.At
		case r.Mark != "":
			to = r.At
		case r.Answer != nil && from > 0:
			answered++
		}
	}
	return float64(answered) / (to - from).Seconds()
}

func hydraRunbook(t *testing.T) string {
	t.Helper()
	data, err := testdata.Runbooks.ReadFile("runbooks/hydra-2x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "hydra-2x.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// vendorFails says what `hydra migrate sql` does with each kind of row alone: the SQLSTATE that it stops with, or "" for
// those that it passes and corrupts.
var vendorFails = map[string]string{
	"two-consents-of-one-login": "23505",
	"nul-in-login-hint":         "22P05",
	"nul-in-login-context":      "22P05",
	"nul-in-access-session":     "22P05",
	"nul-in-id-session":         "22P05",
	"empty-oidc-context":        "22P02",
	"empty-login-context":       "22P02",
	"empty-sessions":            "22P02",
	"quote-in-contacts":         "22P02",
	"quote-in-cors-origins":     "22P02",
	"quote-in-request-uris":     "22P02",
	"quote-in-client-audience":  "22P02",
	"quote-in-redirect-uris":    "22P02",
	"quote-in-amr":              "22P02",
	"quote-in-scope":            "22P02",
	"quote-in-audience":         "22P02",
	"backslash-in-scope":        "22P02",
	"client-is-gone":            "23503",
	"login-session-is-gone":     "23503",
	"backslash-reads-as-escape": "",
	"logged-out":                "",
	"logins-ended":              "",
}

// TestHydraMigrationAlone gives each kind of row to the vendor's migration by itself, without our rules and with them.
// Without them it fails, or passes and leaves what the 2.x server gets wrong.
func TestHydraMigrationAlone(t *testing.T) {
	s, err := deployment.Start(t.Context(), deployment.Options{Executable: binary, Pair: sharedPair(t), Servers: deployment.Hydra, Seed: seed.Options{Clients: 1, Offending: true, Sample: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	profile, err := plan.LoadProfile("hydra", ".")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("plan --connect", func(t *testing.T) { connected(t, s) })
	if err := s.Kill(deployment.BlueServer); err != nil { // a database that is in use is no template
		t.Fatal(err)
	}
	for kind := range s.Seeded.Offending {
		if _, ok := vendorFails[kind]; !ok {
			t.Errorf("nobody knows what the migration does with %s", kind)
		}
	}
	for _, kind := range slice.Pick(t, 0, slices.Sorted(maps.Keys(vendorFails))) {
		code := vendorFails[kind]
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			alone(t, s, profile, kind, code)
		})
	}
}

// connected wants plan --connect to say of all of these rows, once each, what the rules do with them, and to propose nothing: all
// others the vendor's migrations convert.
func connected(t *testing.T, s *deployment.Deployment) {
	slice.In(t, 2)
	runbook := briskRunbook(t, "hydra-2x.yaml")
	edit(t, runbook, "command: [hydra,", `command: ["`+s.Commands()["hydra"]+`",`)
	// The company's own: the migrations drop its key with the index that it leans on.
	pgtest.Exec(t, s.BlueDSN, `CREATE TABLE company_billing (client text CONSTRAINT company_billing_client REFERENCES hydra_client (id) ON DELETE SET NULL)`)
	defer pgtest.Exec(t, s.BlueDSN, `DROP TABLE company_billing`)
	o := tideover(t.Context(), t, s.Environment(), "plan", "--connect", "--json", runbook)
	var said struct {
		Findings []preflight.Finding `json:"findings"`
		Rules    string              `json:"proposed_rules"`
	}
	if lines := strings.Split(strings.TrimSpace(string(o.stdout)), "\n"); o.code != 0 {
		t.Fatalf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	} else if err := json.Unmarshal([]byte(lines[len(lines)-1]), &said); err != nil {
		t.Fatalf("%v\n%s", err, o.stdout)
	}
	if said.Rules != "" {
		t.Errorf("rules are proposed:\n%s", said.Rules)
	}
	once, taken, dropped := map[string]bool{}, 0, 0
	for _, f := range said.Findings {
		if f.Check == "constraints" && f.Rows > 0 || once[f.Check+f.Text] {
			t.Errorf("said again, or of healthy rows: %+v", f)
		}
		once[f.Check+f.Text] = true
		if f.Check == "dropped" {
			if dropped++; !strings.Contains(f.Text, "company_billing_client") || !strings.Contains(f.Hint, "ALTER TABLE company_billing ADD CONSTRAINT") {
				t.Errorf("%+v", f)
			}
		}
		if strings.HasPrefix(f.Check, "rule ") && f.Rows > 0 {
			taken++
		}
	}
	if dropped != 1 {
		t.Errorf("%d of the company's own are named as dropped, and not 1", dropped)
	}
	if taken < 14 {
		t.Errorf("only %d rules have something to do: %+v", taken, said.Findings)
	}
}

func alone(t *testing.T, s *deployment.Deployment, profile *plan.Profile, kind, code string) {
	t.Helper()
	if s.Seeded.Offending[kind] == 0 {
		t.Fatal("none was seeded")
	}
	migrate := func(dsn string) error {
		c := exec.CommandContext(t.Context(), s.Commands()["hydra"], "migrate", "sql", "--read-from-env", "--yes")
		c.Env = append(os.Environ(), "DSN="+dsn)
		if out, err := c.CombinedOutput(); err != nil {
			return errors.New(string(out))
		}
		return nil
	}
	only := func(name string) (string, *pgx.Conn) {
		dsn := copyOf(t, s.BlueDSN, name)
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		// A kind has clients of its own, and all that belongs to another's goes with them.
		const others = `DELETE FROM hydra_client WHERE client_name <> $1`
		if _, err := conn.Exec(t.Context(), others, kind); err != nil {
			t.Fatal(err)
		}
		if kind != "client-is-gone" {
			for _, table := range []string{"authentication_request", "consent_request", "code", "access", "refresh", "oidc", "pkce"} {
				gone := `DELETE FROM hydra_oauth2_` + table + ` t WHERE NOT EXISTS (SELECT FROM hydra_client c WHERE c.id = t.client_id)`
				if _, err := conn.Exec(t.Context(), gone); err != nil {
					t.Fatal(err)
				}
			}
		}
		return dsn, conn
	}
	name := strings.ReplaceAll(kind, "-", "_")

	dsn, conn := only("without_" + name)
	defer conn.Close(context.WithoutCancel(t.Context()))
	err := migrate(dsn)
	switch {
	case code == "" && err != nil:
		t.Errorf("the vendor's migration failed: %v", err)
	case code != "" && (err == nil || !strings.Contains(err.Error(), code)):
		t.Errorf("the vendor's migration should have failed with %s: %v", code, err)
	case code == "":
		if n := wrong(t, conn); n == 0 {
			t.Errorf("the vendor's migration corrupted nothing")
		}
		// A consent that was dropped takes nothing along; the other kinds go wrong in another way.
		if before, after := janitor(t, s, dsn, conn); kind == "backslash-reads-as-escape" && (before == 0 || after > 0) {
			t.Errorf("the janitor has left %d of %d living sessions", after, before)
		}
	}

	dsn, conn = only("with_" + name)
	defer conn.Close(context.WithoutCancel(t.Context()))
	rules := cleanup.New(profile.Rules, cleanup.Options{})
	if _, err := rules.Apply(t.Context(), conn, "before"); err != nil {
		t.Fatal(err)
	}
	if err := migrate(dsn); err != nil {
		t.Fatalf("with our rules: %v", err)
	}
	results, err := rules.Apply(t.Context(), conn, "after")
	if err != nil {
		t.Error(err)
	}
	for _, r := range results {
		if r.Left > 0 {
			t.Errorf("rule %s left %d rows", r.Rule, r.Left)
		}
	}
	if n := wrong(t, conn); n > 0 {
		t.Errorf("with our rules %d things are wrong", n)
	}
	if before, after := janitor(t, s, dsn, conn); after != before {
		t.Errorf("with our rules the janitor has left %d of %d living sessions", after, before)
	}
}

// janitor lets the vendor's clean-up loose on a migrated database and counts the refresh tokens that lived before and
// that live on.
func janitor(t *testing.T, s *deployment.Deployment, dsn string, conn *pgx.Conn) (before, after int) {
	t.Helper()
	count := func() (n int) {
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM hydra_oauth2_refresh WHERE active`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := conn.Exec(t.Context(), `UPDATE hydra_oauth2_flow SET requested_at = requested_at - interval '1 day'`); err != nil {
		t.Fatal(err)
	}
	before = count()
	c := exec.CommandContext(t.Context(), s.Commands()["hydra"], "janitor", "--requests", "--read-from-env")
	c.Env = append(os.Environ(), "DSN="+dsn)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return before, count()
}

// copyOf makes a database out of another one that nobody uses.
func copyOf(t *testing.T, dsn, name string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	maintenance, err := postgres.WithDatabase(dsn, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, maintenance, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE "+pgx.Identifier{cfg.Database}.Sanitize())
	if dsn, err = postgres.WithDatabase(dsn, name); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// wrong counts what a 2.x server gets wrong: flows that count as failed without an error, flows that nobody finds by
// their subject, and living tokens whose consent is lost, so that a refresh fails for ever.
func wrong(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	const sql = `SELECT (SELECT count(*) FROM hydra_oauth2_flow WHERE state = 128 AND coalesce(login_error, '{}') IN ('', '{}'))
		+ (SELECT count(*) FROM hydra_oauth2_flow WHERE state = 6 AND subject = '')
		+ (SELECT count(*) FROM hydra_oauth2_refresh WHERE active AND challenge_id IS NULL)
		+ (SELECT count(*) FROM hydra_oauth2_flow, jsonb_array_elements_text(granted_scope) scope WHERE scope LIKE '%' || chr(13) || '%')`
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestHydraRollback switches to 2.3.0, lets clients work and revoke there, and goes back to 1.11.10: every revocation
// made on 2.3.0 holds on it.
func TestHydraRollback(t *testing.T) {
	slice.In(t, 3)
	// Clients wait longer than the cutover's deadline, as they do in a rehearsal.
	th := newTheatreOf(t, deployment.Hydra, "hydra-2x.yaml", func(c *traffic.Config) { c.Rate, c.Timeout = 50, 30*time.Second })
	edit(t, th.runbook, "command: [hydra,", `command: ["`+th.Commands()["hydra"]+`",`, "    for: 1s", "    for: 10m")
	code, pressed, stderr := th.signal(t, os.Interrupt, func(e journal.Event) bool {
		return e.Kind == journal.StepProgress && e.Step == "monitor" && th.livedOnGreen()
	}, "run", th.runbook, "--json")
	if !pressed {
		t.Fatalf("ended by itself with %d\n%s", code, stderr)
	}
	if code, _, stderr = th.play(t, nil, "rollback", th.runbook, "--json"); code != 0 {
		t.Fatalf("rollback: exit code %d\n%s", code, stderr)
	}
	v := th.judge(t)
	if v.RevocationsLost > 0 || v.Failed > 0 {
		t.Errorf("%d revocations lost, %d requests failed", v.RevocationsLost, v.Failed)
	}
	t.Log(v)
}

// TestHydraInPlace brings the schema of 1.10 to 1.11.10 under the lock budget, from the vendor's own files: the end is what
// the vendor's command makes, and the server is ready at once.
func TestHydraInPlace(t *testing.T) {
	slice.In(t, 8)
	server := pgtest.NewServer(t, pgserver.Options{Name: "in-place"})
	blue, err := server.CreateDatabase(t.Context(), "blue")
	if err != nil {
		t.Fatal(err)
	}
	want, err := server.CreateDatabase(t.Context(), "want")
	if err != nil {
		t.Fatal(err)
	}
	files := hydraMigrations(t)
	former := t.TempDir()
	for _, f := range list(t, files) {
		if f < "20210928" { // 1.10.7 added the first file of the range
			data, err := os.ReadFile(filepath.Join(files, f))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(former, f), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	hydra := os.Getenv(deployment.HydraBefore)
	vendor := func(dsn string) string {
		c := exec.CommandContext(t.Context(), hydra, "migrate", "sql", "--read-from-env", "--yes")
		c.Env = append(os.Environ(), "DSN="+dsn)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	vendor(want)
	if err := migrate.NewGoose(os.DirFS(former), 0, migrate.InFormat("pop")).Migrate(t.Context(), blue); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, blue, `DROP TABLE IF EXISTS public.goose_db_version`) // a server's own tool leaves none
	const role = "hydra"
	for _, sql := range []string{`CREATE ROLE ` + role + ` LOGIN PASSWORD 'word'`, `GRANT ALL ON ALL TABLES IN SCHEMA public TO ` + role} {
		pgtest.Exec(t, blue, sql)
	}
	data, err := testdata.Runbooks.ReadFile("runbooks/hydra-in-place.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "hydra-in-place.yaml")
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), "approve: true", "approve: false", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	o := tideover(t.Context(), t, map[string]string{"TIDEOVER_BLUE_DSN": blue, "TIDEOVER_HYDRA_ROLE": role, "TIDEOVER_HYDRA_MIGRATIONS": files}, "run", path, "--json")
	if o.code != 0 {
		t.Fatalf("exit code %d\n%s", o.code, o.stderr)
	}
	pgtest.Exec(t, blue, `DROP TABLE IF EXISTS public.goose_db_version`)
	if is, was := pgtest.Schema(t, blue), pgtest.Schema(t, want); is != was {
		t.Errorf("the schema is not what the vendor's command makes:\n%s", cmp.Diff(was, is))
	}
	before := pgtest.Query[int](t, blue, `SELECT count(*)::int FROM schema_migration`)
	vendor(blue)
	if after := pgtest.Query[int](t, blue, `SELECT count(*)::int FROM schema_migration`); after != before {
		t.Errorf("hydra migrate sql found %d migrations that are not in place", after-before)
	}
}

// hydraMigrations is the folder of 1.11.10's migrations, in the module that bin/hydra-v1 is built of.
func hydraMigrations(t *testing.T) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/ory/hydra")
	c.Dir = filepath.Join("..", "testdata", "hydra", "v1")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "persistence", "sql", "migrations")
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}
