package preflight_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/plan"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

func open(t *testing.T, name string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), name, pgtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func limit(n int64) *int64 { return &n }

func setup(t *testing.T) preflight.Options {
	t.Helper()
	o := preflight.Options{Blue: open(t, "blue"), Green: open(t, "green"), Migrator: migrate.NewGoose(schema.Files(), 20006), MaxTransaction: time.Minute}
	if err := migrate.NewGoose(schema.Files(), 11004).Migrate(t.Context(), o.Blue.DSN()); err != nil {
		t.Fatal(err)
	}
	o.Profile = &plan.Profile{Schema: "public", Bookkeeping: []string{"goose_db_version"},
		Dropped: []string{"oauth_access_consent_challenge_fkey", "oauth_code_consent_challenge_fkey", "oauth_refresh_consent_challenge_fkey"}}
	for _, n := range []string{"oauth_client", "oauth_client_details", "oauth_session", "oauth_login_request", "oauth_login_handled", "oauth_consent_request",
		"oauth_consent_handled", "oauth_code", "oauth_access", "oauth_refresh", "oauth_jwk"} {
		o.Profile.Tables = append(o.Profile.Tables, plan.Table{Name: n})
	}
	return o
}

func check(t *testing.T, o preflight.Options) []preflight.Finding {
	t.Helper()
	findings, err := preflight.Check(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.Level != preflight.OK && f.Hint == "" {
			t.Errorf("%+v has no hint", f)
		}
	}
	return findings
}

func has(findings []preflight.Finding, level preflight.Level, check, text string, rows int64) bool {
	for _, f := range findings {
		if f.Level == level && f.Check == check && strings.Contains(f.Text, text) && f.Rows == rows {
			return true
		}
	}
	return false
}

func TestCleanBlueHasNothingToFind(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for _, f := range check(t, o) {
		if f.Level != preflight.OK {
			t.Errorf("%+v", f)
		}
	}
}

type cancelling struct{ cancel context.CancelFunc }

func (c cancelling) Migrate(ctx context.Context, _ string) error {
	c.cancel()
	return ctx.Err()
}

