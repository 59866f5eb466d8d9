package traffic

import (
	"slices"
	"testing"
)

// A person lists the consents while one of two is being revoked, as Hydra 1.x does not survive.
func TestTornLists(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		torn   bool // the server is known for it
		at     int  // of the list; the revocation is from 1000 to 1010
		answer Answer
		want   []Class
	}{
		"empty":                      {true, 1005, Answer{}, nil},
		"failed":                     {true, 1005, Answer{Status: 500, Error: "error"}, nil},
		"empty before":               {true, 980, Answer{}, []Class{RefusedLiving}},
		"failed after":               {true, 1020, Answer{Status: 500, Error: "error"}, []Class{FailedRequest}},
		"another failure":            {true, 1005, Answer{Status: 502}, []Class{FailedRequest}},
		"empty, of another server":   {false, 1005, Answer{}, []Class{RefusedLiving}},
		"failure, of another server": {false, 1005, Answer{Status: 500, Error: "error"}, []Class{FailedRequest}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			s.expect.TornLists, s.expect.NoSwitch = tt.torn, true
			s.client(1, "c1")
			s.client(2, "c2")
			s.session(100, "s1", "u1", "c1")
			s.session(300, "s2", "u1", "c2")
			s.revokeConsent(1000, "u1", "c2")
			s.add(tt.at, Request{Kind: ListConsents, Subject: "u1"}, tt.answer)
			s.list(2000, "u1", "c1")
			var got []Class
			for _, f := range Check(s.history()).Findings {
				// An empty list comes to life again, which is found as well.
				if f.Class != NothingProved && f.Class != Resurrection && !slices.Contains(got, f.Class) {
					got = append(got, f.Class)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("findings %v, want %v", got, tt.want)
			}
		})
	}
}
