// Package authserver is the bundled OAuth 2.0 and OpenID Connect server. It speaks the subset of Ory Hydra's public and
// admin HTTP API that apps, login and consent pages and operators need, over zitadel/oidc's protocol layer (package op)
// and Postgres. docs/adr/0004-zitadel-oidc.md says why.
//
// Generations 1.0, 1.1 and 2.0 differ in their schema, in where the admin API lies, in how tokens look and in what a second
// use of a refresh token means; internal/authserver/store holds the first, [generation] the rest.
//
// The way of a login: GET /oauth2/auth stores a login request and sends the browser to the login page, which answers
// through the admin API and gets a URL back to /oauth2/auth with a login_verifier; that stores a consent request, and
// the same again with a consent_verifier; that stores a code. Every step is committed before it is answered.
package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tideover/tideover/internal/authserver/store"
)

// Config is what a server needs. Zero lifetimes and costs take the defaults that the fields name.
type Config struct {
	Generation   string // "1.0", "1.1" or "2.0"
	DSN          string // holds the password: never logged
	Issuer       string // the public URL, such as a router's; http is allowed
	LoginURL     string // gets ?login_challenge=
	ConsentURL   string // gets ?consent_challenge=
	DeviceURL    string // 2.0: the page on which people type codes of devices, gets ?device_challenge=; "" serves no devices
	SystemSecret string // seals the signing keys in the database; at least 16 characters
	OtherSecret  string // another one that opens what it has sealed, while the secret is being changed

	AccessLifetime  time.Duration // 1 h; a client's access_token_seconds overrules it
	RefreshLifetime time.Duration // 30 days
	CodeLifetime    time.Duration // 10 min
	DeviceLifetime  time.Duration // 10 min: of the codes of devices
	IDLifetime      time.Duration // 1 h
	Grace           time.Duration // 2.0: how long a used refresh token gives its successor again; 10 s, negative for never
	BcryptCost      int           // of new client secrets; 10
	KeysEvery       time.Duration // 10 s: how often the signing keys are read again
	MaxConns        int32         // to Postgres; 16, where the DSN does not say pool_max_conns
	PrivateJWKS     bool          // keys of clients may be fetched from private addresses, too
	AdminToken      string        // where set, the bearer token that every request to the admin API must bring
	AdminHosts      []string      // names with a domain under which the admin API is reached, beside addresses and bare names
	BehindProxy     bool          // a client's address is the last one of X-Forwarded-For, which only a proxy can set
}

// Server serves both listeners of one generation. Until its database has the generation's schema it answers 503.
type Server struct {
	config     Config
	generation generation
	issuer     *url.URL
	pool       *pgxpool.Pool
	store      store.Store
	secrets    *secrets
	clientKeys *clientKeys
	userCodes  *attempts // wrong codes of devices, of everybody together
	deviceAsks *attempts // codes that devices ask for, of a client at an address
	metrics    *metrics
	keys       atomic.Pointer[keyring] // nil until ready
}

