package traffic

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Generator is the OAuth clients of a whole product: people with browsers, apps, a login and consent page, and an
// administrator. Only one Run or Sweep may be under way at a time; Mark and History may be called whenever.
type Generator struct {
	*caller
	cast
	dice *dice
	// fenced tells the bypass workers that the old server has refused a write: the marks may come a little later.
	fenced atomic.Bool
	// tense: a switch is on, and what is issued or revoked is read back at once, whatever the rate.
	tense atomic.Bool
}

// dice is a random source that goroutines share.
type dice struct {
	mu sync.Mutex
	r  *mathrand.Rand
}

func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// New checks the configuration and registers the apps through the admin API.
func New(ctx context.Context, config Config) (*Generator, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return nil, fmt.Errorf("traffic: salt: %w", err)
	}
	seed := config.Seed
	if seed == 0 {
		seed = binary.LittleEndian.Uint64(salt)
	}
	g := &Generator{
		caller: &caller{config: config, rec: NewRecorder(config.expect()), salt: salt, http: &http.Client{
			Transport:     &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 128, IdleConnTimeout: 20 * time.Second},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}},
		dice: &dice{r: mathrand.New(mathrand.NewPCG(seed, 1))},
	}
	a := g.ask("setup", Router)
	for i, method := range []string{"none", "client_secret_basic", "none", "client_secret_post"} {
		c, r := a.createClient(ctx, fmt.Sprintf("traffic-%d", i+1), method)
		if !r.ok() {
			return nil, fmt.Errorf("traffic: register app %d at %s: status %d %s%s", i+1, config.Admin, r.Status, r.Error, r.Transport)
		}
		g.apps = append(g.apps, c)
	}
	if r := a.jwks(ctx); !r.ok() {
		return nil, fmt.Errorf("traffic: keys of %s: status %d %s%s", config.Public, r.Status, r.Error, r.Transport)
	}
	return g, nil
}

func (g *Generator) ask(worker string, t Target) ask { return ask{g.caller, worker, t} }

// Mark writes a phase into the history and sets some users aside, so that what they hold in this phase is asked for in
// the end as it is now.
func (g *Generator) Mark(name string) {
	g.rec.Mark(name)
	switch name {
	case MarkDrain, MarkHold:
		g.tense.Store(true)
	case MarkAfter, MarkAborted, MarkRollback:
		g.tense.Store(false)
	}
	g.setAside(4)
}

// History returns what happened so far.
func (g *Generator) History() *History { return g.rec.History() }

// Run plays until ctx ends, then waits for the requests under way, each at most the configured timeout. It returns nil
// then: whether the requests went well is for Check to say.
func (g *Generator) Run(ctx context.Context) error {
	var all errgroup.Group
	if g.config.BypassPublic != "" {
		for i := range g.config.BypassWorkers {
			all.Go(func() error { g.bypass(ctx, i+1); return nil })
		}
	}
	all.Go(func() error { g.dispatch(ctx); return nil })
	err := all.Wait()
	g.http.CloseIdleConnections()
	return err
}

// dispatch offers requests at the configured rate, whether or not the server keeps up: each action is started at its
// time by a free worker. When all are busy, as in a hold, writing actions wait and reading ones go on.
func (g *Generator) dispatch(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	writers := make(chan struct{}, g.config.Clients)
	readers := make(chan struct{}, g.config.Clients)
	table := g.table()
	next := time.Now()
	pace := pace{rate: g.config.Rate, most: g.config.Rate, looked: next}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 1; ; n++ {
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		act := table[g.dice.n(len(table))]
		if g.short() && !act.reads {
			act = g.loginAction()
		}
		seats := writers
		if !act.reads && len(writers) == cap(writers) {
			act = g.readAction()
		}
		if act.reads {
			seats = readers
		}
		select {
		case seats <- struct{}{}:
		case <-ctx.Done():
			return
		}
		workers.Go(func() {
			defer func() { <-seats }()
			act.do(ctx, g.ask(fmt.Sprintf("w%d", n), Router))
		})
		pace.look(time.Now(), g.Live)
		next = next.Add(time.Duration(act.cost * float64(time.Second) / pace.rate))
		if behind := time.Since(next); behind > time.Second {
			next = next.Add(behind) // what could not be offered in a hold is not made up for in a burst
		}
	}
}

// short reports whether there are too few living sessions to act on.
func (g *Generator) short() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, u := range g.idle {
		n += len(u.living())
	}
	return n < 2*g.config.Clients
}

// newUser is a person with a fresh browser.
func (g *Generator) newUser() (*user, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.numbered++
	u := &user{name: fmt.Sprintf("user-%d", g.numbered), jar: jar}
	g.users = append(g.users, u)
	return u, nil
}

func (g *Generator) newSession(u *user, a *app) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions++
	scope := "openid offline"
	if (len(u.name)+len(a.id)+int(u.name[len(u.name)-1]))%2 == 0 { // the same for a user and an app, always
		scope += " photos"
	}
	return &session{name: fmt.Sprintf("session-%d", g.sessions), user: u, app: a, scope: scope}
}

// login takes a user through authorization and exchange. A login that a switch sent back begins anew.
func (g *Generator) login(ctx context.Context, u *user, a *app, t Target) (*session, bool) {
	for range 3 {
		s := g.newSession(u, a)
		f := &flow{caller: g.caller, target: t, session: s, remember: g.dice.n(2) == 0, verifier: rand.Text() + rand.Text()}
		code, again, fenced := f.authorize(ctx)
		if again && ctx.Err() == nil {
			continue
		}
		if fenced && t == Bypass {
			return nil, true
		}
		if code == "" {
			return nil, false
		}
		s.code, s.verifier = code, f.verifier
		r := f.exchange(ctx, code)
		g.took(s, r)
		if r.ok() {
			u.sessions = append(u.sessions, s)
			return s, false
		}
		return nil, r.refusedWrite() && t == Bypass
	}
	return nil, false
}

// took keeps what an answer handed out, for the sweep.
func (g *Generator) took(s *session, r reply) {
	if r.ok() {
		g.hold(held{secret: s.access, app: s.app, user: s.user, expires: s.expires, openid: true},
			held{secret: s.refresh, refresh: true, app: s.app, user: s.user})
	}
}
