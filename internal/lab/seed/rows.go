package seed

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver"
)

// table is where rows go. Tables are filled in this order, parents first.
type table struct {
	name    string
	columns []string
}

var tables = []table{
	{"oauth_client", []string{"id", "name", "owner", "secret_hash", "redirect_uris", "post_logout_redirect_uris", "grant_types",
		"response_types", "scope", "audience", "token_endpoint_auth_method", "created_at"}},
	{"oauth_client_details", []string{"client_id", "contacts", "metadata"}},
	{"oauth_session", []string{"id", "subject", "remember", "authenticated_at"}},
	{"oauth_login_request", []string{"challenge", "verifier", "client_id", "session_id", "subject", "skip", "request_url",
		"requested_scope", "oidc_context", "auth_request", "requested_at"}},
	{"oauth_login_handled", []string{"challenge", "subject", "remember", "remember_for", "acr", "context", "error", "was_used",
		"authenticated_at", "handled_at"}},
	{"oauth_consent_request", []string{"challenge", "verifier", "login_challenge", "client_id", "subject", "skip",
		"requested_scope", "oidc_context", "request_url", "auth_request", "requested_at", "acr"}},
	{"oauth_consent_handled", []string{"challenge", "granted_scope", "remember", "remember_for", "session_access_token",
		"session_id_token", "error", "was_used", "handled_at"}},
	{"oauth_code", []string{"signature", "request_id", "client_id", "subject", "consent_challenge", "scope", "session_data",
		"active", "requested_at", "expires_at"}},
	{"oauth_access", []string{"signature", "request_id", "client_id", "subject", "consent_challenge", "scope", "audience",
		"session_data", "requested_at", "expires_at"}},
	{"oauth_refresh", []string{"signature", "request_id", "client_id", "subject", "consent_challenge", "scope", "audience",
		"session_data", "active", "requested_at", "expires_at"}},
}

// generator makes rows and writes them a chunk at a time.
type generator struct {
	options  Options
	original bool // the schema is that of 1.0
	hash     string
	ids      []string // of the clients
	made     int
	rows     map[string][][]any
	result   Result
}

func (g *generator) add(table string, row ...any) {
	if g.rows == nil {
		g.rows = map[string][][]any{}
	}
	g.rows[table] = append(g.rows[table], row)
}

func (g *generator) flush(ctx context.Context, tx pgx.Tx) error {
	for _, t := range tables {
		rows := g.rows[t.name]
		if g.original {
			t, rows = original(t, g.rows)
		}
		if len(rows) == 0 {
			continue
		}
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromRows(rows)); err != nil {
			return fmt.Errorf("table %q: %w", t.name, err)
		}
	}
	g.rows = nil
	return nil
}

func (g *generator) clients() {
	for range g.options.Clients {
		g.ids = append(g.ids, g.client(client{}))
	}
}

// client is what of a client can be out of the ordinary; nil is ordinary.
type client struct {
	owner, redirectURIs, contacts, metadata, audience *string
}

const scope = "openid offline_access photos.read photos.write"

func (g *generator) client(c client) string {
	id := "app-" + random(8)
	n := len(g.ids)
	g.add("oauth_client", id, fmt.Sprintf("App %d", n), or(c.owner, fmt.Sprintf("team-%d", n%7)), g.hash,
		or(c.redirectURIs, `["https://app.example/callback","http://127.0.0.1:1/callback"]`), `["https://app.example/bye"]`,
		`["authorization_code","refresh_token","client_credentials"]`, `["code"]`, scope, or(c.audience, `["https://api.example"]`),
		"client_secret_basic", time.Now().AddDate(0, 0, -n%900))
	g.add("oauth_client_details", id, or(c.contacts, `["owner@app.example"]`), or(c.metadata, `{"tier":"free"}`))
	g.result.Clients++
	return id
}

// life is one session as it is to be written; an offending kind changes what it needs.
type life struct {
	kind                                             string
	client, subject                                  string
	oidcContext, authRequest, loginContext           string
	sessionAccess, sessionID                         string
	loggedOut, withoutClient, secondConsent, expired bool
}

const plain = "plain"

// archived is how many sessions Result.Archive has at most, about.
const archived = 1000

func (g *generator) session(kind string, change ...func(*life)) {
	g.made++
	client := g.ids[g.made%len(g.ids)]
	l := life{kind: kind, client: client, subject: fmt.Sprintf("person-%d", g.made),
		oidcContext:  `{"login_hint":"","display":"page","acr_values":[],"ui_locales":["en"]}`,
		authRequest:  `{"redirect_uri":"https://app.example/callback","state":"` + random(8) + `","nonce":"` + random(8) + `","browser":""}`,
		loginContext: `{"via":"password"}`, sessionAccess: `{"plan":"gold"}`, sessionID: `{"locale":"en"}`,
		expired: kind == plain && g.made%10 == 0}
	for _, f := range change {
		f(&l)
	}
	begun := time.Now().Add(-time.Duration(1+g.made%(20*24)) * time.Hour)
	session, login := hash(random(16)), random(16)
	requestURL := "https://auth.example/oauth2/auth?client_id=" + l.client
	if !l.loggedOut && !l.withoutClient {
		g.add("oauth_session", session, l.subject, true, begun)
		// An interactive login has its subject in the answer only.
		g.add("oauth_login_request", login, random(16), l.client, session, "", false, requestURL, scope, l.oidcContext, l.authRequest, begun)
		g.add("oauth_login_handled", login, l.subject, true, int32(0), "1", l.loginContext, "{}", true, begun, begun)
	}
	g.result.Sessions++
	g.chain(l, begun, session, &login, requestURL)
	if l.secondConsent {
		g.chain(l, begun.Add(time.Second), session, &login, requestURL)
	}
}

