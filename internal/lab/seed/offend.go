package seed

// Texts that are no JSON for Postgres: nothing at all, a NUL (which jsonb refuses), and a value that was cut off.
var broken = []struct{ name, text string }{
	{"empty", ``},
	{"nul", `{"login_hint":"a\u0000b"}`},
	{"cut", `{"login_hint":"a`},
}

// offend writes every kind of row that the migration to 2.0 refuses or corrupts, each as often as wanted.
func (g *generator) offend() {
	many := func(kind string, one func()) {
		for range g.options.Each {
			one()
			g.result.Offending[kind]++
		}
	}
	// 2.0's foreign key from tokens to clients.
	many("token-without-client", func() {
		g.session("token-without-client", func(l *life) { l.withoutClient, l.client = true, "gone-"+random(8) })
	})
	// The flow's primary key: a double click on the login page.
	many("two-consents-of-one-login", func() {
		g.session("two-consents-of-one-login", func(l *life) { l.secondConsent = true })
	})
	// A log-out took the login request along; the migration drops the consent, and refreshing its tokens fails.
	many("consent-without-login", func() {
		g.session("consent-without-login", func(l *life) { l.loggedOut = true })
	})
	for _, b := range broken {
		for name, change := range map[string]func(*life){
			"oidc-context":         func(l *life) { l.oidcContext = b.text },
			"auth-request":         func(l *life) { l.authRequest = b.text },
			"login-context":        func(l *life) { l.loginContext = b.text },
			"session-access-token": func(l *life) { l.sessionAccess = b.text },
			"session-id-token":     func(l *life) { l.sessionID = b.text },
		} {
			kind := name + "-" + b.name
			many(kind, func() { g.session(kind, change) })
		}
		list := b.text
		if b.name == "nul" {
			list = `["a\u0000b"]`
		}
		for name, c := range map[string]client{
			"client-contacts":      {contacts: &list},
			"client-metadata":      {metadata: &b.text},
			"client-redirect-uris": {redirectURIs: &list},
			"client-audience":      {audience: &list},
		} {
			kind := name + "-" + b.name
			many(kind, func() { g.owned(kind, c) })
		}
	}
	nobody := ""
	many("client-without-owner", func() { g.owned("client-without-owner", client{owner: &nobody}) })
}

// owned writes a client out of the ordinary, with one session.
func (g *generator) owned(kind string, c client) {
	id := g.client(c)
	g.session(kind, func(l *life) { l.client = id })
}
