// Package traffic plays OAuth clients against a live server and judges what they met.
//
// The Generator is the load: users that log in, grant, refresh, revoke and log out. It writes a History: every request
// with its start, its end and its answer. Check reads the history and nothing else, and says what was lost.
//
// The judgement reasons with intervals, as a linearizability checker does (Herlihy and Wing, 1990). A request takes
// effect at some instant between its start and its end. So an authority (a token, a chain of refresh tokens, a consent,
// a client, a code)
//
//   - is surely alive from the end of the answer that issued it,
//   - may be dead from the start of the first request that may end it; a request whose answer was lost may have ended it
//     or not,
//   - is surely dead from the end of an acknowledged request that ends it.
//
// Between the last two either answer is right. Outside, only one is, and the other is a finding.
//
// No token is ever in a history: Fingerprint turns it into a salted hash that has a meaning only within one history.
package traffic

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"time"
)

// Target says which way a request took.
type Target string

// The two ways to the server.
const (
	Router Target = "router" // through the router, as clients do
	Bypass Target = "bypass" // straight to the old server, as a forgotten writer does
)

// Names of the marks that Check knows. Other marks are allowed and mean nothing to it.
const (
	MarkReplay   = "replay"      // changes are brought over from here on
	MarkDrain    = "cutover"     // the switch begins: logins under way are let out
	MarkHold     = "hold"        // requests wait; the old server's database refuses writes
	MarkReleased = "released"    // the new side serves
	MarkAborted  = "aborted"     // the cutover was given up; the old side serves on
	MarkRollback = "rolled_back" // the old side serves again

	MarkRun   = "run"   // the run begins: what the servers promise before it, they promise after it
	MarkAfter = "after" // the run is over

	// Nobody takes a write between these two. They are exact only where they are set before the switch goes on.
	MarkFenced = "fenced"     // the old server's database refuses writes
	MarkCommit = "committing" // the new side may serve from here on
	// MarkUnfenced: the old side may serve again, instead of MarkCommit.
	MarkUnfenced = "unfencing"
)

// Expect is what the judge may take for granted about the servers. It travels with the history.
type Expect struct {
	Issuer string `json:"issuer,omitempty"` // empty: the first one seen
	// CoalescingExpected: the router gives a retried refresh the answer of the first, when it starts within Coalescing.
	CoalescingExpected bool          `json:"coalescing_expected,omitempty"`
	Coalescing         time.Duration `json:"coalescing,omitempty"`
	// Reuse is how long after its use a refresh token may still be accepted (coalescing, or a server's grace period).
	Reuse time.Duration `json:"reuse,omitempty"`
	// AccessSurvivesRotation: the server lets access tokens live when their chain is refreshed. Hydra does not.
	AccessSurvivesRotation bool `json:"access_survives_rotation,omitempty"`
	// RefreshLifetime bounds the life of a refresh token; 0: unlimited.
	RefreshLifetime time.Duration `json:"refresh_lifetime,omitempty"`
	// Refusal is how the old server answers when its database refuses a write.
	Refusal Refusal `json:"refusal"`
	// Pairwise is the salt of subjects that are another for each sector of clients (OpenID Connect Core 8.1), as Hydra makes them:
	// what ID tokens and userinfo say. Empty: they say what introspection says.
	Pairwise string `json:"pairwise,omitempty"`
	// TornLists: the server's list of consents is empty, or fails, when one of them goes while it is read.
	TornLists bool `json:"torn_lists,omitempty"`
	// ForgetsLogins: the new server does not know a browser by the cookie that the old one gave it.
	ForgetsLogins bool `json:"forgets_logins,omitempty"`
	// AppsReturn: what was registered on the new side is known to the old one after a way back.
	AppsReturn bool `json:"apps_return,omitempty"`
	// Margin is by how much a server's clock and whole-second lifetimes may differ from ours; 0: two seconds.
	Margin time.Duration `json:"margin,omitempty"`
	// NoSwitch: this history has no cutover in it, so that none is asked for.
	NoSwitch bool `json:"no_switch,omitempty"`
	// FailuresAllowed: failed requests are counted and are no findings (a test that kills servers). All else is judged.
	FailuresAllowed bool `json:"failures_allowed,omitempty"`
}

// Refusal is a server's answer to a write that its database refuses: a status with an OAuth error, or a redirect with that
// error. The zero value is the answer of servers that know of the fence, 503 temporarily_unavailable.
type Refusal struct {
	Status int      `json:"status,omitempty"`
	Errors []string `json:"errors,omitempty"`
}

