package authserver

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

// Paths of the public listener, as Hydra's.
const (
	pathAuth   = "/oauth2/auth"
	pathToken  = "/oauth2/token"
	pathRevoke = "/oauth2/revoke"

	// The admin API has introspect; a router must not take one for the other.
	pathIntrospection = "/oauth2/introspection"

	pathUserinfo  = "/userinfo"
	pathLogout    = "/oauth2/sessions/logout"
	pathLoggedOut = "/oauth2/fallbacks/logout/callback"
	pathKeys      = "/.well-known/jwks.json"
)

// protocol answers the public endpoints. Package op routes, parses and checks the requests.
type protocol struct {
	op.UnimplementedServer
	*Server
	judges bool // an authorization request is judged, and begins nothing
}

// Public is the handler of the listener that apps and browsers reach.
func (s *Server) Public() http.Handler {
	endpoints := op.Endpoints{
		Authorization: op.NewEndpoint(pathAuth), Token: op.NewEndpoint(pathToken), Revocation: op.NewEndpoint(pathRevoke),
		Introspection: op.NewEndpoint(pathIntrospection), JwksURI: op.NewEndpoint(pathKeys),
	}
	if s.devices() != nil {
		endpoints.DeviceAuthorization = op.NewEndpoint(pathDevice)
	}
	h := op.RegisterServer(protocol{Server: s}, endpoints, op.WithServerCORSOptions(nil), op.WithEncoder(s.encoder()))
	judge := op.RegisterServer(protocol{Server: s, judges: true}, op.Endpoints{Authorization: op.NewEndpoint(pathAuth)},
		op.WithServerCORSOptions(nil), op.WithEncoder(s.encoder()))
	mux := http.NewServeMux()
	for path, visit := range map[string]http.Handler{pathAuth: s.unwrap(h), pathLogout: http.HandlerFunc(s.logout)} {
		mux.Handle("GET "+path, visit)
		mux.Handle("POST "+path, visit)
		mux.HandleFunc("HEAD "+path, noVisit)
	}
	type endpoint struct {
		path, methods string
		handler       http.Handler
	}
	served := []endpoint{
		{pathToken, "POST", s.form(h)}, {pathPushed, "POST", s.form(s.push(judge))}, {pathRevoke, "POST", s.form(h)}, {pathIntrospection, "POST", s.form(secretive(h))},
		{pathUserinfo, "GET POST", http.HandlerFunc(s.userinfo)},
		{pathKeys, "GET", h}, {oidc.DiscoveryEndpoint, "GET", h},
	}
	if s.devices() != nil {
		served = append(served, endpoint{pathDevice, "POST", s.form(h)})
		mux.HandleFunc("GET "+pathDeviceVerify, s.verifyDevice)
		mux.HandleFunc("HEAD "+pathDeviceVerify, noVisit)
	}
	for _, e := range served {
		for _, method := range strings.Fields(e.methods + " OPTIONS") {
			mux.Handle(method+" "+e.path, shared(e.methods, e.handler))
		}
	}
	for _, path := range s.metadataPaths() {
		for _, method := range []string{"GET", "OPTIONS"} {
			mux.Handle(method+" "+path, shared("GET", http.HandlerFunc(s.serveMetadata)))
		}
	}
	mux.HandleFunc("GET "+pathLoggedOut, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("You are logged out.\n"))
	})
	return s.front("public", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		mux.ServeHTTP(w, r)
	}))
}

// Keys is the JWK set (RFC 7517, section 5).
func (p protocol) Keys(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	return op.NewResponse(p.keys.Load().public), nil
}

// VerifyClient authenticates a client by secret, or takes the word of a public one, whose codes are bound by PKCE.
func (p protocol) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	if r.Data.ClientAssertion != "" || r.Data.ClientAssertionType != "" {
		client, err := p.byAssertion(ctx, r.Data)
		return client, refuse(err)
	}
	c, err := p.store.Client(ctx, r.Data.ClientID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, refuse(err)
	}
	if err == nil && c.AuthMethod == string(oidc.AuthMethodNone) && r.Data.ClientSecret == "" {
		return app{Client: c}, nil
	}
	hash := c.SecretHash
	if err != nil || c.AuthMethod == string(oidc.AuthMethodNone) || c.AuthMethod == authPrivateKey {
		hash = "" // nobody has it, which takes as long to find out
	}
	if err := p.secrets.checkLive(ctx, hash, r.Data.ClientID+"\x00"+r.Header.Get(addressHeader), r.Data.ClientSecret, time.Now()); err != nil {
		return nil, refuse(err)
	}
	return app{Client: c}, nil
}

// app is a client as package op wants to see it.
type app struct {
	store.Client
	asked oidc.ResponseType // by an authorization request
}

func (a app) GetID() string                        { return a.ID }
func (a app) RedirectURIs() []string               { return a.Client.RedirectURIs.List() }
func (a app) PostLogoutRedirectURIs() []string     { return a.Client.PostLogoutRedirectURIs.List() }
func (a app) AuthMethod() oidc.AuthMethod          { return oidc.AuthMethod(a.Client.AuthMethod) }
func (a app) LoginURL(string) string               { return "" }
func (a app) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (a app) IDTokenLifetime() time.Duration       { return 0 }
func (a app) DevMode() bool                        { return true } // redirect URIs have been judged, see redirects
func (a app) IDTokenUserinfoClaimsAssertion() bool { return false }
func (a app) ClockSkew() time.Duration             { return 0 }
func (a app) IsScopeAllowed(scope string) bool     { return store.Covers(a.Scope, scope) }

// ApplicationType is native for public clients: they may have schemes of their own, and any port of a loopback address.
func (a app) ApplicationType() op.ApplicationType {
	if a.AuthMethod() == oidc.AuthMethodNone {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

// ResponseTypes lets pass whatever was asked for: checkNew tells a type that nobody serves from one that the client may
// not use.
func (a app) ResponseTypes() []oidc.ResponseType { return []oidc.ResponseType{a.asked} }

func (a app) GrantTypes() []oidc.GrantType {
	var types []oidc.GrantType
	for _, t := range a.Client.GrantTypes.List() {
		types = append(types, oidc.GrantType(t))
	}
	return types
}

func (a app) RestrictAdditionalIdTokenScopes() func([]string) []string     { return same }
func (a app) RestrictAdditionalAccessTokenScopes() func([]string) []string { return same }

func same(scopes []string) []string { return scopes }