func TestNoScratchDatabaseIsLeft(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	server := pgtest.NewServer(t, pgserver.Options{Name: "preflight"}) // of its own: other tests have their scratch databases
	o := setup(t)
	dsn, err := server.CreateDatabase(t.Context(), "green")
	if err != nil {
		t.Fatal(err)
	}
	if o.Green, err = postgres.Open(t.Context(), "green", dsn); err != nil {
		t.Fatal(err)
	}
	defer o.Green.Close()
	check(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Migrator = cancelling{cancel}
	if _, err := preflight.Check(ctx, o); err == nil {
		t.Error("a cancelled check reports success")
	}
	var n int
	if err := o.Green.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_database WHERE datname LIKE 'tideover%'`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d scratch databases are left, %v", n, err)
	}
}

func TestEveryTroubleIsFound(t *testing.T) {
	t.Parallel()
	o := setup(t)
	const trouble = `
		INSERT INTO oauth_client (id, owner, redirect_uris) VALUES ('a', '', 'no json'), ('b', 'x', '[]');
		INSERT INTO oauth_access (signature, request_id, client_id, expires_at) SELECT i::text, 'r', 'gone', now() FROM generate_series(1, 3) i;
		CREATE TABLE heap (v text); CREATE TABLE named_only (a int NOT NULL, b int);
		CREATE TABLE partly (a int NOT NULL UNIQUE, b int UNIQUE, c int NOT NULL); CREATE UNIQUE INDEX ON partly (c) WHERE c > 0;
		CREATE TABLE unnamed (id int PRIMARY KEY);
		SELECT lo_create(0);`
	if _, err := pgtest.Pool(t, o.Blue.DSN()).Exec(t.Context(), trouble); err != nil {
		t.Fatal(err)
	}
	if _, err := pgtest.Pool(t, o.Green.DSN()).Exec(t.Context(), `CREATE TABLE public.somebodys (v int)`); err != nil {
		t.Fatal(err)
	}
	o.Profile.Tables = append(o.Profile.Tables, plan.Table{Name: "heap"}, plan.Table{Name: "named_only", Key: []string{"a"}},
		plan.Table{Name: "partly", Key: []string{"b", "c"}}, plan.Table{Name: "not_there"})
	o.Profile.Rules = []plan.Rule{
		{Name: "gone", Phase: "before", Table: "oauth_access", Where: "t.client_id = 'gone'", Quarantine: true, ExpectAtMost: limit(2)},
		{Name: "broken", Phase: "before", Table: "oauth_access", Where: "t.nothing", Quarantine: true},
	}
	o.Profile.Invariants = []plan.Invariant{{Name: "typo", Blue: "SELECT k FROM nowhere", Green: "SELECT 1"}}
	o.MaxTransaction = time.Nanosecond
	holder, err := pgx.Connect(t.Context(), o.Blue.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(context.Background())
	if _, err := holder.Exec(t.Context(), `BEGIN`); err != nil {
		t.Fatal(err)
	}
	findings := check(t, o)
	for _, want := range []struct {
		level       preflight.Level
		check, text string
		rows        int64
	}{
		{preflight.Fail, "green-empty", "not empty", 0},
		{preflight.Fail, "transactions", "older than", 0},
		{preflight.Fail, "tables", `"not_there"`, 0},
		{preflight.Fail, "keys", `"heap" has no key`, 0},
		{preflight.Fail, "keys", `"named_only" has no key`, 0},
		{preflight.Fail, "keys", `"partly": the profile's key (b, c) is not unique on blue; unique are (a)`, 0},
		{preflight.Warn, "tables", `"unnamed"`, 0},
		{preflight.Fail, "large-objects", "1 large objects are on blue", 0},
		{preflight.Fail, "profile-sql", "typo", 0},
		{preflight.Fail, "rule gone", "3 rows to quarantine, at most 2", 3},
		{preflight.Fail, "rule broken", "nothing", 0},
		{preflight.Warn, "constraints", "check of table \"oauth_client\"", 1},
		{preflight.Warn, "constraints", "json of table \"oauth_client\" (redirect_uris jsonb)", 1},
	} {
		if !has(findings, want.level, want.check, want.text, want.rows) {
			t.Errorf("not found: %+v", want)
		}
	}
	for _, f := range findings { // a rule has said so
		if strings.Contains(f.Text, "oauth_access_client_fk") {
			t.Errorf("said twice: %+v", f)
		}
	}
	if t.Failed() {
		for _, f := range findings {
			t.Logf("%+v", f)
		}
	}
}

