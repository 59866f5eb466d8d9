package traffic

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Config says against what the clients play, and how. Zero values take the defaults that the fields name.
type Config struct {
	Public, Admin             string // base URLs of the router
	BypassPublic, BypassAdmin string // base URLs of the old server itself; empty: nobody goes past the router
	AdminPrefix               string // before admin paths, such as "/admin" for a 2.0 server without a router
	Issuer                    string // what tokens and discovery must name; empty: whatever comes first

	Clients       int     // how many writing actions are under way at most; 8
	Rate          float64 // requests a second, offered whether or not the server keeps up; 50
	BypassWorkers int     // clients that go past the router until they are refused; 2
	Seed          uint64  // of the choice of actions; 0: another one every time

	// RetryRefresh sends some refreshes twice, at once or 200 ms later. A strict server without a router that coalesces
	// ends such a session, and rightly.
	RetryRefresh bool
	Coalescing   time.Duration // within which the router promises the same answer; 1 s
	Reuse        time.Duration // for which a used refresh token may still be accepted, by router or grace period; 30 s

	Timeout      time.Duration // of one request; 15 s
	SweepTimeout time.Duration // of a whole sweep; 60 s
	Mix          Mix           // zero: DefaultMix

	Refusal Refusal // see Expect
	// RevokesInVain: the old server acknowledges the revocation of a token that its database has refused. RFC 7009 section
	// 2.2 has no answer for it. Nobody revokes tokens past the router then.
	RevokesInVain bool

	TornLists       bool // see Expect
	Pairwise        string
	ForgetsLogins   bool // see Expect
	AppsReturn      bool // see Expect
	FailuresAllowed bool // see Expect
	NoSwitch        bool // see Expect
}

// Mix is how often each action is taken, in relation to the others.
type Mix struct {
	Login, Refresh, Introspect, Userinfo, Machine, List, Static, Logout, Refuse             int
	RevokeAccess, RevokeRefresh, RevokeConsent, RevokeSubject, RevokeMachine, Client, Races int
}

// DefaultMix revokes about five times in a hundred requests.
func DefaultMix() Mix {
	return Mix{Login: 5, Refresh: 10, Introspect: 22, Userinfo: 8, Machine: 3, List: 3, Static: 4, Logout: 1, Refuse: 1,
		RevokeAccess: 2, RevokeRefresh: 2, RevokeConsent: 2, RevokeSubject: 1, RevokeMachine: 1, Client: 1, Races: 1}
}

func (c Config) withDefaults() (Config, error) {
	for name, u := range map[string]*string{"public": &c.Public, "admin": &c.Admin} {
		if p, err := url.Parse(*u); err != nil || p.Host == "" {
			return c, fmt.Errorf("traffic: %s URL %q is no absolute URL", name, *u)
		}
	}
	for _, u := range []*string{&c.Public, &c.Admin, &c.BypassPublic, &c.BypassAdmin} {
		*u = strings.TrimSuffix(*u, "/")
	}
	if (c.BypassPublic == "") != (c.BypassAdmin == "") {
		return c, fmt.Errorf("traffic: of the bypass there is only the public URL %q and the admin URL %q; it takes both", c.BypassPublic, c.BypassAdmin)
	}
	if c.Rate < 0 || c.Clients < 0 || c.BypassWorkers < 0 {
		return c, fmt.Errorf("traffic: rate %g, %d clients and %d bypass workers; none may be below zero", c.Rate, c.Clients, c.BypassWorkers)
	}
	set(&c.Clients, 8)
	set(&c.Rate, 50)
	set(&c.BypassWorkers, 2)
	set(&c.Coalescing, time.Second)
	set(&c.Reuse, 30*time.Second)
	set(&c.Timeout, 15*time.Second)
	set(&c.SweepTimeout, time.Minute)
	set(&c.Mix, DefaultMix())
	return c, nil
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c Config) expect() Expect {
	return Expect{Issuer: c.Issuer, CoalescingExpected: c.RetryRefresh, Coalescing: c.Coalescing, Reuse: c.Reuse,
		Refusal: c.Refusal, TornLists: c.TornLists, Pairwise: c.Pairwise, ForgetsLogins: c.ForgetsLogins, AppsReturn: c.AppsReturn, FailuresAllowed: c.FailuresAllowed, NoSwitch: c.NoSwitch}
}
