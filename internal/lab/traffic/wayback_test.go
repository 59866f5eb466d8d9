package traffic

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// signed has the new side show the old side's key k1 and one of its own, sign with that, and leave it out later.
func (s *script) signed(old, fresh string, later int) {
	s.add(2400, Request{Kind: JWKS}, Answer{Keys: map[string]string{"k1": old, "k2": fresh}})
	_, exchange := s.session(2420, "s6", "u6", "c1")
	exchange.Answer.Issued.IDKey = "k2"
	s.add(later, Request{Kind: JWKS}, Answer{Keys: map[string]string{"k1": old}})
}

// A switch that is taken back: hold 2000, released 2100, the way back holds at 3000 and is there at 3100. s1 is
// refreshed on the new side, s2 begins there, s3 is revoked there, s4 is not touched.
func TestCheckOfAWayBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		play func(s *script)
		want []Class
	}{
		{"what only the new side knew is gone", func(s *script) {
			s.inactive(4000, "s2.at1")
			s.refused(4020, "c1", "s2.rt1")
			s.refused(4040, "c1", "s1.rt2")
			s.list(4060, "u2")
		}, nil},
		{"what the new side rotated is as before", func(s *script) {
			s.inactive(2500, "s1.at1")
			s.active(4000, "s1.at1", "u1", "c1")
			s.refresh(4020, "c1", "s1.rt1", "3")
			s.active(4040, "s1.at3", "u1", "c1")
		}, nil},
		{"clients of the new side are gone", func(s *script) {
			s.client(2400, "c9")
			s.get(2500, "c9", 200)
			s.get(4000, "c9", 404)
		}, nil},
		{"what the new side issued after the mark of the way back's hold is gone", func(s *script) {
			s.session(3010, "s5", "u5", "c1")
			s.inactive(4000, "s5.at1")
		}, nil},
		{"blue takes a write before the way back is marked", func(s *script) {
			s.add(3050, Request{Kind: ClientCredentials, Client: "c1", Scope: "openid", Target: Bypass},
				Answer{Scope: "openid", Issued: &Issued{Access: "cc1", ExpiresIn: 3600}})
			s.active(3070, "s3.at1", "u3", "c1").Target = Bypass // not brought back yet
		}, nil},

		{"a token that only the new side knew is revoked after it", func(s *script) {
			s.revoke(3500, RevokeAccess, "c1", "s1.at2")
			s.active(4000, "s1.at1", "u1", "c1")
		}, nil},
		{"the old side calls the new side's key by another id", func(s *script) { s.signed("key", "key", 4000) }, nil},

		{"the key of the new side is not shown", func(s *script) { s.signed("key", "another key", 4000) }, []Class{WrongAnswer}},
		{"the key of the new side is called otherwise while it serves", func(s *script) { s.signed("key", "key", 2600) }, []Class{WrongAnswer}},
		{"a token of both sides is revoked in vain", func(s *script) {
			s.revoke(3500, RevokeAccess, "c1", "s4.at1")
			s.active(4000, "s4.at1", "u4", "c1")
		}, []Class{AcceptedDead}},
		{"a revocation of the new side by its own token is lost", func(s *script) {
			s.revoke(2600, RevokeAccess, "c1", "s1.at2")
			s.active(4000, "s1.at1", "u1", "c1")
		}, []Class{AcceptedDead}},
		{"a revocation of the new side is lost", func(s *script) { s.active(4000, "s3.at1", "u3", "c1") }, []Class{AcceptedDead}},
		{"a revoked session is refreshed", func(s *script) { s.refresh(4000, "c1", "s3.rt1", "2") }, []Class{AcceptedDead}},
		{"a revocation of a session of the new side is lost", func(s *script) {
			s.revoke(2600, RevokeRefresh, "c1", "s2.rt1")
			s.active(4000, "s2.at1", "u2", "c1")
		}, []Class{AcceptedDead}},
		{"a session that both sides knew is lost", func(s *script) { s.inactive(4000, "s4.at1") }, []Class{RefusedLiving}},
		{"the session's old token is refused", func(s *script) { s.refused(4000, "c1", "s4.rt1") }, []Class{RefusedLiving}},
		{"the new side forgets while it serves", func(s *script) { s.inactive(2500, "s2.at1") }, []Class{RefusedLiving}},
		{"a rotated token is accepted while the new side serves", func(s *script) { s.active(2500, "s1.at1", "u1", "c1") }, []Class{AcceptedDead}},
		{"blue takes a write while the new side serves", func(s *script) {
			s.revoke(2700, RevokeAccess, "c1", "s4.at1").Target = Bypass
		}, []Class{TwoWriters}},
		{"a session that began after the way back is lost", func(s *script) {
			s.session(3500, "s5", "u5", "c1")
			s.inactive(4000, "s5.at1")
		}, []Class{RefusedLiving}},
		{"a session that blue began during the replay is lost", func(s *script) {
			s.session(1500, "s5", "u5", "c1")
			s.inactive(4000, "s5.at1")
		}, []Class{RefusedLiving}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			s.client(1, "c1")
			for at, m := range map[int]string{1000: MarkReplay, 2000: MarkHold, 2100: MarkReleased, 3000: MarkHold, 3100: MarkRollback} {
				s.mark(at, m)
			}
			for i, name := range []string{"s1", "s3", "s4"} {
				s.session(100+200*i, name, "u"+name[1:], "c1")
			}
			s.refresh(2200, "c1", "s1.rt1", "2")
			s.session(2220, "s2", "u2", "c1")
			s.revokeConsent(2350, "u3", "c1")
			tt.play(s)
			got := []Class{}
			for _, f := range Check(s.history()).Findings {
				if f.Class != NothingProved { // a few requests prove little
					got = append(got, f.Class)
					t.Log(f)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(append([]Class{}, tt.want...), got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