func (r Refusal) is(a Answer) bool {
	if r.Status == 0 {
		r = Refusal{Status: http.StatusServiceUnavailable, Errors: []string{"temporarily_unavailable"}}
	}
	return slices.Contains(r.Errors, a.Error) && (a.Status == r.Status || a.Status/100 == 3)
}

// History is what was asked and answered, in the order in which it happened.
type History struct {
	Started time.Time
	Expect  Expect
	Records []Record
	// Closed is the number of records that there were when the history was closed; another number means that it was cut.
	Closed int
}

// Record is one thing that happened: a request was sent, an answer came, or a phase began. Exactly one of the pointers
// is set, or Mark.
type Record struct {
	At      time.Duration `json:"at"`           // monotonic, since the history's start
	Op      int64         `json:"op,omitempty"` // counted from 1, without gaps
	Request *Request      `json:"request,omitempty"`
	Answer  *Answer       `json:"answer,omitempty"`
	Mark    string        `json:"mark,omitempty"`
}

// Request is what was asked.
type Request struct {
	Worker  string `json:"worker"`
	Target  Target `json:"target"`
	Kind    Kind   `json:"kind"`
	Step    Step   `json:"step,omitempty"`
	Session string `json:"session,omitempty"` // names one login-and-consent flow and what came of it
	Subject string `json:"subject,omitempty"`
	Client  string `json:"client,omitempty"`
	Scope   string `json:"scope,omitempty"` // asked for, or granted
	Token   string `json:"token,omitempty"` // fingerprint of the token or code that is presented
	Twin    int64  `json:"twin,omitempty"`  // the request that presents the same refresh token, for RefreshTwice
	Skip    bool   `json:"skip,omitempty"`  // a remembered consent was found: the accepted one is not listed anew
	// Remember: the person wants to stay logged in.
	Remember bool `json:"remember,omitempty"`
}

// Answer is what came back.
type Answer struct {
	Status    int    `json:"status,omitempty"`
	Error     string `json:"error,omitempty"`     // OAuth error code (RFC 6749 section 5.2)
	Transport string `json:"transport,omitempty"` // why there was no answer, such as a timeout
	Restarted bool   `json:"restarted,omitempty"` // the server sent the browser back to the start of the login

	Active  *bool  `json:"active,omitempty"`
	Subject string `json:"subject,omitempty"`
	Client  string `json:"client,omitempty"`
	Scope   string `json:"scope,omitempty"`
	Issuer  string `json:"issuer,omitempty"`

	// Headers are those that mean something to a client, without what is secret or its own in them; see headers.
	Headers map[string]string `json:"headers,omitempty"`

	Skipped   *bool `json:"skipped,omitempty"`    // the login page is told that the person is logged in
	LoggedOut bool  `json:"logged_out,omitempty"` // the browser is back from its log-out

	// Claims is what else the server says of a token or a client: numbers as they are, all else as fingerprints.
	Claims map[string]string `json:"claims,omitempty"`

	Issued   *Issued           `json:"issued,omitempty"`
	Consents []Listed          `json:"consents,omitempty"`
	Keys     map[string]string `json:"keys,omitempty"` // JWKS: key id → thumbprint (RFC 7638)
}

// Issued is what an answer handed out. Tokens are fingerprints.
type Issued struct {
	Code      string `json:"code,omitempty"`
	Access    string `json:"access,omitempty"`
	Refresh   string `json:"refresh,omitempty"`
	ExpiresIn int64  `json:"expires_in,omitempty"` // seconds; of the access token
	// The ID token's claims, and the key that signed it.
	IDSubject   string `json:"id_subject,omitempty"`
	IDClient    string `json:"id_client,omitempty"`
	IDIssuer    string `json:"id_issuer,omitempty"`
	IDKey       string `json:"id_key,omitempty"`
	IDExpiresIn int64  `json:"id_expires_in,omitempty"`
	IDForged    bool   `json:"id_forged,omitempty"` // its signature is not that key's, or the server shows no such key
	// IDWrongNonce: it is not for this login (OpenID Connect Core section 3.1.3.7).
	IDWrongNonce bool `json:"id_wrong_nonce,omitempty"`
}

// Listed is one entry of a subject's list of consents.
type Listed struct {
	Subject string `json:"subject"`
	Client  string `json:"client"`
	Scope   string `json:"scope"`
}

// Fingerprint names a secret without telling it: a prefix of the salted SHA-256.
func Fingerprint(salt []byte, secret string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256(append(append([]byte{}, salt...), secret...))
	return hex.EncodeToString(sum[:12])
}

// When returns the times of a mark, in order.
func (h *History) When(mark string) []time.Duration {
	var at []time.Duration
	for _, r := range h.Records {
		if r.Mark == mark {
			at = append(at, r.At)
		}
	}
	return at
}
