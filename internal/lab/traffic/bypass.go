package traffic

import (
	"context"
	"fmt"
	"time"
)

// bypass is a client that talks to the old server past the router, as somebody always does. It logs users in, refreshes
// and revokes there until the fence refuses a write, and goes on through the router, with the sessions that it has.
func (g *Generator) bypass(ctx context.Context, n int) {
	a := g.ask(fmt.Sprintf("bypass-%d", n), Bypass)
	for turn := 0; ctx.Err() == nil; turn++ {
		if a.target == Bypass && g.fenced.Load() {
			a.target = Router
		}
		g.bypassTurn(ctx, a, turn)
		pause(ctx, time.Duration(100+g.dice.n(200))*time.Millisecond)
	}
}

func (g *Generator) bypassTurn(ctx context.Context, a ask, turn int) {
	if turn%3 == 0 {
		u, err := g.newUser()
		if err != nil {
			return
		}
		defer g.back(u)
		if _, fenced := g.login(ctx, u, g.anyApp(), a.target); fenced {
			g.fenced.Store(true)
		}
		return
	}
	u := g.take(g.dice.n, hasSession)
	if u == nil {
		return
	}
	defer g.back(u)
	s := g.one(u)
	var r reply
	if turn%3 == 1 {
		r = a.refresh(ctx, Refresh, s, s.refresh, 0)
		if a.target != Bypass || !r.refusedWrite() {
			g.refreshed(s, r)
		}
	} else {
		kinds := []Kind{RevokeConsent, RevokeSubject, RevokeAccess, RevokeRefresh}
		if g.config.RevokesInVain && a.target == Bypass {
			kinds = kinds[:2]
		}
		r = g.revokeSession(ctx, a, kinds[g.dice.n(len(kinds))], s)
	}
	if a.target == Bypass && r.refusedWrite() {
		g.fenced.Store(true)
	}
}
