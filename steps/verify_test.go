package steps

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
	"github.com/tideover/tideover/testdata"
)

// upgraded is a pair of databases as a run leaves them just before the switch: captured, copied, migrated, replayed.
func upgraded(t *testing.T) *Env {
	t.Helper()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "demo.yaml")
	text, err := testdata.Runbooks.ReadFile("runbooks/demo.yaml")
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	blue, green := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	rb, err := plan.LoadRunbook(path, func(name string) (string, bool) {
		switch name {
		case "TIDEOVER_BLUE_DSN":
			return blue, true
		case "TIDEOVER_GREEN_DSN":
			return green, true
		}
		return "http://127.0.0.1:1", true
	})
	if err != nil {
		t.Fatal(err)
	}
	profile, err := plan.LoadProfile(rb.Profile, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate.NewGoose(schema.Files(), 11004).Migrate(ctx, blue); err != nil {
		t.Fatal(err)
	}
	if _, err := seed.Seed(ctx, blue, seed.Options{Clients: 5, Sessions: 40, Offending: true}); err != nil {
		t.Fatal(err)
	}
	env := &Env{Upgrade: Upgrade{Runbook: rb, Profile: profile, Bundled: schema.Files()}, State: func() journal.State { return journal.State{} }}
	for _, side := range []struct {
		name, dsn string
		db        **postgres.DB
	}{{"blue", blue, &env.Blue}, {"green", green, &env.Green}} {
		if *side.db, err = postgres.Open(ctx, side.name, side.dsn); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((*side.db).Close)
	}
	if err := replay.NewCapture(env.Blue, profile, plan.Blue).Install(ctx, env.budget()); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Copy(ctx, snapshot.Options{Blue: env.Blue, Green: env.Green, Profile: profile}); err != nil {
		t.Fatal(err)
	}
	conn, err := env.Green.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	m, err := env.migrator()
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range []func() error{
		func() error { _, err := env.rules(false).Apply(ctx, conn, "before"); return err },
		func() error { return m.Migrate(ctx, green) },
		func() error { _, err := env.rules(false).Apply(ctx, conn, "after"); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	return env
}

// serverWrites is what the OAuth server does: a session of its own, which capture and fence see.
func serverWrites(t *testing.T, db *postgres.DB, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

func (e *Env) drained(t *testing.T) {
	t.Helper()
	r, err := e.Replayer()
	if err == nil {
		_, err = r.Drain(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	e := upgraded(t)
	verify := func(full bool) Verdict {
		t.Helper()
		v, err := Verify(t.Context(), e.Upgrade, e.State(), full)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	serverWrites(t, e.Blue, `UPDATE oauth_refresh SET active = false WHERE request_id = (SELECT request_id FROM oauth_refresh WHERE active ORDER BY request_id LIMIT 1)`)
	serverWrites(t, e.Blue, `DELETE FROM oauth_consent_request WHERE challenge = (SELECT max(challenge) FROM oauth_consent_request)`)
	e.drained(t)
	if v := verify(true); v.Differ() != 0 || v.Serving != "blue" || v.Full.Rows < 100 || v.Revocations.Captured == 0 || v.Revocations.Captured != v.Revocations.Verified {
		t.Fatalf("an honest green: %+v, %+v, %+v", v, v.Revocations, v.Full)
	}
	// A revocation that replay has still to bring is not lost while blue serves.
	serverWrites(t, e.Blue, `DELETE FROM oauth_consent_request WHERE challenge = (SELECT max(challenge) FROM oauth_consent_request)`)
	if v := verify(false); len(v.Revocations.Differences) != 0 || v.Revocations.Waiting == 0 || v.Revocations.Replayed >= v.Revocations.Captured {
		t.Errorf("a backlog: %+v", v.Revocations)
	}
	e.drained(t)
	// One wrong column: only the comparison of every row sees it.
	if _, err := pgtest.Pool(t, e.Green.DSN()).Exec(t.Context(), `UPDATE oauth_session SET subject = 'somebody else' WHERE id = (SELECT min(id) FROM oauth_session)`); err != nil {
		t.Fatal(err)
	}
	v := verify(true)
	if v.Full.Count != 1 || v.Full.Differences[0].Table != "oauth_session" || v.Full.Differences[0].Kind != oracle.Differs {
		t.Errorf("one wrong column: %+v", v.Full)
	}
	if text, err := json.Marshal(&v); err != nil || strings.Contains(string(text), "somebody") {
		t.Errorf("a value is in the verdict: %s, %v", text, err)
	}
	var left int // beside this green: other tests have theirs on the same server
	if err := e.Green.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_database d JOIN pg_database green ON green.datname = current_database()
		WHERE d.datname LIKE 'tideover\_expected\_' || green.oid || '\_%'`).Scan(&left); err != nil || left > 0 {
		t.Errorf("%d databases are left, %v", left, err)
	}
}

// Once green serves, what its clients change is theirs.
func TestVerifyAfterTheSwitch(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	e := upgraded(t)
	e.drained(t)
	fence := e.blueFence()
	if err := fence.Install(t.Context(), e.budget()); err != nil {
		t.Fatal(err)
	}
	if err := fence.Raise(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := replay.NewCapture(e.Green, e.Profile, plan.Green).Install(t.Context(), e.budget()); err != nil {
		t.Fatal(err)
	}
	if v, err := Verify(t.Context(), e.Upgrade, journal.State{}, true); err != nil || v.Serving != "nobody" || v.Differ() != 0 {
		t.Fatalf("in the hold: %+v, %v", v, err)
	}
	mark, err := oracle.Mark(t.Context(), e.Green)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(mark)
	if err != nil {
		t.Fatal(err)
	}
	state := journal.State{Phase: journal.Switched, PastPointOfNoReturn: true, Figures: map[string]json.RawMessage{greenMark: raw}}
	serverWrites(t, e.Green, `INSERT INTO oauth_session (id, subject) VALUES ('new', 'u'); UPDATE oauth_client SET name = name || '!';
DELETE FROM oauth_access WHERE signature = (SELECT min(signature) FROM oauth_access)`)
	v, err := Verify(t.Context(), e.Upgrade, state, true)
	if err != nil || v.Serving != "green" || v.Full.Count != 0 || v.Full.Later < 7 {
		t.Errorf("changed since: %+v, %v", v.Full, err)
	}
	// A mark of now sets nothing aside.
	if mark, err = oracle.Mark(t.Context(), e.Green); err != nil {
		t.Fatal(err)
	}
	if state.Figures[greenMark], err = json.Marshal(mark); err != nil {
		t.Fatal(err)
	}
	if v, err = Verify(t.Context(), e.Upgrade, state, true); err != nil || v.Full.Count < 7 || v.Full.Later != 0 {
		t.Errorf("changed before: %+v, %v", v.Full, err)
	}
}

// A change that can't be replayed stops the cutover before anybody waits, and the next resume tries it again.
func TestParkedChangesStopTheCutover(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	e := upgraded(t)
	if _, err := pgtest.Pool(t, e.Green.DSN()).Exec(t.Context(), `ALTER TABLE oauth_client ADD CONSTRAINT poison CHECK (name <> 'poison')`); err != nil {
		t.Fatal(err)
	}
	serverWrites(t, e.Blue, `INSERT INTO oauth_client (id, name, owner) VALUES ('bad', 'poison', 'x'), ('good', 'good', 'x')`)
	e.drained(t)
	r, err := e.Replayer()
	if err != nil {
		t.Fatal(err)
	}
	s := &cutoverStep{env: e, spec: &plan.CutoverSpec{}}
	var hinted interface{ Hint() string }
	err = s.guard(t.Context(), nil, r, &cutover.Switch{})
	if err == nil || !strings.Contains(err.Error(), `oauth_client {"id": "bad"}`) || !strings.Contains(err.Error(), "poison") ||
		!errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "resume") {
		t.Fatalf("got %v", err)
	}
	if v, err := Verify(t.Context(), e.Upgrade, e.State(), false); err != nil || v.Differ() == 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := pgtest.Pool(t, e.Green.DSN()).Exec(t.Context(), `ALTER TABLE oauth_client DROP CONSTRAINT poison`); err != nil {
		t.Fatal(err)
	}
	if err := unparked(t.Context(), r); err != nil {
		t.Errorf("mended: %v", err)
	}
	if v, err := Verify(t.Context(), e.Upgrade, e.State(), true); err != nil || v.Differ() != 0 {
		t.Errorf("mended: %+v, %v", v, err)
	}
}

// With full: true the step validate compares every row, and a wrong one stops the run.
func TestValidateFull(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	e := upgraded(t)
	serverWrites(t, e.Blue, `UPDATE oauth_session SET subject = 'a' WHERE id = (SELECT max(id) FROM oauth_session)`)
	e.drained(t)
	pgtest.Exec(t, e.Blue.DSN(), `CREATE SEQUENCE tickets`)
	pgtest.Exec(t, e.Green.DSN(), `CREATE SEQUENCE tickets`)
	pgtest.Exec(t, e.Blue.DSN(), `SELECT nextval('tickets')`) // sequences come along in the hold
	validate := func() (process, error) {
		p := begin(t, journaltest.NewMemory(), "", []Step{&validateStep{base: base{"validate"}, env: e, spec: &plan.ValidateSpec{Full: true}}}, nil)
		return p, p.Run(t.Context())
	}
	p, err := validate()
	if err != nil {
		t.Fatal(err)
	}
	var compared struct{ Tables, Rows, Differences int64 }
	if err := json.Unmarshal(p.State().Figures["compared.validate"], &compared); err != nil || compared.Tables != 12 || compared.Rows < 100 || compared.Differences != 0 {
		t.Errorf("compared: %+v, %v", compared, err)
	}
	if _, err := pgtest.Pool(t, e.Green.DSN()).Exec(t.Context(), `UPDATE oauth_session SET authenticated_at = authenticated_at + interval '1 s' WHERE id = (SELECT min(id) FROM oauth_session WHERE authenticated_at IS NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	var unlike *UnlikeError
	if _, err := validate(); !errors.As(err, &unlike) || unlike.Count != 1 || unlike.Differences[0].Table != "oauth_session" || !slices.Equal(unlike.Differences[0].Columns, []string{"authenticated_at"}) {
		t.Errorf("one wrong column: %v", err)
	}
}