// chain writes a consent with its used code, a used refresh token, and a living pair.
func (g *generator) chain(l life, begun time.Time, session string, login *string, requestURL string) {
	challenge := random(16)
	consent := &challenge
	if l.loggedOut {
		login = nil
	}
	if l.withoutClient {
		consent = nil
	} else {
		g.add("oauth_consent_request", challenge, random(16), login, l.client, l.subject, false, scope, l.oidcContext, requestURL,
			l.authRequest, begun, "1")
		g.add("oauth_consent_handled", challenge, scope, true, int32(0), l.sessionAccess, l.sessionID, "{}", true, begun)
	}
	data := fmt.Sprintf(`{"redirect_uri":"https://app.example/callback","browser":"","consent_challenge":"%s","session_id":"%s",`+
		`"auth_time":%d,"acr":"1","access_token":{"plan":"gold"},"id_token":{"locale":"en"}}`, challenge, session, begun.Unix())
	now := time.Now()
	lives, month := now.Add(time.Hour), now.AddDate(0, 1, 0)
	if l.expired {
		lives, month = begun, begun
	}
	access, refresh, spent := token(), token(), token()
	g.add("oauth_code", hash(token()), challenge, l.client, l.subject, consent, scope, data, false, begun, begun.Add(10*time.Minute))
	g.add("oauth_refresh", hash(spent), challenge, l.client, l.subject, consent, scope, "[]", data, false, begun, month)
	g.add("oauth_refresh", hash(refresh), challenge, l.client, l.subject, consent, scope, "[]", data, true, begun.Add(time.Minute), month)
	g.add("oauth_access", hash(access), challenge, l.client, l.subject, consent, scope, "[]", data, begun.Add(time.Minute), lives)
	g.result.Tokens += 3
	if l.withoutClient {
		return
	}
	whole := Credential{Kind: l.kind, Client: l.client, Secret: g.options.Secret, Subject: l.subject, Access: access, Refresh: refresh, Spent: spent}
	if g.made%max(1, g.options.Sessions/archived) == 0 {
		g.result.Archive = append(g.result.Archive, whole)
	}
	sample := &g.result.Sample
	if l.expired {
		sample = &g.result.Expired
	} else {
		g.result.Living++
	}
	shown := 0
	for _, c := range *sample {
		if c.Kind == l.kind {
			shown++
		}
	}
	most := g.options.Sample
	if l.kind == plain {
		most++ // one for a job to end
	}
	if shown < most {
		*sample = append(*sample, whole)
	}
}

// refused writes a login that failed, and one whose person then refused what the app asked for.
func (g *generator) refused() {
	const denied, failed = `{"error":"access_denied","error_description":"the person said no"}`, `{"error":"login_required","error_description":"wrong password"}`
	for _, kind := range []string{"refused-login", "refused-consent"} {
		g.made++
		client, subject := g.ids[g.made%len(g.ids)], fmt.Sprintf("person-%d", g.made)
		begun := time.Now().Add(-time.Duration(1+g.made%(20*24)) * time.Hour)
		login, consent, requestURL := random(16), random(16), "https://auth.example/oauth2/auth?client_id="+client
		const context = `{"login_hint":"","display":"page","acr_values":[],"ui_locales":["en"]}`
		request := `{"redirect_uri":"https://app.example/callback","state":"` + random(8) + `","nonce":"` + random(8) + `","browser":""}`
		if kind == "refused-login" {
			g.add("oauth_login_request", login, random(16), client, nil, "", false, requestURL, scope, context, request, begun)
			g.add("oauth_login_handled", login, "", false, int32(0), "", "{}", failed, true, nil, begun)
		} else {
			session := hash(random(16))
			g.add("oauth_session", session, subject, true, begun)
			g.add("oauth_login_request", login, random(16), client, session, "", false, requestURL, scope, context, request, begun)
			g.add("oauth_login_handled", login, subject, true, int32(0), "1", `{"via":"password"}`, "{}", true, begun, begun)
			g.add("oauth_consent_request", consent, random(16), login, client, subject, false, scope, context, requestURL, request, begun, "1")
			g.add("oauth_consent_handled", consent, "", false, int32(0), "{}", "{}", denied, true, begun)
		}
		g.result.Refused = append(g.result.Refused, Credential{Kind: kind, Client: client, Subject: subject})
	}
}

func or(s *string, fallback string) string {
	if s != nil {
		return *s
	}
	return fallback
}

func random(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func token() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func hash(token string) string { return authserver.Signature(token) }