// New checks the configuration and opens the pool, without waiting for the database: [Server.Run] does that.
func New(ctx context.Context, c Config) (*Server, error) {
	c = c.withDefaults()
	g, err := generationOf(c.Generation)
	if err != nil {
		return nil, err
	}
	issuer, err := url.Parse(c.Issuer)
	if err != nil || issuer.Host == "" || issuer.Scheme != "http" && issuer.Scheme != "https" || issuer.RawQuery != "" || issuer.Fragment != "" {
		return nil, fmt.Errorf("issuer %q is no http or https URL without query and fragment", c.Issuer)
	}
	for name, u := range map[string]string{"login": c.LoginURL, "consent": c.ConsentURL, "device": c.DeviceURL} {
		if name == "device" && u == "" {
			continue
		}
		if p, err := url.Parse(u); err != nil || p.Host == "" {
			return nil, fmt.Errorf("%s URL %q is no absolute URL", name, u)
		}
	}
	if err := c.checkSecrets(); err != nil {
		return nil, err
	}
	if c.AdminToken != "" && len(c.AdminToken) < 16 {
		return nil, errors.New("the admin token has fewer than 16 characters")
	}
	pool, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(pool, c.Generation, c.Grace)
	if err != nil {
		pool.Close()
		return nil, err
	}
	m := newMetrics()
	// Wrong codes are counted by the page, which knows who types them; all of them together are bounded here.
	userCodes := newAttempts(1, 1)
	userCodes.hand, userCodes.every = 200, 100*time.Millisecond
	deviceAsks := newAttempts(1, 1)
	deviceAsks.hand, deviceAsks.every = 60, time.Second
	return &Server{config: c, generation: g, issuer: issuer, pool: pool, store: st, secrets: newSecrets(c.BcryptCost, m.hashed), userCodes: userCodes, deviceAsks: deviceAsks, metrics: m,
		clientKeys: newClientKeys(issuer, c.PrivateJWKS)}, nil
}

// Close closes the pool. No request may be under way.
func (s *Server) Close() { s.pool.Close() }

func (c Config) checkSecrets() error {
	if len(c.SystemSecret) < 16 || c.OtherSecret != "" && len(c.OtherSecret) < 16 {
		return errors.New("the system secret has fewer than 16 characters")
	}
	return nil
}

func (c Config) withDefaults() Config {
	duration := func(d *time.Duration, fallback time.Duration) {
		if *d == 0 {
			*d = fallback
		}
	}
	duration(&c.AccessLifetime, time.Hour)
	duration(&c.RefreshLifetime, 30*24*time.Hour)
	duration(&c.CodeLifetime, 10*time.Minute)
	duration(&c.DeviceLifetime, 10*time.Minute)
	duration(&c.IDLifetime, time.Hour)
	duration(&c.KeysEvery, 10*time.Second)
	duration(&c.Grace, 10*time.Second)
	if c.BcryptCost == 0 {
		c.BcryptCost = 10
	}
	if c.MaxConns == 0 {
		c.MaxConns = 16
	}
	c.Issuer = strings.TrimSuffix(c.Issuer, "/")
	return c
}

// open makes the pool. Statements are described once and not prepared by name, so that a schema that changes under a
// living connection, or a pooler between, does not leave plans behind that can no longer run. Generation 1.0 has not
// learned that yet.
func open(ctx context.Context, c Config) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(c.DSN)
	if err != nil {
		return nil, errors.New("the DSN is no Postgres connection string") // the cause would quote the password
	}
	if !strings.Contains(c.DSN, "pool_max_conns") {
		pc.MaxConns = c.MaxConns
	}
	pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	if c.Generation == "1.0" {
		pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	}
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	if pc.ConnConfig.RuntimeParams["application_name"] == "" {
		pc.ConnConfig.RuntimeParams["application_name"] = "authserver/" + c.Generation
	}
	return pgxpool.NewWithConfig(ctx, pc)
}

// requestTimeout bounds a request, waits for locks and connections included; past it the answer is 503.
const requestTimeout = 20 * time.Second

// front is what both listeners have in common: readiness, a bounded time, a bounded body, and figures.
func (s *Server) front(listener string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() { s.metrics.observe(listener, r, rec.status, time.Since(begun)) }()
		rec.Header().Set("Cache-Control", "no-store")
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		if strings.HasPrefix(r.URL.Path, "/health/") {
			s.health(rec, r)
			return
		}
		if s.keys.Load() == nil {
			writeError(rec, errNotReady)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(rec, r.Body, 1<<20)
		h.ServeHTTP(rec, r)
	})
}

// recorder remembers the status, and says when a refusal is worth a retry, and with which credentials.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	switch status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(int(tryAgain.Seconds())))
	}
	if status == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" { // RFC 6749, section 5.2
		w.Header().Set("WWW-Authenticate", challengeBasic)
	}
	w.ResponseWriter.WriteHeader(status)
}
