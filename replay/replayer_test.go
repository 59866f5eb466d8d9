package replay

import (
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/quick"
)

// Each case is what a server does on blue after the copy; green must end as blue migrated offline.
func TestReplayEqualsOffline(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		sql  []string
		want int64 // revocations, distinct
	}{
		{"nothing", nil, 0},
		{"rotation", []string{`BEGIN; DELETE FROM oauth_access WHERE request_id = 'k1'; UPDATE oauth_refresh SET active = false WHERE signature = 'r1';
INSERT INTO oauth_access SELECT 'a1b', request_id, client_id, subject, consent_challenge, scope, audience, session_data, now(), now() + '1 hour' FROM oauth_refresh WHERE signature = 'r1';
INSERT INTO oauth_refresh SELECT 'r1b', request_id, client_id, subject, consent_challenge, scope, audience, session_data, true, now(), now() + '30 days' FROM oauth_refresh WHERE signature = 'r1'; COMMIT`}, 0},
		{"revocation in two transactions", []string{`UPDATE oauth_refresh SET active = false WHERE request_id = 'k1'`, `DELETE FROM oauth_access WHERE request_id = 'k1'`}, 1},
		{"consent revoked", []string{`BEGIN; UPDATE oauth_refresh SET active = false WHERE request_id = 'k1'; DELETE FROM oauth_access WHERE request_id = 'k1';
DELETE FROM oauth_consent_request WHERE challenge = 'k1'; COMMIT`}, 2},
		{"first of two consents revoked", []string{`DELETE FROM oauth_consent_request WHERE challenge = 'k2'`}, 2},
		{"second of two consents revoked", []string{`DELETE FROM oauth_consent_request WHERE challenge = 'k3'`}, 2},
		{"log-out", []string{`DELETE FROM oauth_session WHERE id = 's1'`}, 1},
		{"log-out with two consents", []string{`DELETE FROM oauth_session WHERE id = 's2'`}, 1},
		{"log-out, then consent revoked", []string{`DELETE FROM oauth_session WHERE id = 's1'`, `DELETE FROM oauth_consent_request WHERE challenge = 'k1'`}, 3},
		{"log-out and rotation", []string{`DELETE FROM oauth_session WHERE id = 's1'`, `UPDATE oauth_refresh SET active = false WHERE signature = 'r1';
INSERT INTO oauth_refresh SELECT 'r1b', request_id, client_id, subject, consent_challenge, scope, audience, session_data, true, now(), now() + '30 days' FROM oauth_refresh WHERE signature = 'r1'`}, 1},
		{"consent loses its login, which stays", []string{`UPDATE oauth_consent_request SET login_challenge = NULL WHERE challenge = 'k1'`}, 0},
		{"client deleted", []string{`DELETE FROM oauth_client WHERE id = 'c1'`}, 7},
		{"client deleted and created again", []string{`DELETE FROM oauth_client WHERE id = 'c2'`, `INSERT INTO oauth_client (id, owner) VALUES ('c2', 'new')`}, 0},
		{"client changed", []string{`UPDATE oauth_client SET name = 'other', owner = '', redirect_uris = 'https://x' WHERE id = 'c1'`, `UPDATE oauth_client_details SET metadata = '{bad' WHERE client_id = 'c1'`}, 0},
		{"login unanswered", []string{`INSERT INTO oauth_login_request (challenge, verifier, client_id, request_url, auth_request) VALUES ('l9', 'lv9', 'c2', 'u', '{"a":')`}, 0},
		{"answers that fail", []string{`UPDATE oauth_login_handled SET error = '{"name":"denied"}' WHERE challenge = 'l1'; UPDATE oauth_consent_handled SET error = '{"name":"denied\u0000"}' WHERE challenge = 'k2'`}, 0},
		{"answers taken back", []string{`DELETE FROM oauth_consent_handled WHERE challenge = 'k1'; DELETE FROM oauth_login_handled WHERE challenge = 'l2'`}, 0},
		{"key changed", []string{`UPDATE oauth_jwk SET kid = 'j2'`}, 0},
		{"keys truncated", []string{`TRUNCATE oauth_jwk`, `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('j3', 'RS256', 'y')`}, 0},
		{"tokens truncated", []string{`TRUNCATE oauth_access`}, 1},
		{"everything truncated", []string{`TRUNCATE oauth_client, oauth_session CASCADE; TRUNCATE oauth_access, oauth_refresh, oauth_code`}, 11},
		{"token without a client", []string{`INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ('x', 'x', 'nobody', now() + '1 hour')`}, 0},
		{"janitor", []string{`INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ('old', 'old', 'c1', now() - interval '1 day')`, `DELETE FROM oauth_access WHERE expires_at < now()`}, 0},
		{"client credentials token revoked", []string{`DELETE FROM oauth_access WHERE signature = 'cc1'`}, 1},
		{"new session", []string{`BEGIN; INSERT INTO oauth_session (id, subject) VALUES ('s9', 'u9');
INSERT INTO oauth_login_request (challenge, verifier, client_id, session_id, request_url) VALUES ('l9', 'lv9', 'c2', 's9', 'u');
INSERT INTO oauth_login_handled (challenge, subject, was_used) VALUES ('l9', 'u9', true);
INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject) VALUES ('k9', 'kv9', 'l9', 'c2', 'u9'); COMMIT`,
			`INSERT INTO oauth_consent_handled (challenge, granted_scope, was_used) VALUES ('k9', 'a', true)`,
			`INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, expires_at) VALUES ('r9', 'k9', 'c2', 'u9', 'k9', now() + '1 day')`}, 0},
	}
	for _, c := range quick.First(t, 2, cases) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newSeededPair(t)
			p.as(t, c.sql...)
			r := p.replayer(t)
			a := drain(t, r)
			if len(a.Parked) > 0 {
				t.Fatalf("parked: %v", a.Parked)
			}
			p.same(t, r)
			v, err := r.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if v.Captured != c.want {
				t.Errorf("%d revocations, want %d", v.Captured, c.want)
			}
		})
	}
}

// The last replay: of nothing, and of a few changes. The demo measures it.
func TestLastDrain(t *testing.T) {
	quick.Skip(t)
	p := newSeededPair(t)
	r := p.replayer(t)
	if err := r.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	drain(t, r)
	if err := r.idle(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	drain(t, r)
	empty := time.Since(began)
	p.as(t, `DELETE FROM oauth_session WHERE id = 's1'`, `UPDATE oauth_client SET name = 'x'`, `DELETE FROM oauth_access WHERE signature = 'a2'`,
		`INSERT INTO oauth_refresh (signature, request_id, client_id, consent_challenge, expires_at) SELECT 'n' || i, 'k3', 'c1', 'k3', now() + '1 day' FROM generate_series(1, 3) i`)
	began = time.Now()
	a := drain(t, r)
	ten := time.Since(began)
	t.Logf("an empty drain took %s, one of %d changes %s", empty, a.Changes, ten)
	p.same(t, r)
}

// No foreign key of 1.1 leads from a token to its client: a token that nobody wrote to becomes void and comes to life
// again with its client.
func TestClientComesAndGoesWithoutItsTokens(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	r := p.replayer(t)
	for _, sql := range []string{
		`DELETE FROM oauth_client WHERE id = 'c1'`,
		`INSERT INTO oauth_client (id, owner) VALUES ('c1', 'anna')`,
		`DELETE FROM oauth_client WHERE id = 'c1'`,
	} {
		p.as(t, sql)
		if a := drain(t, r); len(a.Parked) > 0 {
			t.Fatalf("%s: parked: %v", sql, a.Parked)
		}
		p.same(t, r)
	}
}
