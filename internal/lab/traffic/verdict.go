package traffic

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Class is the kind of a finding.
type Class string

// The classes of finding.
const (
	FailedRequest    Class = "failed-request"      // no answer, a server error, or an error that nothing explains
	AcceptedDead     Class = "revoked-accepted"    // an authority was accepted that was surely dead
	RefusedLiving    Class = "living-refused"      // an authority was refused that was surely alive
	WrongAnswer      Class = "wrong-answer"        // other claims, keys or issuer than were handed out
	Resurrection     Class = "resurrection"        // seen dead, then alive
	DoubleSpend      Class = "code-spent-twice"    // one code, two sets of tokens
	RetryKilled      Class = "retry-killed-chain"  // a client's mere retry cost it its session
	TwoWriters       Class = "two-writers"         // the old side took a write after the new one served
	NothingProved    Class = "nothing-proved"      // the history cannot show what it is meant to show
	BrokenHistory    Class = "broken-history"      // the record itself is not to be trusted
	UnansweredWorker Class = "request-without-end" // a request has no end: its worker died
)

// Finding is one thing that is wrong, with the requests that show it.
type Finding struct {
	Class   Class   `json:"class"`
	Ops     []int64 `json:"ops,omitempty"`
	Message string  `json:"message"`
}

func (f Finding) String() string { return string(f.Class) + ": " + f.Message }

// Verdict is what a history shows.
type Verdict struct {
	Requests int `json:"requests"`
	Failed   int `json:"failed"` // requests that failed, or were refused without reason
	// FailedBefore are those of them that were answered before the run began: they say nothing of it.
	FailedBefore int `json:"failed_before,omitempty"`
	Revocations  int `json:"revocations"`
	// RevocationsDuringReplayOrHold are those that were under way at some time between the marks "replay" and "released".
	RevocationsDuringReplayOrHold int `json:"revocations_during_replay_or_hold"`
	RevocationsLost               int `json:"revocations_lost"`
	Issued                        int `json:"issued"` // tokens, consents and clients
	AuthorizationsLost            int `json:"authorizations_lost"`
	Restarted                     int `json:"restarted"`     // logins that were sent back to their start by the switch
	RefusedWrites                 int `json:"refused_write"` // writes that the fence refused to the bypass
	// Probes counts, for each sort of authority alive or dead ("dead access token"), the conclusive questions asked after
	// the switch.
	Probes   map[string]int `json:"probes"`
	Findings []Finding      `json:"findings,omitempty"`
}

// OK reports whether the history proves that nothing went wrong.
func (v Verdict) OK() bool { return len(v.Findings) == 0 }

// String is a summary for people: one line of figures, then one a finding.
func (v Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests, %d failed; %d revocations (%d during replay or hold), %d lost; %d authorities issued, %d lost; %d findings",
		v.Requests, v.Failed, v.Revocations, v.RevocationsDuringReplayOrHold, v.RevocationsLost, v.Issued, v.AuthorizationsLost, len(v.Findings))
	for _, f := range v.Findings {
		fmt.Fprintf(&b, "\n%s", f)
	}
	return b.String()
}

// Classes returns the classes of the findings, sorted, each once.
func (v Verdict) Classes() []Class {
	var cs []Class
	for _, f := range v.Findings {
		cs = append(cs, f.Class)
	}
	slices.Sort(cs)
	return slices.Compact(cs)
}

// about describes a request in a finding.
func about(o *op) string {
	s := fmt.Sprintf("%s (request %d by %s, %s", o.Kind, o.id, o.Worker, o.start.Round(time.Millisecond))
	if o.Target == Bypass {
		s += ", past the router"
	}
	return s + ")"
}
