package traffic

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"
	"time"
)

// action is something that somebody does: cost is how many requests it takes, about.
type action struct {
	do    func(context.Context, ask)
	cost  float64
	reads bool
}

// table has every action as often as the mix says.
func (g *Generator) table() []action {
	m := g.config.Mix
	var t []action
	put := func(times int, cost float64, do func(context.Context, ask)) {
		for range times {
			t = append(t, action{do: do, cost: cost})
		}
	}
	read := func(times int, do func(context.Context, ask)) {
		for range times {
			t = append(t, action{do: do, cost: 1, reads: true})
		}
	}
	put(m.Login, 9, g.logIn)
	put(m.Refresh, 1, g.refreshOne)
	put(m.Machine, 1, g.machineLogin)
	put(m.Logout, 1, g.logOut)
	put(m.Refuse, 6, g.refuse)
	put(m.RevokeAccess, 1.5, g.revoker(RevokeAccess))
	put(m.RevokeRefresh, 1.5, g.revoker(RevokeRefresh))
	put(m.RevokeConsent, 1.5, g.revoker(RevokeConsent))
	put(m.RevokeSubject, 1.5, g.revoker(RevokeSubject))
	put(m.RevokeMachine, 1.5, g.revokeMachine)
	put(m.Client, 8, g.clientLife)
	put(m.Races, 3, g.race)
	read(m.Introspect, g.introspectOne)
	read(m.Userinfo, g.userinfoOne)
	read(m.List, g.listOne)
	read(m.Static, g.static)
	if len(t) == 0 {
		read(1, g.static)
	}
	return t
}

func (g *Generator) loginAction() action { return action{do: g.logIn, cost: 9} }

func (g *Generator) readAction() action {
	reads := []func(context.Context, ask){g.introspectOne, g.introspectOne, g.userinfoOne, g.listOne, g.static}
	return action{do: reads[g.dice.n(len(reads))], cost: 1, reads: true}
}

// with does something with an idle user that fits, or lets somebody log in where there is none.
func (g *Generator) with(ctx context.Context, a ask, fits func(*user) bool, do func(*user)) {
	u := g.take(g.dice.n, fits)
	if u == nil {
		g.logIn(ctx, a)
		return
	}
	defer g.back(u)
	do(u)
}

func (g *Generator) logIn(ctx context.Context, a ask) {
	var u *user
	if g.dice.n(4) == 0 {
		u = g.take(g.dice.n, func(u *user) bool { return len(u.sessions) < 6 })
	}
	if u == nil {
		var err error
		if u, err = g.newUser(); err != nil {
			return
		}
	}
	defer g.back(u)
	g.login(ctx, u, g.anyApp(), a.target)
}

func (g *Generator) anyApp() *app {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.apps[g.dice.n(len(g.apps))]
}

func (g *Generator) one(u *user) *session {
	living := u.living()
	return living[g.dice.n(len(living))]
}

func (g *Generator) refreshOne(ctx context.Context, a ask) {
	g.with(ctx, a, hasSession, func(u *user) {
		s := g.one(u)
		if g.config.RetryRefresh && g.dice.n(4) == 0 {
			if g.dice.n(3) == 0 && a.target != Bypass {
				g.retryRevoked(ctx, a, s)
				return
			}
			g.refreshTwice(ctx, a, s, time.Duration(g.dice.n(2))*200*time.Millisecond)
			return
		}
		r := a.refresh(ctx, Refresh, s, s.refresh, 0)
		g.refreshed(s, r)
		if r.ok() && g.tense.Load() { // the switch must not come between an answer and what it promises
			a.introspect(ctx, held{secret: s.access, app: s.app, user: u})
		}
	})
}

// refreshed keeps the new tokens. A refused session is left alone: asking once more would be reuse.
func (g *Generator) refreshed(s *session, r reply) {
	g.took(s, r)
	if !r.ok() && (!r.refusedWrite() || r.Transport != "") {
		s.ended = true
	}
}

// refreshTwice presents one refresh token twice: at once, or again after a while, as a client does whose answer got lost.
func (g *Generator) refreshTwice(ctx context.Context, a ask, s *session, after time.Duration) {
	token, again := s.refresh, *s
	var first, second reply
	var both sync.WaitGroup
	both.Go(func() { first = a.refresh(ctx, Refresh, s, token, 0) })
	if after > 0 {
		both.Wait()
		pause(ctx, after)
	}
	second = a.refresh(ctx, RefreshTwice, &again, token, 0)
	both.Wait()
	g.refreshed(s, first)
	g.took(&again, second)
	if !first.ok() && second.ok() {
		s.access, s.refresh, s.expires, s.ended = again.access, again.refresh, again.expires, false
	}
}

// retryRevoked refreshes, ends the session, and presents the same refresh token once more: what was answered before must not come again.
func (g *Generator) retryRevoked(ctx context.Context, a ask, s *session) {
	token, again := s.refresh, *s
	r := a.refresh(ctx, Refresh, s, token, 0)
	g.refreshed(s, r)
	if !r.ok() {
		return
	}
	ways := []Kind{RevokeRefresh, RevokeConsent, RevokeSubject}
	g.revokeSession(ctx, a, ways[g.dice.n(len(ways))], s)
	g.took(&again, a.refresh(ctx, RefreshTwice, &again, token, 0))
}

