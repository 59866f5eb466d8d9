package traffic

import (
	"net/http"
	"sync"
	"time"
)

// app is an OAuth client that the generator registered.
type app struct {
	id, secret, method string // method as in RFC 7591: none, client_secret_basic, client_secret_post
	scope              string
	disposable         bool // will be deleted
	deleted            bool
}

// user is a person with a browser. Whoever acts for a user has it to itself, but for deliberate races; so a session's
// latest tokens are known.
type user struct {
	name     string
	jar      http.CookieJar
	sessions []*session
}

// session is what one consent of a user for an app led to.
type session struct {
	name            string
	user            *user
	app             *app
	scope           string
	access, refresh string
	id              string // the ID token, for logging out
	code, verifier  string // the code that it came of, and the proof that goes with it (PKCE)
	expires         time.Time
	ended           bool // somebody asked for its end, successfully or not
}

// held is a token that was once handed out, to be asked for in the end.
type held struct {
	secret  string
	refresh bool
	app     *app
	user    *user // nil: client credentials
	expires time.Time
	openid  bool
}

// cast is everybody and everything that the generator knows of.
type cast struct {
	mu         sync.Mutex
	apps       []*app
	users      []*user // all
	idle       []*user // free to act
	aside      []*user // set aside until the sweep
	tokens     []held
	machines   []held // access tokens of client credentials, not revoked yet
	disposable []*app
	ghosts     []*user // browsers with cookies of sessions that were ended
	sessions   int
	numbered   int
}

// take gives one of the idle users that fit, to be put back with back.
func (c *cast) take(pick func(n int) int, fits func(*user) bool) *user {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		return nil
	}
	from := pick(n)
	for i := range n {
		at := (from + i) % n
		if u := c.idle[at]; fits == nil || fits(u) {
			c.idle[at] = c.idle[n-1]
			c.idle = c.idle[:n-1]
			return u
		}
	}
	return nil
}

func (c *cast) back(u *user) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, u)
}

// setAside keeps some of the idle users out of every further action: what they hold stays as it is until the sweep.
func (c *cast) setAside(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range min(most, len(c.idle)/4) {
		c.aside = append(c.aside, c.idle[0])
		c.idle = c.idle[1:]
	}
}

func (c *cast) hold(ts ...held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range ts {
		if t.secret != "" {
			c.tokens = append(c.tokens, t)
		}
	}
}

// living returns a user's sessions that nobody ended.
func (u *user) living() []*session {
	var out []*session
	for _, s := range u.sessions {
		if !s.ended && s.refresh != "" {
			out = append(out, s)
		}
	}
	return out
}

func hasSession(u *user) bool { return len(u.living()) > 0 }
