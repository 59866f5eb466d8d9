package traffic

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"
)

// Sweep asks for everything that was ever handed out, after Run has returned: every token that has not expired, the
// consents of every user, every app; then it refreshes what lives, revokes some old consents to see that they can
// still be revoked, and presents every code once more. An error says that there was no time for all; what was asked is in the history.
func (g *Generator) Sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.config.SweepTimeout)
	defer cancel()
	defer g.http.CloseIdleConnections()
	a := g.ask("sweep", Router)
	g.mu.Lock()
	tokens, users, machines := g.tokens, g.users, append([]*app{}, g.apps...)
	machines = append(machines, g.disposable...)
	ghosts := g.ghosts
	g.mu.Unlock()

	a.jwks(ctx)
	a.discovery(ctx)
	steps := []struct {
		what string
		n    int
		do   func(context.Context, int)
	}{
		{"tokens", len(tokens), func(ctx context.Context, i int) {
			if t := tokens[i]; t.refresh || t.expires.IsZero() || time.Now().Before(t.expires) {
				a.introspect(ctx, t)
			}
		}},
		{"users' consents", len(users), func(ctx context.Context, i int) { a.listConsents(ctx, users[i].name) }},
		{"apps", len(machines), func(ctx context.Context, i int) { a.getClient(ctx, machines[i]) }},
		{"users' sessions", len(users), func(ctx context.Context, i int) { g.sweepUser(ctx, a, users[i]) }},
		{"revocations of old consents", len(users), func(ctx context.Context, i int) {
			if i%4 == 0 {
				g.sweepConsents(ctx, a, users[i])
			}
		}},
		{"browsers that were logged out", len(ghosts), func(ctx context.Context, i int) { g.sweepGhost(ctx, ghosts[i]) }},
		{"apps' secrets", len(machines), func(ctx context.Context, i int) {
			if machines[i].method != "none" && !machines[i].deleted {
				a.wrongSecret(ctx, machines[i])
			}
		}},
		// A server may end a session of which a code is presented again: this comes last.
		{"users' codes", len(users), func(ctx context.Context, i int) { g.sweepCodes(ctx, users[i]) }},
	}
	for _, s := range steps {
		var some errgroup.Group
		some.SetLimit(8)
		for i := range s.n {
			if ctx.Err() != nil {
				break
			}
			some.Go(func() error { s.do(ctx, i); return nil })
		}
		_ = some.Wait() // they return no error
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("traffic: sweep: no time for all %d %s: %w", s.n, s.what, err)
		}
	}
	return nil
}

// sweepUser presents the last refresh token of each session, living or dead, and uses what comes.
func (g *Generator) sweepUser(ctx context.Context, a ask, u *user) {
	for _, s := range u.sessions {
		if s.refresh == "" || ctx.Err() != nil {
			continue
		}
		r := a.refresh(ctx, Refresh, s, s.refresh, 0)
		g.took(s, r)
		if r.ok() {
			a.userinfo(ctx, held{secret: s.access, app: s.app, user: u})
		} else {
			s.ended = true
		}
	}
}

// sweepConsents revokes all that a user ever granted, and looks whether it is gone.
func (g *Generator) sweepConsents(ctx context.Context, a ask, u *user) {
	if !hasSession(u) {
		return
	}
	if r := a.revokeConsents(ctx, u.name, nil); !r.ok() {
		return
	}
	a.listConsents(ctx, u.name)
	for _, s := range u.sessions {
		if s.access != "" && ctx.Err() == nil {
			a.introspect(ctx, held{secret: s.access, app: s.app, user: u})
			s.ended = true
		}
	}
}

// sweepCodes presents the codes of a user's sessions, which have been traded.
func (g *Generator) sweepCodes(ctx context.Context, u *user) {
	for _, s := range u.sessions {
		if s.code == "" || ctx.Err() != nil {
			continue
		}
		again := *s
		f := &flow{caller: g.caller, target: Router, session: &again, verifier: s.verifier}
		g.took(&again, f.exchange(ctx, s.code))
	}
}

// sweepGhost asks for a login with cookies of before a log-out: nobody is logged in by them.
func (g *Generator) sweepGhost(ctx context.Context, u *user) {
	f := &flow{caller: g.caller, target: Router, session: g.newSession(u, g.anyApp()), verifier: rand.Text() + rand.Text()}
	r := f.begin(ctx)
	if !r.ok() {
		return
	}
	q := url.Values{"login_challenge": {parameter(r.location, "login_challenge")}}
	f.call(ctx, f.request(Login, Read), get(f.admin(Router, "/oauth2/auth/requests/login", q)), nil, func(r *reply) {
		var asked struct {
			Skip bool `json:"skip"`
		}
		if r.decode(&asked) {
			r.Skipped = &asked.Skip
		}
	})
}
