package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	idleLimit    = 30 * time.Minute
	sessionLimit = 12 * time.Hour
	mostSessions = 10_000
)

// digest is what memory keeps of a cookie or challenge.
type digest [sha256.Size]byte

func digestOf(value string) digest { return sha256.Sum256([]byte(value)) }

// session is a log-in to the console.
type session struct {
	user, mark    string // mark: of the password that was given
	created, seen time.Time
	secret        *shownSecret // of an app, until it has been shown
}

// shownSecret is an app's secret between the answer of the server and the page that shows it.
type shownSecret struct{ Client, Name, Secret string }

// sessions are who is logged in. They end with the process.
type sessions struct {
	key    [32]byte
	now    func() time.Time
	secure bool
	name   string // of the cookie
	mu     sync.Mutex
	live   map[digest]*session
}

func newSessions(now func() time.Time, secure bool) *sessions {
	s := &sessions{now: now, secure: secure, name: cookieName, live: map[digest]*session{}}
	rand.Read(s.key[:])
	return s
}

// newID makes a cookie's value with 256 bits of chance.
func newID() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

const (
	cookieName   = "tideover_console"
	cookieDevice = "tideover_device" // of a browser in which a person has logged in before
)

// named has the prefix with which a browser takes the cookie from this host alone, and by https.
func (s *sessions) named(name string) string {
	if s.secure {
		return "__Host-" + name
	}
	return name
}

func (s *sessions) cookie(value string) *http.Cookie {
	return &http.Cookie{Name: s.named(s.name), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.secure}
}

// cookieOf is the browser's cookie, or "" where it has none that could be ours.
func (s *sessions) cookieOf(r *http.Request) string {
	c, err := r.Cookie(s.named(s.name))
	if err != nil || len(c.Value) != 43 {
		return ""
	}
	return c.Value
}

// begin makes a session of a new id: one that somebody planted in the browser before the log-in is worth nothing then.
func (s *sessions) begin(old, user, mark string) (id string) {
	id = newID()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, digestOf(old))
	if len(s.live) >= mostSessions {
		s.makeRoom()
	}
	now := s.now()
	s.live[digestOf(id)] = &session{user: user, mark: mark, created: now, seen: now}
	return id
}

// makeRoom ends what has run out, or else the session that was used the longest time ago.
func (s *sessions) makeRoom() {
	now := s.now()
	var oldest digest
	var seen time.Time
	for id, l := range s.live {
		if l.over(now) {
			delete(s.live, id)
		} else if seen.IsZero() || l.seen.Before(seen) {
			oldest, seen = id, l.seen
		}
	}
	if len(s.live) >= mostSessions {
		delete(s.live, oldest)
	}
}

func (l *session) over(now time.Time) bool {
	return now.Sub(l.seen) > idleLimit || now.Sub(l.created) > sessionLimit
}

// find is the session of a cookie, as it is now; nil where there is none.
func (s *sessions) find(cookie string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[digestOf(cookie)]
	if l == nil {
		return nil
	}
	now := s.now()
	if l.over(now) {
		delete(s.live, digestOf(cookie))
		return nil
	}
	l.seen = now
	out := *l
	return &out
}

func (s *sessions) end(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, digestOf(cookie))
}

// keepSecret puts a secret by until takeSecret shows it, once.
func (s *sessions) keepSecret(cookie string, secret shownSecret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.live[digestOf(cookie)]; l != nil {
		l.secret = &secret
	}
}

func (s *sessions) takeSecret(cookie string) *shownSecret {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[digestOf(cookie)]
	if l == nil {
		return nil
	}
	secret := l.secret
	l.secret = nil
	return secret
}

// seal is a value that only this process can make of the text.
func (s *sessions) seal(purpose, text string) string {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte(purpose + "\x00" + text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// token is what every form of a browser's pages holds. It changes with the cookie, so at each log-in.
func (s *sessions) token(cookie string) string { return s.seal("csrf", cookie) }

func (s *sessions) genuine(cookie, token string) bool {
	return cookie != "" && hmac.Equal([]byte(s.token(cookie)), []byte(token))
}

// device is a cookie of a browser in which the person has logged in.
func (s *sessions) device(user string) *http.Cookie {
	id := newID()
	return &http.Cookie{Name: s.named(cookieDevice), Value: id + "." + s.seal("device", user+"\x00"+id), Path: "/", HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: s.secure, MaxAge: 90 * 24 * 3600}
}

// deviceOf is the browser's id where the person has logged in with it, or "".
func (s *sessions) deviceOf(r *http.Request, user string) string {
	c, err := r.Cookie(s.named(cookieDevice))
	if err != nil {
		return ""
	}
	id, sealed, _ := strings.Cut(c.Value, ".")
	if !hmac.Equal([]byte(sealed), []byte(s.seal("device", user+"\x00"+id))) {
		return ""
	}
	return id
}

// flows are the logins that a browser has been through here, so that their consents are shown to no other. A login that
// the server skipped makes no session: a link with somebody's challenge would log its victim in as that somebody.
type flows struct {
	now  func() time.Time
	mu   sync.Mutex
	seen map[digest]flow
}

type flow struct {
	browser digest
	at      time.Time
}

const (
	flowLimit = time.Hour
	mostFlows = 20_000
)

func newFlows(now func() time.Time) *flows { return &flows{now: now, seen: map[digest]flow{}} }

func (f *flows) record(challenge, cookie string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if len(f.seen) >= mostFlows {
		for id, old := range f.seen {
			if now.Sub(old.at) > flowLimit {
				delete(f.seen, id)
			}
		}
		if len(f.seen) >= mostFlows {
			clear(f.seen) // people under way begin again, which costs less than a map that grows for ever
		}
	}
	f.seen[digestOf(challenge)] = flow{digestOf(cookie), now}
}

func (f *flows) belongs(challenge, cookie string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.seen[digestOf(challenge)]
	return ok && challenge != "" && at.browser == digestOf(cookie) && f.now().Sub(at.at) <= flowLimit
}
