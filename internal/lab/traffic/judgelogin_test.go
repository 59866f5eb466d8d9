package traffic

import (
	"strings"
	"testing"
	"time"
)

// TestLoggedIn goes through what browsers do. Each word is a request: read and skip ask for the login page, who is new or known;
// accept and remember answer it; code ends the flow; bye logs out, and lost is a log-out without an answer.
func TestLoggedIn(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, script, finding string }{
		{"FORGETFUL: forgotten by the new side", "read remember code hold released read remember code skip", ""},
		{"FORGETFUL: forgotten twice", "read remember code hold released read remember code read", "whom"},
		{"a new person", "read remember code", ""},
		{"a remembered one", "read remember code skip accept code skip accept code", ""},
		{"a remembered one is asked again", "read remember code read", "whom"},
		{"one who was not to be remembered", "read accept code read accept code skip", ""},
		{"a stranger is taken for somebody", "skip", "who never was"},
		{"logged out", "read remember code skip accept code bye read", ""},
		{"logged out, and still there", "read remember code bye skip", "who had logged out"},
		{"perhaps logged out", "read remember code lost skip accept code lost read", ""},
		{"broken off", "read remember read remember read", ""},
		{"broken off, and then through", "read remember read remember code read", "whom"},
		{"remembered on the new side", "read remember code hold released skip accept code", ""},
		{"forgotten by the new side", "read remember code hold released read", "whom"},
		{"remembered on the new side, and taken back", "hold released read remember code hold rolled_back read", ""},
		{"logged out on the new side, and taken back", "read remember code hold released bye hold rolled_back read", ""},
		{"logged out on the new side, and back on the old one", "read remember code hold released bye hold rolled_back skip", "who had logged out"},
		{"remembered before, and taken back", "read remember code hold released hold rolled_back read", "whom"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := &History{}
			n, flow := int64(0), "flow"
			for i, word := range strings.Fields(tt.script) {
				at := time.Duration(i) * time.Second
				q, a := Request{Target: Router, Subject: "ann", Session: flow}, &Answer{Status: 200}
				switch word {
				case "hold", "released", "rolled_back":
					h.Records = append(h.Records, Record{At: at, Mark: word})
					continue
				case "read", "skip":
					flow += "+"
					skip := word == "skip"
					q.Session, q.Kind, q.Step, a.Skipped = flow, Login, Read, &skip
				case "accept", "remember":
					q.Kind, q.Step, q.Remember = Login, Accept, word == "remember"
				case "code":
					q.Kind, q.Step, a.Issued = Consent, Finish, &Issued{Code: "x"}
				case "bye":
					q.Kind, a.LoggedOut = Logout, true
				case "lost":
					q.Kind, a = Logout, &Answer{Transport: "timeout"}
				}
				n++
				h.Records = append(h.Records, Record{At: at, Op: n, Request: &q}, Record{At: at + time.Millisecond, Op: n, Answer: a})
			}
			h.Closed = len(h.Records)
			ops, tl, _ := fold(h)
			j := &judge{ledger: &ledger{ops: ops, timeline: tl, expect: Expect{ForgetsLogins: strings.HasPrefix(tt.name, "FORGETFUL")}}}
			j.loggedIn()
			switch {
			case tt.finding == "" && len(j.findings) > 0:
				t.Errorf("finds %v", j.findings)
			case tt.finding != "" && (len(j.findings) != 1 || !strings.Contains(j.findings[0].Message, tt.finding)):
				t.Errorf("finds %v, want one of %q", j.findings, tt.finding)
			}
		})
	}
}
