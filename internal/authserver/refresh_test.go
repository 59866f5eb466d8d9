package authserver_test

import (
	"net/url"
	"sync"
	"testing"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

const (
	chainRefresh = `SELECT count(*) FROM oauth_refresh WHERE request_id = $1`
	chainLiving  = `SELECT count(*) FROM oauth_refresh WHERE request_id = $1 AND active`
	chainAccess  = `SELECT count(*) FROM oauth_access WHERE request_id = $1`
	rowOf        = `SELECT count(*) FROM oauth_refresh WHERE signature = $1`
)

func rotation(t *testing.T, s running, strict bool) {
	app := s.register(t, nil)
	first, v := s.tokens(t, app, thirdparty.Answers{})
	chain := v.ConsentChallenge
	second := s.refresh(t, app, first.Refresh)
	if second.Status != 200 || second.ID == "" || second.Scope != first.Scope {
		t.Fatalf("%+v", second)
	}
	if all, living, access := s.number(t, chainRefresh, chain), s.number(t, chainLiving, chain), s.number(t, chainAccess, chain); all != 2 || living != 1 || access != 1 {
		t.Errorf("refresh rows %d, active %d, access rows %d; want 2, 1, 1", all, living, access)
	}
	if !strict && s.number(t, `SELECT count(*) FROM oauth_refresh WHERE signature = $1 AND first_used_at IS NOT NULL AND successor = $2`,
		authserver.Signature(first.Refresh), authserver.Signature(second.Refresh)) != 1 {
		t.Error("the used row knows no successor")
	}
	wantError(t, s.refresh(t, s.register(t, nil), second.Refresh), 400, "invalid_grant")
	if !s.active(t, second.Refresh) {
		t.Error("another client's try ended the chain")
	}
	wantError(t, s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {second.Refresh}, "scope": {"openid admin"}}), 400, "invalid_scope")
	narrow := s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {second.Refresh}, "scope": {"openid"}})
	if narrow.Scope != "openid" || s.refresh(t, app, narrow.Refresh).Scope != first.Scope {
		t.Errorf("a narrower scope: %+v", narrow)
	}
}

func reuse(t *testing.T, s running, strict bool) {
	app := s.register(t, nil)
	first, v := s.tokens(t, app, thirdparty.Answers{})
	second := s.refresh(t, app, first.Refresh)
	again := s.refresh(t, app, first.Refresh)
	if s.generation == "1.0" { // nobody notices
		wantError(t, again, 400, "invalid_grant")
		if !s.active(t, second.Access) || s.refresh(t, app, second.Refresh).Status != 200 {
			t.Error("a second use ended the chain")
		}
		return
	}
	if strict {
		wantError(t, again, 400, "invalid_grant")
		if s.active(t, second.Access) || s.active(t, second.Refresh) || s.number(t, chainLiving, v.ConsentChallenge) != 0 {
			t.Error("the chain lives on")
		}
		if n := s.number(t, chainRefresh, v.ConsentChallenge); n != 2 {
			t.Errorf("%d refresh rows, want the 2 that were", n)
		}
		return
	}
	if again.Status != 200 || again.Refresh != second.Refresh || !s.active(t, second.Access) || !s.active(t, again.Access) || !s.active(t, again.Refresh) {
		t.Fatalf("within the grace period: %+v", again)
	}
	if n := s.number(t, chainLiving, v.ConsentChallenge); n != 1 {
		t.Errorf("%d refresh tokens of one chain live", n)
	}
	late := serveOn(t, s.dsn, "2.0", func(c *authserver.Config) { c.Issuer, c.Grace = s.Issuer, -1 })
	wantError(t, late.refresh(t, app, first.Refresh), 400, "invalid_grant")
	if s.number(t, chainRefresh, v.ConsentChallenge)+s.number(t, chainAccess, v.ConsentChallenge) != 0 {
		t.Error("after the grace period the chain lives on")
	}
	// A token that 1.x made inactive has no first use: no grace.
	third, v := s.tokens(t, app, thirdparty.Answers{})
	s.exec(t, `UPDATE oauth_refresh SET active = false WHERE signature = '`+authserver.Signature(third.Refresh)+`'`)
	wantError(t, s.refresh(t, app, third.Refresh), 400, "invalid_grant")
	if s.number(t, chainRefresh, v.ConsentChallenge) != 0 {
		t.Error("the chain of a token that 1.x used lives on")
	}
}