// TestDroppedAlong: what the migrations drop and the profile does not name as the server's own is named, with what makes it again.
func TestDroppedAlong(t *testing.T) {
	t.Parallel()
	const before = `CREATE TABLE app (id text NOT NULL, nid int); CREATE UNIQUE INDEX app_uq ON app (id); CREATE INDEX app_own_idx ON app (nid);
		CREATE TABLE billing (app text REFERENCES app (id)); CREATE VIEW apps AS SELECT id FROM app; CREATE TABLE gone (id int PRIMARY KEY);
		CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER audit AFTER INSERT ON gone FOR EACH ROW EXECUTE FUNCTION seen();`
	const after = `-- +goose Up
		DROP INDEX app_uq CASCADE; DROP VIEW apps; ALTER TABLE app RENAME TO client; DROP TABLE gone;`
	o := preflight.Options{Blue: open(t, "blue"), Green: open(t, "green"), Migrator: migrate.NewGoose(fstest.MapFS{"00001_new.sql": {Data: []byte(after)}}, 1),
		Profile: &plan.Profile{Schema: "public", Tables: []plan.Table{{Name: "app"}}, Dropped: []string{"app_uq", "gone_pkey"}}}
	if _, err := pgtest.Pool(t, o.Blue.DSN()).Exec(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range check(t, o) {
		if f.Check == "dropped" {
			got[f.Text] = f.Hint
		}
	}
	for text, makes := range map[string]string{
		`the migrations drop the foreign key "billing_app_fkey" of billing`: "ADD CONSTRAINT billing_app_fkey FOREIGN KEY (app) REFERENCES app(id)",
		`the migrations drop the view "apps"`:                               "CREATE VIEW apps AS",
		`the migrations drop the trigger "audit" of gone`:                   "CREATE TRIGGER audit AFTER INSERT",
	} {
		if !strings.Contains(got[text], makes) {
			t.Errorf("%s: %q", text, got[text])
		}
	}
	if len(got) != 3 {
		t.Errorf("%q", got)
	}
}

// TestOneLineNamesIt: a schema that is there already, a path that leads elsewhere, a program that is missing, and files of the release
// that blue has.
func TestOneLineNamesIt(t *testing.T) {
	t.Parallel()
	nothing := migrate.NewGoose(fstest.MapFS{"00001_new.sql": {Data: []byte("-- +goose Up\nSELECT 1;")}}, 1)
	o := preflight.Options{Blue: open(t, "blue"), Green: open(t, "green"), Migrator: nothing, Profile: &plan.Profile{Schema: "auth", Tables: []plan.Table{{Name: "app"}}}}
	pgtest.Exec(t, o.Blue.DSN(), `CREATE SCHEMA auth; CREATE TABLE auth.app (id int PRIMARY KEY)`)
	pgtest.Exec(t, o.Green.DSN(), `CREATE SCHEMA auth`)
	if findings := check(t, o); !has(findings, preflight.Fail, "green-empty", `green has a schema "auth" already`, 0) ||
		!has(findings, preflight.Warn, "trial", "the migrations find nothing to do", 0) {
		t.Errorf("%+v", findings)
	}
	pgtest.Exec(t, o.Green.DSN(), `DROP SCHEMA auth`)
	o.Migrator = migrate.NewCommand([]string{"hydra-of-nowhere", "migrate"})
	dsn := o.Green.DSN() + "&search_path=elsewhere"
	if !strings.Contains(o.Green.DSN(), "?") {
		dsn = o.Green.DSN() + "?search_path=elsewhere"
	}
	green, err := postgres.Open(t.Context(), "green", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(green.Close)
	o.Green = green
	if findings := check(t, o); !has(findings, preflight.Fail, "trial", `program "hydra-of-nowhere" is not there`, 0) ||
		!has(findings, preflight.Fail, "search-path", `green.dsn has search_path=elsewhere, and the profile's tables are in schema "auth"`, 0) {
		t.Errorf("%+v", findings)
	}
}

func TestNoQuestionTakesLongerThanItMay(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	o := setup(t)
	o.MaxQuery = 3 * time.Second // more than any other question takes, on a slow machine too
	o.Profile.Rules = []plan.Rule{{Name: "slow", Phase: "before", Table: "oauth_access", Where: "(SELECT pg_sleep(600)::text) = t.signature", Quarantine: true}}
	if _, err := pgtest.Pool(t, o.Blue.DSN()).Exec(t.Context(), `INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ('a', 'r', 'gone', now())`); err != nil {
		t.Fatal(err)
	}
	findings := check(t, o)
	if !has(findings, preflight.Warn, "rule slow", "could not be counted within 3s", 0) || !has(findings, preflight.Warn, "constraints", "oauth_access_client_fk", 1) {
		t.Errorf("%+v", findings)
	}
}

func TestMigrationsThatFailAreFoundWithoutTouchingBlue(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.Migrator = migrate.NewCommand([]string{"sh", "-c", "echo no such thing; exit 1"})
	if findings := check(t, o); !has(findings, preflight.Fail, "trial", "no such thing", 0) {
		t.Errorf("%+v", findings)
	}
}
