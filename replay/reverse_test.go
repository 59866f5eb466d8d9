package replay

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// What is revoked on green after the switch holds on blue after the way back, each once, whatever crashes.
func TestReverse(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	if !withCrashPoints(t) {
		return
	}
	p := newSeededPair(t)
	r := p.replayer(t)
	drain(t, r)
	c := NewCapture(p.green, p.profile, plan.Green)
	for range 2 {
		if err := c.Install(t.Context(), postgres.DefaultBudget()); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := c.Installed(t.Context()); err != nil || !ok {
		t.Fatalf("installed: %t, %v", ok, err)
	}
	server := stranger(t, p.green)
	for _, sql := range []string{
		// A rotation with its grace period, a revocation, a consent, a client; and a session that blue never sees.
		`BEGIN; DELETE FROM oauth_access WHERE request_id = 'k1'; UPDATE oauth_refresh SET active = false, first_used_at = now() WHERE signature = 'r1';
INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, expires_at) SELECT 'r1b', request_id, client_id, subject, consent_challenge, now() + '1 day' FROM oauth_refresh WHERE signature = 'r1'; COMMIT`,
		`BEGIN; UPDATE oauth_refresh SET active = false WHERE request_id = 'k2'; DELETE FROM oauth_access WHERE request_id = 'k2'; COMMIT`,
		`DELETE FROM oauth_flow WHERE consent_challenge = 'k3'`,
		`DELETE FROM oauth_client WHERE id = 'c2'`,
		`DELETE FROM oauth_session WHERE id = 's1'`,
		`INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ('g1', 'g1', 'c1', now() + '1 hour')`,
	} {
		if _, err := server.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	v := NewReverse(p.blue, p.green, p.profile)
	found, err := v.Verify(t.Context())
	if err != nil || found.Captured != 5 || found.Replayed != 0 || len(found.Differences) == 0 {
		t.Errorf("before: %+v, %v", found, err)
	}
	if _, err := v.Drain(at(t.Context(), func(string) error { return errCrash })); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	if _, err := v.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, err = v.Verify(t.Context())
	if err != nil || found.Captured != 5 || found.Verified != 5 || len(found.Differences) > 0 {
		t.Errorf("after: %+v, %v", found, err)
	}
	var living []string
	if err := pgtest.Pool(t, p.blue.DSN()).QueryRow(t.Context(), `SELECT array_agg(s ORDER BY s) FROM (
SELECT signature FROM oauth_access UNION ALL SELECT signature FROM oauth_refresh WHERE active UNION ALL SELECT id FROM oauth_client) x(s)`).Scan(&living); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a1", "c1", "cc1", "r1"}; !slices.Equal(living, want) {
		t.Errorf("blue has %v, want %v", living, want)
	}
	only, err := v.OnlyGreen(t.Context())
	if want := []string{"oauth_access g1", "oauth_refresh r1b"}; err != nil || !slices.Equal(only, want) {
		t.Errorf("only green knows %v, want %v; %v", only, want, err)
	}
}

func TestReverseWithoutCapture(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	v := NewReverse(p.blue, p.green, p.profile)
	if a, err := v.Drain(t.Context()); err != nil || a.Changes != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}
