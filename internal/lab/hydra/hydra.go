// Package hydra makes what a database of Ory Hydra 1.x has after years: clients, people who are logged in, consents, and
// token chains, with every kind of row that the migration to 2.x refuses or corrupts.
//
// Sessions that are to be used come about as real ones do, by the running server, which writes and encrypts their rows
// itself; then SQL does to them what years did. The mass beside them is copies of such rows, under other names.
package hydra

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"

	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// Site is where the old server runs.
type Site struct {
	DSN           string // its database
	Issuer        string // base URL as its clients know it
	Public, Admin string // where its listeners really are
}

// callback is where codes go: nothing listens there, and nobody follows.
const callback = "http://127.0.0.1:1/callback"

const scope = "openid offline photos"

// Seed fills the old server's database. It can be called once.
func Seed(ctx context.Context, site Site, o seed.Options) (seed.Result, error) {
	g := &generator{site: site, options: o, result: seed.Result{Offending: map[string]int{}}}
	g.defaults()
	conn, err := pgx.Connect(ctx, site.DSN)
	if err != nil {
		return seed.Result{}, fmt.Errorf("seeding: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	g.conn = conn
	for _, part := range []func(context.Context) error{g.ready, g.clients, g.samples, g.mass, g.analyze} {
		if err := part(ctx); err != nil {
			return seed.Result{}, fmt.Errorf("seeding: %w", err)
		}
	}
	return g.result, nil
}

type generator struct {
	site    Site
	options seed.Options
	conn    *pgx.Conn
	ids     []string // of the ordinary clients
	made    int
	result  seed.Result
}

func (g *generator) defaults() {
	o := &g.options
	o.Clients = max(o.Clients, 1)
	if o.Each == 0 {
		o.Each = max(1, o.Sessions/200)
	}
	if o.Secret == "" {
		o.Secret = "seeded-secret"
	}
	if o.Sample == 0 {
		o.Sample = 2
	}
}

func (g *generator) target() thirdparty.Target {
	return thirdparty.Target{Issuer: g.site.Issuer, Public: g.site.Public, Admin: g.site.Admin}
}

// ready waits for the server: it has just been started.
func (g *generator) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var out struct{}
		err := g.target().Call(ctx, http.MethodGet, "/health/ready", nil, &out)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the old server is not ready: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (g *generator) clients(ctx context.Context) error {
	for n := range g.options.Clients {
		id, err := g.client(ctx, fmt.Sprintf("App %d", n), nil)
		if err != nil {
			return err
		}
		g.ids = append(g.ids, id)
	}
	return nil
}

// client registers a client; more is put over what is ordinary.
func (g *generator) client(ctx context.Context, name string, more map[string]any) (string, error) {
	body := map[string]any{
		"client_name": name, "client_secret": g.options.Secret, "owner": fmt.Sprintf("team-%d", g.result.Clients%7), "scope": scope,
		"grant_types": []string{"authorization_code", "refresh_token", "client_credentials"}, "response_types": []string{"code"},
		"redirect_uris": []string{callback}, "post_logout_redirect_uris": []string{callback},
		"token_endpoint_auth_method": "client_secret_basic",
	}
	for k, v := range more {
		body[k] = v
	}
	var out struct {
		ID string `json:"client_id"`
	}
	if err := g.target().Call(ctx, http.MethodPost, "/clients", body, &out); err != nil {
		return "", fmt.Errorf("register client %q: %w", name, err)
	}
	g.result.Clients++
	return out.ID, nil
}

// wish is a session as it is to be made.
type wish struct {
	client  string // "" is an ordinary one, or a new one
	subject string // "" is a new person
	scope   string // "" is the ordinary one
	query   url.Values
	amr     []string
}

// session logs somebody in, grants, trades the code, and refreshes once, so that there is a used refresh token.
func (g *generator) session(ctx context.Context, kind string, w wish) (made, error) {
	g.made++
	if w.subject == "" {
		w.subject = fmt.Sprintf("person-%s-%d", kind, g.made)
	}
	if w.client == "" {
		if w.client = g.ids[g.made%len(g.ids)]; kind != plain {
			// A client of its own, so that what a kind does can be looked at alone.
			var err error
			if w.client, err = g.client(ctx, kind, nil); err != nil {
				return made{}, err
			}
		}
	}
	if w.scope == "" {
		w.scope = scope
	}
	m := made{browser: thirdparty.NewBrowser(g.target()), Credential: seed.Credential{Kind: kind, Client: w.client, Secret: g.options.Secret, Subject: w.subject}}
	verifier := oauth2.GenerateVerifier()
	q := url.Values{"client_id": {w.client}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {w.scope},
		"state": {"state-of-" + w.subject}, "nonce": {"nonce-of-" + w.subject},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"}}
	for k, v := range w.query {
		q[k] = v
	}
	visit, err := m.browser.Authorize(ctx, g.site.Issuer+"/oauth2/auth?"+q.Encode(), callback,
		thirdparty.Answers{Subject: w.subject, RememberLogin: true, RememberConsent: true, IDToken: map[string]any{"locale": "en"}, AMR: w.amr})
	if err == nil && visit.Code == "" {
		err = fmt.Errorf("no code came: %s", visit.Error)
	}
	if err != nil {
		return m, fmt.Errorf("session of kind %q: %w", kind, err)
	}
	m.consent, m.login = visit.ConsentChallenge, visit.LoginChallenge
	first, err := g.token(ctx, w.client, url.Values{"grant_type": {"authorization_code"}, "code": {visit.Code},
		"redirect_uri": {callback}, "code_verifier": {verifier}})
	if err != nil {
		return m, fmt.Errorf("session of kind %q: %w", kind, err)
	}
	m.Spent, m.id = first.Refresh, first.ID
	second, err := g.token(ctx, w.client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.Refresh}})
	if err != nil {
		return m, fmt.Errorf("session of kind %q: %w", kind, err)
	}
	m.Access, m.Refresh = second.Access, second.Refresh
	g.result.Sessions++
	g.result.Tokens += 3
	return m, nil
}

// made is a session that lives, and what it is called in the database.
type made struct {
	seed.Credential
	browser        *thirdparty.Browser
	login, consent string // challenges
	id             string // the ID token
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
}

func (g *generator) token(ctx context.Context, client string, form url.Values) (t tokens, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.site.Public+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return t, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(g.options.Secret))
	return t, thirdparty.Do(req, &t)
}

func (g *generator) analyze(ctx context.Context) error {
	_, err := g.conn.Exec(ctx, "ANALYZE")
	return err
}
