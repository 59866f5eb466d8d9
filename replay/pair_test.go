package replay

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

const (
	version11 = 11004
	version20 = 20006
)

func goose(to int64) *migrate.Goose { return migrate.NewGoose(schema.Files(), to) }

// template11 is a database of the empty 1.1 schema on the shared server, made by the first test that wants it.
var template11 struct {
	once sync.Once
	err  error
}

// template11Name is this process' own: others may use the same server.
var template11Name = "replay_template_11_" + strings.ToLower(rand.Text()[:12])

// database11 makes a database with the empty 1.1 schema.
func database11(t testing.TB) string {
	t.Helper()
	s := pgtest.Shared(t)
	template11.once.Do(func() {
		dsn, err := s.CreateDatabase(context.Background(), template11Name)
		if err == nil {
			err = goose(version11).Migrate(context.Background(), dsn)
		}
		template11.err = err
	})
	if template11.err != nil {
		t.Fatal(template11.err)
	}
	admin := stranger(t, open(t, "admin", s.DSN()))
	name := "replay_" + strings.ToLower(rand.Text()[:12])
	if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template11Name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.DropDatabase(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	dsn, err := postgres.WithDatabase(s.DSN(), name)
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

func bundled(t testing.TB) *plan.Profile {
	t.Helper()
	p, err := plan.LoadProfile("bundled", "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pair is a blue of 1.1 whose changes are captured, and a green that holds its bulk, migrated to 2.0.
type pair struct {
	blue, green *postgres.DB
	profile     *plan.Profile
	config      Config
}

func newPair(t testing.TB) *pair {
	t.Helper()
	p := newBarePair(t, database11(t))
	if err := NewCapture(p.blue, p.profile, plan.Blue).Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	return p
}

// newBarePair is newPair without a capture.
func newBarePair(t testing.TB, blue string) *pair {
	t.Helper()
	p := &pair{blue: open(t, "blue", blue), green: open(t, "green", database11(t)), profile: bundled(t)}
	p.config = Config{
		Blue: p.blue, Green: p.green, Profile: p.profile, Migrator: goose(version20),
		Rules:  cleanup.New(p.profile.Rules, cleanup.Options{Collect: true}),
		Schema: func(ctx context.Context, into string) error { return goose(version11).Migrate(ctx, into) },
	}
	return p
}

// replayer makes a replayer that is closed with the test.
func (p *pair) replayer(t testing.TB) *Replayer {
	t.Helper()
	r, err := NewReplayer(p.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.scratch.close(context.Background()); err != nil {
			t.Error(err)
		}
		r.Disconnect()
	})
	return r
}

// copyTo copies blue's rows as they are now into an empty database of 1.1.
func (p *pair) copyTo(t testing.TB, into *postgres.DB) {
	t.Helper()
	ctx := t.Context()
	to, err := into.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(ctx, to)
	from, err := p.blue.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(ctx, from)
	tx, err := from.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Exec(ctx, `SET session_replication_role = replica`); err != nil {
		t.Fatal(err)
	}
	for _, table := range p.profile.Tables {
		name := pgx.Identifier{"public", table.Name}.Sanitize()
		if _, err := pipe(ctx, from, "SELECT * FROM "+name, to, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

// bulk copies blue's rows as they are now into an empty database of 1.1 and migrates it, as a run does.
func (p *pair) bulk(t testing.TB, into *postgres.DB) {
	t.Helper()
	ctx := t.Context()
	p.copyTo(t, into)
	to, err := into.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(ctx, to)
	rules := cleanup.New(p.profile.Rules, cleanup.Options{})
	if _, err := rules.Apply(ctx, to, "before"); err != nil {
		t.Fatal(err)
	}
	if err := goose(version20).Migrate(ctx, into.DSN()); err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Apply(ctx, to, "after"); err != nil {
		t.Fatal(err)
	}
}

// compare migrates blue's state offline and lists where green differs, row by row.
func (p *pair) compare(t testing.TB) []string {
	t.Helper()
	expected := open(t, "expected", database11(t))
	p.bulk(t, expected)
	all, err := catalog(t.Context(), expected.Pool(), []string{"public"})
	if err != nil {
		t.Fatal(err)
	}
	var differences []string
	for _, name := range sortedNames(all) {
		if slices.Contains(p.profile.Green.Ignore, name) || slices.Contains(p.profile.Bookkeeping, name) {
			continue
		}
		left := make([]string, 0)
		for _, c := range slices.Concat(p.profile.Green.Constants, p.profile.Green.Volatile) {
			if c.Table == name {
				left = append(left, c.Column)
			}
		}
		rows := func(db *postgres.DB) map[string]bool {
			q, err := db.Pool().Query(t.Context(), "SELECT (to_jsonb(t) - $1::text[])::text FROM "+all[name].ident()+" t", left)
			if err != nil {
				t.Fatal(err)
			}
			found, err := pgx.CollectRows(q, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			set := make(map[string]bool)
			for _, row := range found {
				set[row] = true
			}
			return set
		}
		want, got := rows(expected), rows(p.green)
		for _, row := range sortedNames(want) {
			if !got[row] {
				differences = append(differences, fmt.Sprintf("%s: green lacks %s", name, row))
			}
		}
		for _, row := range sortedNames(got) {
			if !want[row] {
				differences = append(differences, fmt.Sprintf("%s: green has %s", name, row))
			}
		}
	}
	return differences
}

// as runs statements on blue as the server would.
func (p *pair) as(t testing.TB, sql ...string) {
	t.Helper()
	conn := stranger(t, p.blue)
	defer conn.Close(t.Context())
	for _, s := range sql {
		if _, err := conn.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func drain(t testing.TB, r *Replayer) Applied {
	t.Helper()
	a, err := r.Drain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// same fails the test where green is not what blue would be, or where a revocation is not in force.
func (p *pair) same(t testing.TB, r *Replayer) {
	t.Helper()
	for i, d := range p.compare(t) {
		if i == 10 {
			t.Error("and more")
			break
		}
		t.Error(d)
	}
	v, err := r.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Differences) > 0 || v.Captured != v.Replayed || v.Replayed != v.Verified {
		t.Errorf("verification: %+v", v)
	}
}

// one session: client c1, session s1, login l1, consent k1 and a chain k1 of one code, access and refresh token.
const seedSQL = `
INSERT INTO oauth_client (id, name, owner, redirect_uris) VALUES ('c1', 'one', 'anna', '["https://a"]'), ('c2', 'two', '', '');
INSERT INTO oauth_client_details (client_id, contacts) VALUES ('c1', '["a@b"]'), ('c2', 'no json');
INSERT INTO oauth_session (id, subject) VALUES ('s1', 'u1'), ('s2', 'u2');
INSERT INTO oauth_login_request (challenge, verifier, client_id, session_id, request_url, oidc_context) VALUES
	('l1', 'lv1', 'c1', 's1', 'https://x/auth', '{"login_hint":"a\u0000b"}'), ('l2', 'lv2', 'c1', 's2', 'https://x/auth', '{}');
INSERT INTO oauth_login_handled (challenge, subject, was_used) VALUES ('l1', 'u1', true), ('l2', 'u2', true);
INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject) VALUES
	('k1', 'kv1', 'l1', 'c1', 'u1'), ('k2', 'kv2', 'l2', 'c1', 'u2'), ('k3', 'kv3', 'l2', 'c1', 'u2');
INSERT INTO oauth_consent_handled (challenge, granted_scope, was_used) VALUES ('k1', 'openid', true), ('k2', 'openid', true), ('k3', 'openid', true);
INSERT INTO oauth_code (signature, request_id, client_id, subject, consent_challenge, active, expires_at) VALUES
	('code1', 'k1', 'c1', 'u1', 'k1', false, now() + '1 hour');
INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, expires_at) VALUES
	('a1', 'k1', 'c1', 'u1', 'k1', now() + '1 hour'), ('a2', 'k2', 'c1', 'u2', 'k2', now() + '1 hour'), ('a3', 'k3', 'c1', 'u2', 'k3', now() + '1 hour'),
	('cc1', 'cc1', 'c1', 'c1', NULL, now() + '1 hour');
INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, expires_at) VALUES
	('r1', 'k1', 'c1', 'u1', 'k1', now() + '30 days'), ('r2', 'k2', 'c1', 'u2', 'k2', now() + '30 days'), ('r3', 'k3', 'c1', 'u2', 'k3', now() + '30 days');
INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('j1', 'RS256', 'x');`

func newSeededPair(t testing.TB) *pair {
	t.Helper()
	p := newPair(t)
	p.as(t, seedSQL)
	p.bulk(t, p.green)
	return p
}
