package traffic

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// coalescing makes the router of a world one that answers a retry like the first request.
func coalescing(w *world) {
	w.expect.CoalescingExpected, w.expect.Coalescing, w.expect.Reuse = true, ms(2000), ms(5000)
}

// Each history is the good world with one fault. It must be found as what it is, and as nothing else.
func TestCheckFindsFaults(t *testing.T) {
	t.Parallel()
	lost := func(c *call) { c.Answer = Answer{Transport: "timeout"} }
	tests := []struct {
		name  string
		fault func(w *world)
		want  []Class
		says  string
	}{
		{"transport error", func(w *world) { lost(w.active1); w.active(4400, "s1.at1", "u1", "c1").start = 4015 }, []Class{FailedRequest}, "timeout"},
		{"server error", func(w *world) { w.add(1200, Request{Kind: Userinfo, Token: "s1.at1"}, Answer{Status: 502}) }, []Class{FailedRequest}, "502"},
		{"held too long at the router", func(w *world) {
			w.add(2100, Request{Kind: Refresh, Client: "c1", Token: "s1.rt1"}, Answer{Status: 503, Error: "temporarily_unavailable"}).end = 2500
		}, []Class{FailedRequest}, "503"},
		{"bypass refused before the hold", func(w *world) {
			w.add(1100, Request{Kind: ClientCredentials, Client: "c1", Target: Bypass}, Answer{Status: 503, Error: "temporarily_unavailable"})
		}, []Class{FailedRequest}, ""},
		{"bypass refused after an abort", func(w *world) {
			w.mark(1150, MarkHold)
			w.mark(1180, MarkAborted)
			w.add(1200, Request{Kind: ClientCredentials, Client: "c1", Target: Bypass}, Answer{Status: 503, Error: "temporarily_unavailable"})
		}, []Class{FailedRequest}, ""},
		{"bypass 503 of another sort", func(w *world) {
			w.add(2100, Request{Kind: ClientCredentials, Client: "c1", Target: Bypass}, Answer{Status: 503, Error: "server_error"})
		}, []Class{FailedRequest}, ""},
		{"too many requests", func(w *world) { w.add(1200, Request{Kind: JWKS}, Answer{Status: 429}) }, []Class{FailedRequest}, ""},
		{"page not found at the token endpoint", func(w *world) { w.refused2.Answer = Answer{Status: 404} }, []Class{FailedRequest}, "without an OAuth error"},
		{"login refused", func(w *world) {
			w.add(1200, Request{Kind: Login, Step: Accept, Session: "s9", Subject: "u9", Client: "c1"}, Answer{Status: 404, Error: "not_found"})
		}, []Class{FailedRequest}, "accept step"},
		{"login restarted far from a switch", func(w *world) {
			w.add(1200, Request{Kind: Consent, Step: Start, Session: "s9", Subject: "u9", Client: "c1"}, Answer{Status: 302, Restarted: true})
		}, []Class{FailedRequest}, "sent back"},
		{"consent without a code", func(w *world) {
			w.add(1200, Request{Kind: Consent, Step: Finish, Session: "s9", Subject: "u9", Client: "c1"}, Answer{Status: 302})
		}, []Class{FailedRequest}, "without a code"},
		{"revocation refused", func(w *world) {
			w.add(1200, Request{Kind: RevokeAccess, Client: "c1", Token: "s3.at1"}, Answer{Status: 400, Error: "invalid_request"})
		}, []Class{FailedRequest}, ""},
		{"introspection without a verdict", func(w *world) { w.add(1200, Request{Kind: Introspect, Token: "s1.at1"}, Answer{}) }, []Class{FailedRequest}, ""},

		{"access token active after its consent was revoked", func(w *world) {
			w.drop(w.inactive2)
			w.active(4060, "s2.at1", "u2", "c1")
		}, []Class{AcceptedDead}, "revoke-consent"},
		{"access token active after the refresh token was revoked", func(w *world) {
			w.drop(w.inactive3)
			w.active(4120, "s3.at1", "u3", "c1")
		}, []Class{AcceptedDead}, "revoke-refresh-token"},
		{"refresh after its consent was revoked", func(w *world) {
			w.drop(w.refused2)
			w.refresh(4080, "c1", "s2.rt1", "2")
		}, []Class{AcceptedDead}, "revoke-consent"},
		{"refresh after the access token was revoked", func(w *world) {
			w.revoke3.Kind, w.revoke3.Token = RevokeAccess, "s3.at1"
			w.drop(w.refused3)
			w.refresh(4140, "c1", "s3.rt1", "2")
		}, []Class{AcceptedDead}, "revoke-access-token"},
		{"userinfo after revocation", func(w *world) {
			w.add(4300, Request{Kind: Userinfo, Token: "s3.at1"}, Answer{Subject: "u3"})
		}, []Class{AcceptedDead}, "userinfo"},
		{"revoked consent still listed", func(w *world) { w.drop(w.list2); w.list(4100, "u2", "c1") }, []Class{AcceptedDead}, "lists"},
		{"consents of a subject still listed", func(w *world) {
			w.revoke2.Kind, w.revoke2.Client = RevokeSubject, ""
			w.drop(w.list2)
			w.list(4100, "u2", "c1")
		}, []Class{AcceptedDead}, "revoke-subject"},
		{"revoked on the bypass, accepted after the switch", func(w *world) {
			w.revoke2.Target = Bypass
			w.drop(w.inactive2)
			w.active(4060, "s2.at1", "u2", "c1")
		}, []Class{AcceptedDead}, "past the router"},
		{"deleted client gets tokens", func(w *world) {
			w.client(900, "c2")
			w.add(1300, Request{Kind: DeleteClient, Client: "c2"}, Answer{Status: 204})
			w.get(4300, "c2", 404)
			w.add(4320, Request{Kind: ClientCredentials, Client: "c2", Scope: "a"}, Answer{Issued: &Issued{Access: "cc1"}})
		}, []Class{AcceptedDead}, "delete-client"},
		{"token of a deleted client", func(w *world) {
			w.client(900, "c2")
			w.add(920, Request{Kind: ClientCredentials, Client: "c2", Scope: "openid offline"}, Answer{Issued: &Issued{Access: "cc1"}})
			w.add(1300, Request{Kind: DeleteClient, Client: "c2"}, Answer{Status: 204})
			w.get(4300, "c2", 404)
			w.active(4320, "cc1", "c2", "c2")
		}, []Class{AcceptedDead}, "delete-client"},
		{"consent of a deleted client", func(w *world) {
			w.client(600, "c2")
			w.session(900, "s4", "u4", "c2")
			w.add(1300, Request{Kind: DeleteClient, Client: "c2"}, Answer{Status: 204})
			w.inactive(4300, "s4.at1")
			w.list(4320, "u4", "c2")
		}, []Class{AcceptedDead}, "delete-client"},
		{"code traded after its consent was revoked", func(w *world) {
			_, x := w.session(900, "s4", "u4", "c1")
			x.start, x.end = 1400, 1410
			w.revokeConsent(1300, "u4", "c1")
			w.inactive(4300, "s4.at1")
		}, []Class{AcceptedDead}, "a code of u4"},
		{"used refresh token accepted", func(w *world) { w.refresh(4300, "c1", "s1.rt1", "2b") }, []Class{AcceptedDead}, "refresh token"},
		{"old access token active after rotation", func(w *world) { w.active(4300, "s1.at1", "u1", "c1") }, []Class{AcceptedDead}, "access token"},
		{"expired token active", func(w *world) {
			w.add(600, Request{Kind: ClientCredentials, Client: "c1", Scope: "openid offline"}, Answer{Issued: &Issued{Access: "cc1", ExpiresIn: 1}})
			w.active(4300, "cc1", "c1", "c1")
		}, []Class{AcceptedDead}, "expired"},
		{"tokens of a refresh that met the consent's revocation", func(w *world) {
			w.drop(w.refused2)
			w.drop(w.inactive2)
			r := w.refresh(1490, "c1", "s2.rt1", "2")
			r.end = 1530
			w.active(4080, "s2.at2", "u2", "c1")
		}, []Class{AcceptedDead}, "revoke-consent"},

		{"living access token inactive", func(w *world) { w.drop(w.active1); w.inactive(4000, "s1.at1") }, []Class{RefusedLiving}, "access token"},
		{"living refresh token refused", func(w *world) { w.drop(w.refresh1); w.refused(4040, "c1", "s1.rt1") }, []Class{RefusedLiving}, "refresh token"},
		{"userinfo refuses", func(w *world) {
			w.add(3500, Request{Kind: Userinfo, Token: "s1.at1"}, Answer{Status: 401, Error: "invalid_token"})
		}, []Class{RefusedLiving, Resurrection}, "userinfo"},
		{"consent missing", func(w *world) { w.drop(w.list1); w.list(4020, "u1") }, []Class{RefusedLiving}, "does not list"},
		{"client unknown to admin", func(w *world) { w.get(4300, "c1", 404) }, []Class{RefusedLiving}, "client c1"},
		{"client unknown at the token endpoint", func(w *world) {
			w.add(4300, Request{Kind: ClientCredentials, Client: "c1"}, Answer{Status: 401, Error: "invalid_client"})
		}, []Class{RefusedLiving}, "client c1"},
		{"client unknown, though the session is dead", func(w *world) { w.refused2.Answer = Answer{Status: 401, Error: "invalid_client"} }, []Class{RefusedLiving, Resurrection}, "client c1"},
		{"fresh code refused", func(w *world) {
			_, x := w.session(900, "s4", "u4", "c1")
			x.Answer = Answer{Status: 400, Error: "invalid_grant"}
			w.list(4300, "u4", "c1")
		}, []Class{RefusedLiving}, "a code"},
		{"logging out killed the session", func(w *world) {
			w.add(1200, Request{Kind: Logout, Subject: "u1"}, Answer{Status: 302})
			w.drop(w.active1)
			w.inactive(4000, "s1.at1")
		}, []Class{RefusedLiving}, "access token"},
		{"another client's revocation killed the session", func(w *world) {
			w.client(900, "c2")
			w.revokeConsent(1300, "u1", "c2")
			w.get(4300, "c2", 200)
			w.drop(w.list1)
			w.list(4020, "u1")
		}, []Class{RefusedLiving}, ""},

		{"another subject", func(w *world) { w.active1.Answer.Subject = "u2" }, []Class{WrongAnswer}, `subject "u2"`},
		{"subject lost", func(w *world) { w.active1.Answer.Subject = "" }, []Class{WrongAnswer}, `subject ""`},
		{"another client", func(w *world) { w.active1.Answer.Client = "c2" }, []Class{WrongAnswer}, "client"},
		{"another scope", func(w *world) { w.active1.Answer.Scope = "openid" }, []Class{WrongAnswer}, "scope"},
		{"userinfo of another", func(w *world) {
			w.add(3500, Request{Kind: Userinfo, Token: "s1.at1"}, Answer{Subject: "u2"})
		}, []Class{WrongAnswer}, "u2"},
		{"ID token of another", func(w *world) { w.exchange1.Answer.Issued.IDSubject = "u2" }, []Class{WrongAnswer}, "ID token"},
		{"forged ID token", func(w *world) { w.exchange1.Answer.Issued.IDForged = true }, []Class{WrongAnswer}, "did not sign"},
		{"audience lost", func(w *world) {
			w.active(1100, "s1.at1", "u1", "c1").Answer.Claims = map[string]string{"aud": "a1", "exp": "3600"}
			w.active1.Answer.Claims = map[string]string{"exp": "3600"}
		}, []Class{WrongAnswer}, "did: aud"},
		{"claims of the consent app lost", func(w *world) {
			w.active(1100, "s1.at1", "u1", "c1").Answer.Claims = map[string]string{"ext": "e1"}
		}, []Class{WrongAnswer}, "did: ext"},
		{"a longer life than was handed out", func(w *world) {
			w.active1.Answer.Claims = map[string]string{"exp": "7200"}
		}, []Class{WrongAnswer}, "off the lifetime"},
		{"a client's redirect URIs changed", func(w *world) {
			w.get(1100, "c1", 200).Answer.Claims = map[string]string{"redirect_uris": "r1"}
			w.get(4300, "c1", 200).Answer.Claims = map[string]string{"redirect_uris": "r2"}
		}, []Class{WrongAnswer}, "redirect_uris"},
		{"key lost", func(w *world) { w.jwks2.Answer.Keys = map[string]string{"k2": "thumb2"} }, []Class{WrongAnswer}, "lacks key k1"},
		{"key replaced under its id", func(w *world) { w.jwks2.Answer.Keys = map[string]string{"k1": "thumb2"} }, []Class{WrongAnswer}, "another key"},
		{"issuer changed", func(w *world) { w.disc2.Answer.Issuer = "http://green/" }, []Class{WrongAnswer}, "issuer"},
		{"issuer lost its slash", func(w *world) { w.disc2.Answer.Issuer = "http://issuer" }, []Class{WrongAnswer}, "issuer"},
		{"listed scope changed", func(w *world) { w.list1.Answer.Consents[0].Scope = "openid" }, []Class{WrongAnswer}, "scope"},
		{"consent never given", func(w *world) { w.drop(w.list1); w.list(4020, "u1", "c1", "c7") }, []Class{WrongAnswer}, "never gave"},
		{"consent of another", func(w *world) {
			w.list1.Answer.Consents = append(w.list1.Answer.Consents, Listed{"u2", "c1", "openid offline"})
		}, []Class{WrongAnswer}, `"u2"`},
		{"one token for two sessions", func(w *world) {
			w.add(1200, Request{Kind: ClientCredentials, Client: "c1", Scope: "a"}, Answer{Issued: &Issued{Access: "s1.at1"}})
		}, []Class{WrongAnswer}, "handed out before"},
		{"refresh hands out nothing", func(w *world) { w.refresh1.Answer.Issued = nil }, []Class{WrongAnswer}, "no access token"},

		{"refresh answers with the same access token", func(w *world) { w.refresh1.Answer.Issued.Access = "s1.at1" }, []Class{WrongAnswer}, "handed out before"},
		{"refresh answers with the same refresh token", func(w *world) { w.refresh1.Answer.Issued.Refresh = "s1.rt1" }, []Class{WrongAnswer}, "handed out before"},
		{"refresh answers with the tokens of another", func(w *world) {
			w.refresh1.Answer.Issued.Access, w.refresh1.Answer.Issued.Refresh = "s3.at1", "s3.rt1"
		}, []Class{WrongAnswer}, "handed out before"},
		{"refresh gives no refresh token", func(w *world) { w.refresh1.Answer.Issued.Refresh = "" }, []Class{WrongAnswer}, "no refresh token"},
		{"a code gives no refresh token", func(w *world) {
			w.exchange1.Answer.Issued.Refresh = ""
			w.drop(w.refresh1)
		}, []Class{WrongAnswer}, "no refresh token"},
		{"a code gives no ID token", func(w *world) {
			i := w.exchange1.Answer.Issued
			w.exchange1.Answer.Issued = &Issued{Access: i.Access, Refresh: i.Refresh, ExpiresIn: i.ExpiresIn}
		}, []Class{WrongAnswer}, "no ID token"},
		{"a code gives an empty answer", func(w *world) {
			w.exchange1.Answer = Answer{Status: 200}
			w.drop(w.active1)
			w.drop(w.refresh1)
			w.session(3500, "s4", "u4", "c1") // another, to live
			w.active(4300, "s4.at1", "u4", "c1")
			w.refresh(4320, "c1", "s4.rt1", "2")
			w.list(4340, "u4", "c1")
		}, []Class{WrongAnswer}, "no access token"},
		{"unsigned ID token", func(w *world) {
			i := w.exchange1.Answer.Issued
			i.IDKey, i.IDSubject, i.IDClient, i.IDIssuer, i.IDForged, i.IDExpiresIn = "none", "", "", "", true, 0
		}, []Class{WrongAnswer}, "did not sign"},
		{"ID token of a key that is not shown", func(w *world) { w.exchange1.Answer.Issued.IDKey = "k9" }, []Class{WrongAnswer}, "lacks key k9"},
		{"ID token of a key without an id", func(w *world) {
			w.exchange1.Answer.Issued.IDKey, w.exchange1.Answer.Issued.IDForged = "", true
		}, []Class{WrongAnswer}, "did not sign"},
		{"ID token of another login", func(w *world) { w.exchange1.Answer.Issued.IDWrongNonce = true }, []Class{WrongAnswer}, "nonce"},
		{"ID token for another app", func(w *world) { w.exchange1.Answer.Issued.IDClient = "c2" }, []Class{WrongAnswer}, "ID token"},
		{"expired ID token", func(w *world) { w.exchange1.Answer.Issued.IDExpiresIn = 0 }, []Class{WrongAnswer}, "had expired"},
		{"no key at all", func(w *world) { w.add(4240, Request{Kind: JWKS}, Answer{}) }, []Class{WrongAnswer}, "no key at all"},
		{"no issuer", func(w *world) { w.disc2.Answer.Issuer = "" }, []Class{WrongAnswer}, "names no issuer"},
		{"a consent listed twice", func(w *world) { w.drop(w.list1); w.list(4020, "u1", "c1", "c1") }, []Class{WrongAnswer}, "lists 2 consents"},
		{"machine token of another", func(w *world) {
			w.add(1200, Request{Kind: ClientCredentials, Client: "c1", Scope: "a"}, Answer{Issued: &Issued{Access: "cc1"}})
			w.active(4300, "cc1", "u1", "c1").Answer.Scope = "a"
		}, []Class{WrongAnswer}, `subject "u1"`},

		{"a token request is redirected", func(w *world) { w.refused2.Answer = Answer{Status: 302} }, []Class{FailedRequest}, "302"},
		{"a revocation is redirected", func(w *world) {
			w.revoke(1200, RevokeAccess, "c1", "s3.at1").Answer.Status = 307
		}, []Class{FailedRequest}, "307"},
		{"introspection is redirected", func(w *world) { w.active1.Answer.Status = 303; w.active(3900, "s1.at1", "u1", "c1") }, []Class{FailedRequest}, "303"},

		{"revoked consent is remembered", func(w *world) {
			w.again("s4", "s5", "u5", 900, 1500)
			w.revokeConsent(1300, "u5", "c1")
			w.inactive(4300, "s4.at1")
			w.active(4330, "s5.at1", "u5", "c1")
			w.refresh(4340, "c1", "s5.rt1", "2")
			w.list(4360, "u5")
		}, []Class{AcceptedDead}, "was skipped for a remembered consent"},
		{"all consents of a subject revoked, one is remembered after the switch", func(w *world) {
			w.again("s4", "s5", "u5", 900, 3500)
			w.add(1300, Request{Kind: RevokeSubject, Subject: "u5"}, Answer{Status: 204})
			w.inactive(4300, "s4.at1")
			w.list(4360, "u5")
		}, []Class{AcceptedDead}, "revoke-subject"},
		{"a consent that was never given is remembered", func(w *world) {
			w.session(3500, "s4", "u4", "c1")
			for _, o := range w.calls {
				o.Skip = o.Skip || o.Session == "s4"
			}
		}, []Class{WrongAnswer}, "never granted"},
		{"a deleted client revokes", func(w *world) {
			w.client(900, "c2")
			w.session(910, "s4", "u4", "c2")
			w.add(1300, Request{Kind: DeleteClient, Client: "c2"}, Answer{Status: 204})
			w.revoke(4300, RevokeAccess, "c2", "s4.at1")
			w.get(4320, "c2", 404)
		}, []Class{AcceptedDead}, "was taken from client c2"},
		{"a deleted client refreshes", func(w *world) {
			w.client(900, "c2")
			w.session(910, "s4", "u4", "c2")
			w.add(1300, Request{Kind: DeleteClient, Client: "c2"}, Answer{Status: 204})
			w.get(4300, "c2", 404)
			w.refresh(4320, "c2", "s4.rt1", "2")
		}, []Class{AcceptedDead}, "delete-client"},
		{"the new side serves before the switch", func(w *world) {
			w.mark(2100, MarkFenced)
			w.mark(2900, MarkCommit)
			w.add(2500, Request{Kind: ClientCredentials, Client: "c1", Scope: "a"}, Answer{Issued: &Issued{Access: "cc1"}})
			w.active(4300, "cc1", "c1", "c1").Answer.Scope = "a"
		}, []Class{TwoWriters}, "no side may serve"},
		{"the old side takes a write behind its fence", func(w *world) {
			w.mark(2100, MarkFenced)
			w.mark(2900, MarkCommit)
			w.revoke(2500, RevokeAccess, "c1", "s3.at1").Target = Bypass
		}, []Class{TwoWriters}, "no side may serve"},

		{"dead by a lost revocation, then alive", func(w *world) {
			lost(w.revoke2)
			w.revoke3.start, w.revoke3.end = 1400, 1410
			w.inactive(1800, "s2.at1")
			w.drop(w.inactive2)
			w.active(4060, "s2.at1", "u2", "c1")
		}, []Class{FailedRequest, Resurrection}, "alive again"},
		{"consent gone by a lost revocation, then listed", func(w *world) {
			lost(w.revoke2)
			w.revoke3.start, w.revoke3.end = 1400, 1410
			w.list(1800, "u2")
			w.drop(w.list2)
			w.list(4100, "u2", "c1")
		}, []Class{FailedRequest, Resurrection}, "alive again"},
		{"session gone by a lost revocation, then refreshed", func(w *world) {
			lost(w.revoke3)
			w.drop(w.refused3)
			w.refresh(4140, "c1", "s3.rt1", "2")
		}, []Class{FailedRequest, Resurrection}, "alive again"},
		{"consent gone by a lost revocation, its token alive", func(w *world) {
			lost(w.revoke2)
			w.revoke3.start, w.revoke3.end = 1400, 1410
			w.list(1800, "u2")
			w.drop(w.inactive2)
			w.active(4060, "s2.at1", "u2", "c1")
		}, []Class{FailedRequest, Resurrection}, "alive again"},
		{"client gone by a lost deletion, then found", func(w *world) {
			w.client(900, "c2")
			lost(w.add(1300, Request{Kind: DeleteClient, Client: "c2"}, Answer{}))
			w.get(1800, "c2", 404)
			w.get(4300, "c2", 200)
		}, []Class{FailedRequest, Resurrection}, "client c2"},
		{"dead, then alive, for no reason at all", func(w *world) { w.inactive(3500, "s1.at1") }, []Class{RefusedLiving, Resurrection}, ""},

		{"code spent twice", func(w *world) {
			w.add(3600, Request{Kind: Exchange, Client: "c1", Token: "s1.code"}, Answer{Issued: &Issued{Access: "x1"}})
		}, []Class{DoubleSpend}, "both traded"},
		{"code spent twice at once", func(w *world) {
			w.add(162, Request{Kind: Exchange, Client: "c1", Token: "s1.code"}, Answer{Issued: &Issued{Access: "x1"}})
		}, []Class{DoubleSpend}, "both traded"},
		{"a retry is refused", func(w *world) {
			coalescing(w)
			w.add(4043, Request{Kind: RefreshTwice, Client: "c1", Token: "s1.rt1"}, Answer{Status: 401, Error: "token_inactive"})
		}, []Class{RetryKilled}, "sent a refresh twice"},
		{"a retry killed the chain", func(w *world) {
			coalescing(w)
			w.refresh(4043, "c1", "s1.rt1", "2").Kind = RefreshTwice
			w.inactive(4300, "s1.at2")
		}, []Class{RetryKilled}, "sent a refresh twice"},
		{"a late retry killed the chain", func(w *world) {
			coalescing(w)
			w.refresh(4240, "c1", "s1.rt1", "2").Kind = RefreshTwice
			w.refused(4300, "c1", "s1.rt2")
		}, []Class{RetryKilled}, "sent a refresh twice"},
		{"the old side takes a write after the switch", func(w *world) {
			w.add(3500, Request{Kind: ClientCredentials, Client: "c1", Scope: "a", Target: Bypass}, Answer{Issued: &Issued{Access: "cc1"}})
		}, []Class{TwoWriters}, "old server"},
		{"the old side takes a revocation after the switch", func(w *world) {
			w.revoke(3500, RevokeAccess, "c1", "s3.at1").Target = Bypass
		}, []Class{TwoWriters}, "old server"},

		{"nothing revoked", func(w *world) {
			for _, c := range []*call{w.revoke2, w.revoke3, w.inactive2, w.inactive3, w.refused2, w.refused3, w.list2} {
				w.drop(c)
			}
			w.list(4300, "u2", "c1")
			for _, s := range []string{"2", "3"} {
				w.active(4320, "s"+s+".at1", "u"+s, "c1")
				w.refresh(4340, "c1", "s"+s+".rt1", "2")
			}
		}, []Class{NothingProved}, "nothing was revoked"},
		{"nothing revoked in between", func(w *world) { w.revoke2.start, w.revoke2.end = 900, 910 }, []Class{NothingProved}, "brought over"},
		{"a switch that was not expected", func(w *world) { w.expect.NoSwitch = true }, []Class{NothingProved}, "no switch was expected"},
		{"no switch", func(w *world) { w.marks = w.marks[:2] }, []Class{NothingProved}, "no switch"},
		{"no mark before the switch", func(w *world) { w.marks = w.marks[2:] }, []Class{NothingProved}, "neither mark"},
		{"a revocation never tried", func(w *world) { w.drop(w.inactive3); w.drop(w.refused3) }, []Class{NothingProved}, "1 revocation was never tried"},
		{"a consent never asked for", func(w *world) { w.drop(w.list1) }, []Class{NothingProved}, "consent of u1"},
		{"a token never asked for", func(w *world) {
			w.drop(w.active1)
			w.refresh1.start, w.refresh1.end = 950, 960
		}, []Class{NothingProved}, "token s1.rt2"},
		{"nobody asks after the switch", func(w *world) {
			w.calls = slices.DeleteFunc(w.calls, func(c *call) bool { return c.start >= 3000 })
		}, []Class{NothingProved}, "nobody asked for anything dead"},
		{"only the old side is asked", func(w *world) {
			for _, c := range w.calls {
				if c.start >= 3000 && c != w.refresh1 {
					c.Target = Bypass
				}
			}
			w.refresh1.start, w.refresh1.end = 950, 960
		}, []Class{NothingProved}, "nobody asked"},

		{"a worker died", func(w *world) { w.jwks1.noEnd = true }, []Class{UnansweredWorker}, "no end"},
		{"a token from nowhere", func(w *world) { w.inactive(3500, "nobody.at1") }, []Class{BrokenHistory}, "no earlier answer"},
		{"a token before it was handed out", func(w *world) { w.active(90, "s1.at1", "u1", "c1") }, []Class{BrokenHistory}, "no earlier answer"},
		{"an access token is refreshed", func(w *world) { w.refused(3500, "c1", "s1.at1") }, []Class{BrokenHistory}, "access token as a refresh token"},
		{"a kind that no one sends", func(w *world) { w.add(3500, Request{Kind: "dance"}, Answer{}) }, []Class{BrokenHistory}, "dance"},
	}
	if len(tests) < 30 {
		t.Fatalf("only %d bad histories", len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.fault(w)
			v := Check(w.history())
			if diff := cmp.Diff(tt.want, v.Classes()); diff != "" {
				t.Errorf("classes (-want +got):\n%s\n%s", diff, v)
			}
			if v.OK() || !strings.Contains(v.String(), tt.says) {
				t.Errorf("the verdict does not say %q:\n%s", tt.says, v)
			}
			for _, f := range v.Findings {
				if f.Class != NothingProved && len(f.Ops) == 0 {
					t.Errorf("finding without requests: %s", f)
				}
			}
		})
	}
}

