package replay

import (
	"errors"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/plan"
)

// What is not in force on green is counted by its kind and named, without the replayer's lock.
func TestVerifyByKind(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	r := p.replayer(t)
	p.as(t, `BEGIN; UPDATE oauth_refresh SET active = false WHERE request_id = 'k1'; DELETE FROM oauth_access WHERE request_id = 'k1'; COMMIT`,
		`DELETE FROM oauth_consent_request WHERE challenge = 'k2'`, `DELETE FROM oauth_access WHERE signature = 'cc1'`)
	drain(t, r)
	p.as(t, `DELETE FROM oauth_client WHERE id = 'c2'`)
	exec(t, p.green, `INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ('back', 'cc1', 'c1', now() + '1 hour')`)
	v, err := Verify(t.Context(), p.blue, p.green, p.profile, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Tally{"consent": {1, 1, 1}, "client": {1, 0, 0}}
	for kind, tally := range want {
		if v.Kinds[kind] != tally {
			t.Errorf("%s: %+v, want %+v", kind, v.Kinds[kind], tally)
		}
	}
	var sum Tally
	for _, tally := range v.Kinds {
		sum.add(tally)
	}
	// The chains are one kind or the other, by which of their changes came first: k1, k2 and cc1.
	if sum != v.Tally || v.Captured != 5 || v.Replayed != 4 || v.Verified != 3 {
		t.Errorf("%+v, sum %+v", v.Tally, sum)
	}
	all := strings.Join(v.Differences, "\n")
	for _, part := range []string{`oauth_client {"id": "c2"}: not replayed yet`, "(request_id=cc1): 1 still accepted", "(id=c2): 1 still accepted"} {
		if !strings.Contains(all, part) {
			t.Errorf("no %q in:\n%s", part, all)
		}
	}
}

// Of very many revocations only a part is read and asked about; the newest are always among them.
func TestVerifySamples(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newSeededPair(t)
	p.as(t, `INSERT INTO oauth_access (signature, request_id, client_id, expires_at) SELECT 'm' || i, 'm' || i, 'c1', now() + '1 hour' FROM generate_series(1, 500) i`,
		`DELETE FROM oauth_access WHERE signature LIKE 'm%' AND signature <> 'm500'`, `DELETE FROM oauth_access WHERE signature = 'm500'`)
	drain(t, p.replayer(t))
	v, err := Verify(t.Context(), p.blue, p.green, p.profile, 20)
	if err != nil || len(v.Differences) > 0 || v.Captured != 500 || v.Verified != 500 || v.Asked < 10 || v.Asked > 20 {
		t.Errorf("%+v, %v", v, err)
	}
	exec(t, p.green, `INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ('back', 'm500', 'c1', now() + '1 hour')`)
	v, err = Verify(t.Context(), p.blue, p.green, p.profile, 20)
	if err != nil || len(v.Differences) != 1 || v.Verified != 499 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestVerifyWithoutCapture(t *testing.T) {
	t.Parallel()
	db := open(t, "blue", newDatabase(t))
	if _, err := Verify(t.Context(), db, db, &plan.Profile{}, 0); !errors.Is(err, ErrNoCapture) {
		t.Errorf("got %v", err)
	}
}
