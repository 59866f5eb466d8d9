package traffic

import "context"

// anyToken picks a token that was handed out lately, dead or alive.
func (g *Generator) anyToken(fits func(held) bool) (held, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	recent := g.tokens[max(0, len(g.tokens)-400):]
	for range 10 {
		if len(recent) == 0 {
			break
		}
		if t := recent[g.dice.n(len(recent))]; fits(t) {
			return t, true
		}
	}
	return held{}, false
}

func (g *Generator) introspectOne(ctx context.Context, a ask) {
	if t, ok := g.anyToken(func(held) bool { return true }); ok {
		a.introspect(ctx, t)
		return
	}
	g.static(ctx, a)
}

func (g *Generator) userinfoOne(ctx context.Context, a ask) {
	if t, ok := g.anyToken(func(t held) bool { return !t.refresh && t.openid }); ok {
		a.userinfo(ctx, t)
		return
	}
	g.static(ctx, a)
}

func (g *Generator) listOne(ctx context.Context, a ask) {
	g.mu.Lock()
	var name string
	if len(g.users) > 0 {
		name = g.users[g.dice.n(len(g.users))].name
	}
	g.mu.Unlock()
	if name == "" {
		g.static(ctx, a)
		return
	}
	a.listConsents(ctx, name)
}

func (g *Generator) static(ctx context.Context, a ask) {
	switch g.dice.n(3) {
	case 0:
		a.jwks(ctx)
	case 1:
		a.discovery(ctx)
	default:
		a.getClient(ctx, g.anyApp())
	}
}