// revoker ends a session one way or another, and looks half the time whether it is dead.
func (g *Generator) revoker(k Kind) func(context.Context, ask) {
	return func(ctx context.Context, a ask) {
		g.with(ctx, a, hasSession, func(u *user) {
			s := g.one(u)
			t := held{secret: s.access, app: s.app, user: u}
			if r := g.revokeSession(ctx, a, k, s); r.refusedWrite() && a.target == Bypass {
				g.fenced.Store(true)
				return
			}
			if g.dice.n(2) == 0 || g.tense.Load() {
				a.introspect(ctx, t)
			}
			if k == RevokeConsent && s.id != "" && g.dice.n(3) == 0 {
				g.leave(ctx, a, s)
			}
		})
	}
}

func (g *Generator) revokeSession(ctx context.Context, a ask, k Kind, s *session) reply {
	var r reply
	var ends func(*session) bool
	switch k {
	case RevokeAccess:
		r, ends = a.revoke(ctx, k, s.app, s.access), func(o *session) bool { return o == s }
	case RevokeRefresh:
		r, ends = a.revoke(ctx, k, s.app, s.refresh), func(o *session) bool { return o == s }
	case RevokeConsent:
		r, ends = a.revokeConsents(ctx, s.user.name, s.app), func(o *session) bool { return o.app == s.app }
	default:
		r, ends = a.revokeConsents(ctx, s.user.name, nil), func(*session) bool { return true }
	}
	if r.refusedWrite() && a.target == Bypass {
		return r // the fence let nothing through
	}
	for _, o := range s.user.sessions {
		o.ended = o.ended || ends(o)
	}
	return r
}

// race revokes and refreshes one session at the same time. Whoever wins, the servers must agree about it.
func (g *Generator) race(ctx context.Context, a ask) {
	g.with(ctx, a, hasSession, func(u *user) {
		s := g.one(u)
		token, access := s.refresh, s.access
		refreshing := *s
		var r reply
		var both sync.WaitGroup
		both.Go(func() { r = a.refresh(ctx, Refresh, &refreshing, token, 0) })
		kinds := []Kind{RevokeAccess, RevokeRefresh, RevokeConsent, RevokeSubject}
		g.revokeSession(ctx, a, kinds[g.dice.n(len(kinds))], s)
		both.Wait()
		g.took(&refreshing, r)
		s.access, s.refresh, s.expires = refreshing.access, refreshing.refresh, refreshing.expires
		a.introspect(ctx, held{secret: access, app: s.app, user: u})
	})
}

func (g *Generator) logOut(ctx context.Context, a ask) {
	g.with(ctx, a, func(u *user) bool { return hasSession(u) && u.sessions[len(u.sessions)-1].id != "" }, func(u *user) {
		g.leave(ctx, a, u.sessions[len(u.sessions)-1])
	})
}

// leave logs a person out, by the ID token of a session.
func (g *Generator) leave(ctx context.Context, a ask, s *session) {
	stale := g.cookies(s.user)
	if a.logout(ctx, s.user, s.id) && stale != nil {
		g.mu.Lock()
		g.ghosts = append(g.ghosts, &user{name: s.user.name + ", by cookies of before a log-out", jar: stale})
		g.mu.Unlock()
	}
}

// cookies copies what a person's browser has for the server, as somebody might who had it in hand.
func (g *Generator) cookies(u *user) http.CookieJar {
	at, err := url.Parse(g.config.Public)
	if err != nil {
		return nil
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil
	}
	jar.SetCookies(at, u.jar.Cookies(at))
	return jar
}

func (g *Generator) machineLogin(ctx context.Context, a ask) {
	c := g.confidential()
	t, r := a.machine(ctx, c)
	if !r.ok() {
		return
	}
	g.hold(t)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dice.n(2) == 0 { // the others are kept until they expire
		g.machines = append(g.machines, t)
	}
}

func (g *Generator) confidential() *app {
	for {
		if c := g.anyApp(); c.method != "none" {
			return c
		}
	}
}

func (g *Generator) revokeMachine(ctx context.Context, a ask) {
	g.mu.Lock()
	if len(g.machines) == 0 {
		g.mu.Unlock()
		g.machineLogin(ctx, a)
		return
	}
	at := g.dice.n(len(g.machines))
	t := g.machines[at]
	g.machines = append(g.machines[:at], g.machines[at+1:]...)
	g.mu.Unlock()
	a.revoke(ctx, RevokeAccess, t.app, t.secret)
}

// clientLife registers an app and lets a user log in to it, or ends one that somebody uses.
func (g *Generator) clientLife(ctx context.Context, a ask) {
	disposable := func(u *user) bool {
		return len(u.sessions) == 1 && u.sessions[0].app.disposable && !u.sessions[0].ended
	}
	if g.dice.n(2) == 0 {
		if u := g.take(g.dice.n, disposable); u != nil {
			defer g.back(u)
			c := u.sessions[0].app
			a.deleteClient(ctx, c)
			g.mu.Lock()
			c.deleted = true
			g.mu.Unlock()
			u.sessions[0].ended = true
			return
		}
	}
	c, r := a.createClient(ctx, "disposable", []string{"none", "client_secret_post"}[g.dice.n(2)])
	if !r.ok() {
		return
	}
	c.disposable = true
	u, err := g.newUser()
	if err != nil {
		return
	}
	defer g.back(u)
	g.mu.Lock()
	g.disposable = append(g.disposable, c)
	g.mu.Unlock()
	g.login(ctx, u, c, a.target)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
