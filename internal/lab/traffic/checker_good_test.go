package traffic

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Histories that look bad and are not. failures are those whose only finding is the request that got no answer.
func TestCheckPassesTrickyHistories(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		make     func(w *world)
		failures bool
	}{
		{"plain", func(*world) {}, false},
		{"revocation meets a refresh, refresh first", func(w *world) {
			w.revoke3.start, w.revoke3.end = 800, 840
			w.refresh(810, "c1", "s3.rt1", "2")
			w.active(4300, "s3.at2", "u3", "c1") // revoking a used refresh token does nothing
		}, false},
		{"revocation meets a refresh, revocation first", func(w *world) {
			w.revoke3.start, w.revoke3.end = 800, 840
			w.refused(810, "c1", "s3.rt1")
		}, false},
		{"consent revocation meets a refresh", func(w *world) {
			r := w.refresh(1490, "c1", "s2.rt1", "2")
			r.end = 1530
			w.inactive(4300, "s2.at2")
		}, false},
		{"lost answer of a revocation that took effect", func(w *world) {
			w.revoke3.Answer = Answer{Transport: "timeout"}
		}, true},
		{"lost answer of a revocation that did not", func(w *world) {
			w.revoke3.Answer = Answer{Transport: "timeout"}
			w.drop(w.inactive3)
			w.drop(w.refused3)
			w.active(4120, "s3.at1", "u3", "c1")
			w.refresh(4140, "c1", "s3.rt1", "2")
		}, true},
		{"lost answer of a revocation that took effect late", func(w *world) {
			w.revoke3.Answer = Answer{Transport: "timeout"}
			w.active(900, "s3.at1", "u3", "c1")
		}, true},
		{"lost answer of a refresh, then a retry that is refused", func(w *world) {
			lost := w.refresh(3500, "c1", "s1.rt1", "2")
			lost.Answer = Answer{Transport: "timeout"}
			w.drop(w.refresh1)
			w.drop(w.active1)
			w.refused(4040, "c1", "s1.rt1")
			w.inactive(4300, "s1.at1")
		}, true},
		{"lost answer of a refresh, then a retry that succeeds", func(w *world) {
			w.refresh(3500, "c1", "s1.rt1", "2").Answer = Answer{Transport: "timeout"}
		}, true},
		{"expiry at the border, still active", func(w *world) {
			w.add(2500, Request{Kind: ClientCredentials, Client: "c1", Scope: "openid offline"}, Answer{Issued: &Issued{Access: "cc1", ExpiresIn: 2}})
			w.active(5400, "cc1", "c1", "c1")
		}, false},
		{"expiry at the border, already inactive", func(w *world) {
			w.add(2500, Request{Kind: ClientCredentials, Client: "c1", Scope: "openid offline"}, Answer{Issued: &Issued{Access: "cc1", ExpiresIn: 3}})
			w.inactive(4400, "cc1")
		}, false},
		{"two refreshes at once on a strict server, the loser kills the winner", func(w *world) {
			w.refused(4043, "c1", "s1.rt1").Kind = RefreshTwice
			w.inactive(4300, "s1.at2")
			w.refused(4320, "c1", "s1.rt2")
		}, false},
		{"two refreshes at once, both answered", func(w *world) {
			w.refresh(4043, "c1", "s1.rt1", "2b").Kind = RefreshTwice
			w.refused(4320, "c1", "s1.rt2")
		}, false},
		{"a retry is coalesced", func(w *world) {
			coalescing(w)
			w.refresh(4240, "c1", "s1.rt1", "2").Kind = RefreshTwice
			w.active(4300, "s1.at2", "u1", "c1")
			w.refresh(4320, "c1", "s1.rt2", "3")
		}, false},
		{"a retry is given its answer again while the used token is called inactive", func(w *world) {
			coalescing(w)
			w.inactive(4150, "s1.rt1")
			w.refresh(4240, "c1", "s1.rt1", "2").Kind = RefreshTwice
			w.active(4300, "s1.at2", "u1", "c1")
		}, false},
		{"a retry past the window kills the chain", func(w *world) {
			coalescing(w)
			w.refused(9000, "c1", "s1.rt1").Kind = RefreshTwice
			w.inactive(9100, "s1.at2")
		}, false},
		{"retry of a revoked session is refused", func(w *world) {
			coalescing(w)
			w.refused(4143, "c1", "s3.rt1").Kind = RefreshTwice
		}, false},
		{"bypass writes until it is fenced", func(w *world) {
			w.revoke(1200, RevokeAccess, "c1", "s3.at1").Target = Bypass
			for _, at := range []int{1990, 2500, 3500} {
				c := w.revokeConsent(at, "u1", "c1")
				c.Target, c.Answer, c.end = Bypass, Answer{Status: 503, Error: "temporarily_unavailable"}, at+20
			}
		}, false},
		{"old side tells of the past", func(w *world) {
			w.revokeConsent(3500, "u1", "c1")
			w.active(3600, "s1.at1", "u1", "c1").Target = Bypass
			for _, c := range []*call{w.active1, w.list1, w.refresh1} {
				w.drop(c)
			}
			w.inactive(4300, "s1.at1")
			w.list(4320, "u1")
		}, false},
		{"revocation during the hold, answered after it", func(w *world) { w.revoke2.start, w.revoke2.end = 2100, 3100 }, false},
		{"consent given again after its revocation", func(w *world) {
			w.session(3200, "s4", "u2", "c1")
			w.drop(w.list2)
			w.list(4100, "u2", "c1")
			w.active(4300, "s4.at1", "u2", "c1")
		}, false},
		{"revocation meets a login and breaks it", func(w *world) {
			c, x := w.session(1490, "s4", "u2", "c1")
			c.Answer = Answer{Status: 403, Error: "access_denied"}
			w.drop(x)
		}, false},
		{"login restarted by the switch", func(w *world) {
			w.add(2990, Request{Kind: Consent, Step: Start, Session: "s4", Subject: "u4", Client: "c1"}, Answer{Status: 302, Restarted: true}).end = 3050
		}, false},
		{"remembered consent is not listed anew", func(w *world) {
			w.again("s4", "s5", "u5", 900, 1450)
			w.active(4300, "s4.at1", "u5", "c1")
			w.refresh(4310, "c1", "s4.rt1", "2")
			w.active(4330, "s5.at1", "u5", "c1")
			w.refresh(4340, "c1", "s5.rt1", "2")
			w.list(4360, "u5", "c1")
		}, false},
		{"remembered consent meets its revocation", func(w *world) {
			r := w.revokeConsent(1400, "u5", "c1")
			r.end = 1480
			w.again("s4", "s5", "u5", 900, 1450)
			w.inactive(4300, "s4.at1")
			w.active(4330, "s5.at1", "u5", "c1")
			w.refresh(4340, "c1", "s5.rt1", "2")
			w.list(4360, "u5")
		}, false},
		{"a write that the hold lets go on", func(w *world) {
			w.mark(2100, MarkFenced)
			w.mark(2900, MarkCommit)
			w.add(2050, Request{Kind: ClientCredentials, Client: "c1", Scope: "a"}, Answer{Issued: &Issued{Access: "cc1"}}).end = 2110
			w.add(2500, Request{Kind: ClientCredentials, Client: "c1", Scope: "a"}, Answer{Issued: &Issued{Access: "cc2"}}).end = 2990
			w.active(4300, "cc1", "c1", "c1").Answer.Scope = "a"
			w.active(4320, "cc2", "c1", "c1").Answer.Scope = "a"
		}, false},
		{"a refresh answered again in the hold", func(w *world) {
			coalescing(w)
			w.mark(2100, MarkFenced)
			w.mark(2900, MarkCommit)
			w.drop(w.active1)
			w.refresh1.start, w.refresh1.end = 2050, 2060
			w.refresh(2200, "c1", "s1.rt1", "2").Kind = RefreshTwice
			w.active(4300, "s1.at2", "u1", "c1")
			w.refresh(4320, "c1", "s1.rt2", "3")
		}, false},
		{"a fence that was given up", func(w *world) {
			w.mark(1100, MarkHold)
			w.mark(1120, MarkFenced)
			w.mark(1180, MarkAborted)
			w.add(1130, Request{Kind: ClientCredentials, Client: "c1", Scope: "a"}, Answer{Issued: &Issued{Access: "cc1"}}).end = 1175
			w.mark(2900, MarkCommit)
			w.active(4300, "cc1", "c1", "c1").Answer.Scope = "a"
		}, false},
		{"logging out changes nothing", func(w *world) { w.add(1200, Request{Kind: Logout, Subject: "u1"}, Answer{Status: 302}) }, false},
		{"a deleted client is gone with all it had", func(w *world) {
			w.client(600, "c2")
			w.session(900, "s4", "u4", "c2")
			w.add(1300, Request{Kind: DeleteClient, Client: "c2"}, Answer{Status: 204})
			w.get(4300, "c2", 404)
			w.inactive(4310, "s4.at1")
			w.list(4320, "u4")
			w.refused(4330, "c2", "s4.rt1").Answer = Answer{Status: 401, Error: "invalid_client"}
		}, false},
		{"a code tried again is refused and may end the session", func(w *world) {
			w.add(4300, Request{Kind: Exchange, Client: "c1", Token: "s1.code"}, Answer{Status: 400, Error: "invalid_grant"})
			w.inactive(4320, "s1.at2")
		}, false},
		{"revoking a dead token twice", func(w *world) { w.revoke(4300, RevokeRefresh, "c1", "s3.rt1") }, false},
		{"rolled back: the old side takes writes again", func(w *world) {
			w.mark(3100, MarkRollback)
			w.mark(3150, MarkReleased)
			w.mark(3160, MarkRollback)
			w.revoke(3200, RevokeAccess, "c1", "s3.at1").Target = Bypass
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.make(w)
			v := Check(w.history())
			var want []Class
			if tt.failures {
				want = []Class{FailedRequest}
			}
			if diff := cmp.Diff(want, v.Classes()); diff != "" {
				t.Errorf("classes (-want +got):\n%s\n%s", diff, v)
			}
			w.expect.FailuresAllowed = true
			if v := Check(w.history()); !v.OK() || (tt.failures && v.Failed == 0) {
				t.Errorf("with failures allowed: %s", v)
			}
		})
	}
}

func TestVerdictCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.drop(w.inactive2)
	w.active(4060, "s2.at1", "u2", "c1")
	w.refresh(4350, "c1", "s2.rt1", "2").start = 4349
	w.drop(w.refused2)
	w.drop(w.list1)
	w.list(4020, "u1")
	v := Check(w.history())
	v.Findings = nil
	want := Verdict{Requests: len(w.calls), Revocations: 2, RevocationsDuringReplayOrHold: 1, RevocationsLost: 1, AuthorizationsLost: 1,
		Issued: 1 + 3 + 6 + 4,
		Probes: map[string]int{"dead access token": 2, "dead refresh token": 2, "dead consent": 1, "living access token": 1,
			"living refresh token": 1, "living consent": 2, "living client": 1}}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}