// Faults of the record itself are made in the records.
func TestCheckFindsBrokenHistories(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault func(h *History)
	}{
		{"cut at the end", func(h *History) { h.Records = h.Records[:len(h.Records)-4] }},
		{"never closed", func(h *History) { h.Closed = -1 }},
		{"a request dropped", func(h *History) {
			h.Records = slices.DeleteFunc(h.Records, func(r Record) bool { return r.Op == 30 })
			h.Closed = len(h.Records)
		}},
		{"an answer before its request", func(h *History) {
			for i, r := range h.Records {
				if r.Op == 30 && r.Request != nil {
					h.Records[i], h.Records[i+1] = h.Records[i+1], h.Records[i]
					h.Records[i].At, h.Records[i+1].At = r.At, r.At
					return
				}
			}
		}},
		{"two answers", func(h *History) {
			h.Records = append(h.Records, h.Records[len(h.Records)-1])
			h.Closed++
		}},
		{"two requests of one id", func(h *History) {
			h.Records = append(h.Records, Record{At: ms(9000), Op: 30, Request: &Request{Kind: JWKS, Target: Router}})
			h.Closed++
		}},
		{"time runs backwards", func(h *History) { h.Records[40].At = 0 }},
		{"an empty record", func(h *History) { h.Records = append(h.Records, Record{At: ms(9000)}); h.Closed++ }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newWorld(t).history()
			tt.fault(h)
			if v := Check(h); !slices.Contains(v.Classes(), BrokenHistory) {
				t.Errorf("not found:\n%s", v)
			}
		})
	}
	if v := Check(&History{}); v.OK() || !slices.Contains(v.Classes(), NothingProved) {
		t.Errorf("an empty history proves something: %s", v)
	}
}