// stolen: whoever finds a spent refresh token, however fresh, gets no branch that lives on beside its owner's.
func stolen(t *testing.T, s running, strict bool) {
	if strict { // 1.x has no grace: reuse shows what it does
		return
	}
	app := s.register(t, nil)
	one, v := s.tokens(t, app, thirdparty.Answers{})
	two := s.refresh(t, app, one.Refresh)
	taken := s.refresh(t, app, one.Refresh)
	if taken.Refresh != two.Refresh || taken.Access == two.Access {
		t.Errorf("a retry gives %+v, the first use gave %+v", taken, two)
	}
	three := s.refresh(t, app, two.Refresh)
	if three.Status != 200 {
		t.Fatalf("%+v", three)
	}
	if s.active(t, taken.Access) || s.active(t, two.Access) {
		t.Error("access tokens of before live on")
	}
	// Who comes with the first token now can't have lost its answer.
	wantError(t, s.refresh(t, app, one.Refresh), 400, "invalid_grant")
	if s.active(t, three.Access) || s.active(t, three.Refresh) || s.number(t, chainRefresh, v.ConsentChallenge) != 0 {
		t.Error("the family lives on after reuse")
	}
	// A retry asks for no more than the first use could, and another client gets nothing.
	one, _ = s.tokens(t, app, thirdparty.Answers{})
	two = s.refresh(t, app, one.Refresh)
	wantError(t, s.refresh(t, s.register(t, nil), one.Refresh), 400, "invalid_grant")
	wantError(t, s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {one.Refresh}, "scope": {"admin"}}), 400, "invalid_scope")
	if !s.active(t, two.Refresh) {
		t.Error("another client's try ended the chain")
	}
	// A revoked chain gives nothing again.
	if r := s.revoke(t, app, two.Access); r.Status != 200 {
		t.Errorf("%+v", r)
	}
	wantError(t, s.refresh(t, app, one.Refresh), 400, "invalid_grant")
	// Every server of the database gives the same successor; one with another secret gives none.
	one, _ = s.tokens(t, app, thirdparty.Answers{})
	two = s.refresh(t, app, one.Refresh)
	twin := serveOn(t, s.dsn, "2.0", func(c *authserver.Config) { c.Issuer = s.Issuer })
	if r := twin.refresh(t, app, one.Refresh); r.Refresh != two.Refresh {
		t.Errorf("another server: %+v", r)
	}
}

func refreshMany(t *testing.T, s running, strict bool) {
	app := s.register(t, nil)
	first, v := s.tokens(t, app, thirdparty.Answers{})
	const many = 8
	replies := make([]reply, many)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() { replies[i] = s.refresh(t, app, first.Refresh) })
	}
	wg.Wait()
	won := 0
	for _, r := range replies {
		switch {
		case r.Status == 200:
			won++
		case r.Status != 400 || r.Error != "invalid_grant":
			t.Errorf("%d %s", r.Status, r.Error)
		}
	}
	if s.generation == "1.0" {
		if living := s.number(t, chainLiving, v.ConsentChallenge); won != 1 || living != 1 {
			t.Errorf("%d of %d succeeded, %d refresh tokens live; want 1 and 1", won, many, living)
		}
		return
	}
	if strict && (won != 1 || s.number(t, chainLiving, v.ConsentChallenge) != 0 || s.number(t, chainAccess, v.ConsentChallenge) != 0) {
		t.Errorf("%d of %d succeeded; want 1, and a dead chain", won, many)
	}
	if !strict && (won != many || s.number(t, chainLiving, v.ConsentChallenge) != 1) {
		t.Errorf("%d of %d succeeded, %d refresh tokens live", won, many, s.number(t, chainLiving, v.ConsentChallenge))
	}
}
