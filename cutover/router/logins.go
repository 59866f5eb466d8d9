package router

import (
	"container/list"
	"crypto/sha256"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/tideover/tideover/plan"
)

// A login goes through the browser, the login app and the server with a chain of one-time names: the server hands out
// a login_challenge, the app accepts it and gets a login_verifier, the browser brings that back and gets a
// consent_challenge, and so on until the last redirect. The next server may not know names that the last one gave out.
//
// logins follows that chain from what passes by, for two ends: to say how many logins are under way (a drain waits for
// them), and to begin a login anew from its authorization request when the side that began it does not serve any more.
// Names are kept as hashes, in memory only.
type logins struct {
	limits Limits
	now    func() time.Time

	mu     sync.Mutex
	byName map[nameHash]*login
	order  *list.List // of *login, the longest untouched first
}

type nameHash [sha256.Size]byte

type login struct {
	original string // path and query of the authorization request; "": too long to be kept
	side     plan.Side
	began    time.Time
	seen     time.Time
	refused  bool // the login app has said no: an error is the right end
	names    []nameHash
	element  *list.Element
}

func newLogins(limits Limits) *logins {
	return &logins{limits: limits, now: time.Now, byName: map[nameHash]*login{}, order: list.New()}
}

// challenges and verifiers are the query parameters that carry the names.
var (
	challenges = []string{"login_challenge", "consent_challenge"}
	verifiers  = []string{"login_verifier", "consent_verifier"}
)

func first(q url.Values, names []string) string {
	for _, n := range names {
		if v := q.Get(n); v != "" {
			return v
		}
	}
	return ""
}

// underWay counts the logins that have been seen lately and have not ended.
func (l *logins) underWay() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for e := l.order.Back(); e != nil && l.now().Sub(e.Value.(*login).seen) < l.limits.LoginIdle; e = e.Prev() {
		n++
	}
	return n
}

// authorized takes note of the answer to an authorization request: a challenge in the redirect begins or continues a
// login, a redirect without one ends it.
func (l *logins) authorized(side plan.Side, original string, query url.Values, location string) {
	to, err := url.Parse(location)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.byName[hash(first(query, verifiers))]
	challenge := first(to.Query(), challenges)
	switch {
	case challenge == "" && known != nil:
		l.drop(known)
	case challenge != "" && known != nil:
		l.name(known, challenge)
	case challenge != "":
		l.begin(side, original, challenge)
	}
}

// decided takes note of the login app's accept or reject: the answer's redirect carries the verifier of the login.
func (l *logins) decided(challenge, redirectTo string, refused bool) {
	to, err := url.Parse(redirectTo)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.byName[hash(challenge)]
	if known == nil {
		return
	}
	known.refused = known.refused || refused
	if verifier := first(to.Query(), verifiers); verifier != "" {
		l.name(known, verifier)
	}
}

// restart gives the authorization request of a login that another side than the serving one began, or "".
func (l *logins) restart(name string, serving plan.Side) string {
	if name == "" {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.byName[hash(name)]
	if known == nil || known.side == serving || known.refused || l.now().Sub(known.began) > l.limits.LoginTTL {
		return ""
	}
	l.drop(known)
	return known.original
}

func (l *logins) begin(side plan.Side, original, challenge string) {
	if l.byName[hash(challenge)] != nil {
		return
	}
	now := l.now()
	for e := l.order.Front(); e != nil; e = l.order.Front() {
		oldest := e.Value.(*login)
		if l.order.Len() < l.limits.Logins && now.Sub(oldest.seen) <= l.limits.LoginTTL {
			break
		}
		l.drop(oldest)
	}
	lg := &login{original: original, side: side, began: now}
	lg.element = l.order.PushBack(lg)
	l.name(lg, challenge)
}

func (l *logins) name(lg *login, name string) {
	const most = 8 // names of one login: four in the plain case, more after reloads
	h := hash(name)
	if l.byName[h] == nil && len(lg.names) < most {
		l.byName[h] = lg
		lg.names = append(lg.names, h)
	}
	lg.seen = l.now()
	l.order.MoveToBack(lg.element)
}

func (l *logins) drop(lg *login) {
	for _, h := range lg.names {
		delete(l.byName, h)
	}
	l.order.Remove(lg.element)
}

func hash(name string) nameHash { return sha256.Sum256([]byte(name)) }

// withoutVerifier is the authorization request that a request with a verifier came from: servers put the verifier
// beside the parameters of the original request. It is "" where those are not there.
func withoutVerifier(u *url.URL) string {
	q := u.Query()
	if q.Get("client_id") == "" || first(q, verifiers) == "" {
		return ""
	}
	for _, v := range verifiers {
		q.Del(v)
	}
	return u.EscapedPath() + "?" + q.Encode()
}

// isError reports whether an answer to an authorization request says that it went wrong: by a status, or by an error
// in the redirect (RFC 6749 section 4.1.2.1).
func isError(resp *http.Response) bool {
	if resp.StatusCode >= 400 && resp.StatusCode < 500 {
		return true
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	return err == nil && to.Query().Get("error") != ""
}
