package authserver

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/crypto"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

// grant is the session data of a code and of every token that descends from it: what later refreshes and ID tokens need
// beside the row's own columns.
type grant struct {
	request
	ConsentChallenge string         `json:"consent_challenge,omitempty"`
	SessionID        string         `json:"session_id,omitempty"`
	AuthTime         int64          `json:"auth_time,omitempty"` // Unix seconds
	ACR              string         `json:"acr,omitempty"`
	AccessToken      map[string]any `json:"access_token,omitempty"` // what the consent page adds to introspection
	IDToken          map[string]any `json:"id_token,omitempty"`     // and to ID tokens and user info
}

// issued is what a grant hands out; the database has only the signatures.
type issued struct {
	from            store.Token
	access, refresh string
	lifetime        time.Duration
}

// issue makes the tokens that follow from a code or refresh token. The access token has the given scope, and of the
// audience what the client may still ask for; the refresh token, where one is given, keeps the whole of both.
func (p protocol) issue(a app, from store.Token, scope, refreshToken string) (*issued, store.Pair) {
	out := &issued{from: from, access: newToken(p.generation.access), refresh: refreshToken, lifetime: p.accessLifetime(a)}
	out.from.Scope = scope
	allowed := a.Audience.List()
	audience := slices.DeleteFunc(from.Audience.List(), func(aud string) bool { return !slices.Contains(allowed, aud) })
	access := store.Token{Signature: Signature(out.access), RequestID: from.RequestID, ClientID: from.ClientID,
		Subject: from.Subject, ConsentChallenge: from.ConsentChallenge, Scope: scope, Audience: store.NewDocument(audience),
		SessionData: from.SessionData, Lifetime: out.lifetime}
	pair := store.Pair{Access: access}
	if refreshToken != "" {
		refresh := access
		refresh.Signature, refresh.Scope, refresh.Audience = Signature(out.refresh), from.Scope, from.Audience
		refresh.Lifetime = p.config.RefreshLifetime
		pair.Refresh = &refresh
	}
	return out, pair
}

func (p protocol) accessLifetime(a app) time.Duration {
	if a.AccessSeconds != nil && *a.AccessSeconds > 0 {
		return time.Duration(*a.AccessSeconds) * time.Second
	}
	return p.config.AccessLifetime
}

// CodeExchange is RFC 6749, section 4.1.3, with PKCE (RFC 7636, section 4.5). The package's rule that a client may ask
// for the grant is applied before.
func (p protocol) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	a := r.Client.(app)
	var out *issued
	err := p.store.Exchange(ctx, p.generation.signature(r.Data.Code), func(code store.Token) (store.Pair, error) {
		var g grant
		code.SessionData.Decode(&g)
		if code.ClientID != a.ID {
			return store.Pair{}, store.ErrNotYours
		}
		if r.Data.RedirectURI != g.RedirectURI {
			return store.Pair{}, invalidGrant(errors.New("another redirect_uri"))
		}
		if err := proves(a, g, r.Data.CodeVerifier); err != nil {
			return store.Pair{}, err
		}
		code.Audience = store.NewDocument(g.Audience)
		scope, err := still(a, code.Scope, nil)
		if err != nil {
			return store.Pair{}, err
		}
		refresh := ""
		if op.ValidateGrantType(a, oidc.GrantTypeRefreshToken) && offline(scope) {
			refresh = newToken(p.generation.refresh)
		}
		var pair store.Pair
		out, pair = p.issue(a, code, scope, refresh)
		return pair, nil
	})
	if err != nil {
		return nil, refusal(grantError(err))
	}
	return p.tokens(out)
}

// proves checks the PKCE verifier.
func proves(a app, g grant, verifier string) error {
	if g.CodeChallenge == "" {
		if a.AuthMethod() == oidc.AuthMethodNone || verifier != "" {
			return invalidGrant(errors.New("the code was asked for without PKCE"))
		}
		return nil
	}
	if g.ChallengeMethod != string(oidc.CodeChallengeMethodS256) || verifier == "" ||
		!oidc.VerifyCodeChallenge(&oidc.CodeChallenge{Challenge: g.CodeChallenge, Method: oidc.CodeChallengeMethodS256}, verifier) {
		return invalidGrant(errors.New("wrong code_verifier"))
	}
	return nil
}

// offline tells whether a scope asks for refresh tokens.
func offline(scope string) bool {
	return store.Covers(scope, oidc.ScopeOfflineAccess) || store.Covers(scope, "offline")
}

// still is what a client gets of a granted scope: what was asked for of it, or else all, without what has been taken
// from the client since. Without offline access it gets nothing for what it has kept.
func still(a app, granted string, asked []string) (string, error) {
	refused := &oauthError{Status: http.StatusBadRequest, Code: "invalid_scope", Description: "the scope was not granted, or the client may not have it any more"}
	left := strings.Join(slices.DeleteFunc(strings.Fields(granted), func(s string) bool { return !store.Covers(a.Scope, s) }), " ")
	if left == "" && strings.TrimSpace(granted) != "" || offline(granted) && !offline(left) {
		return "", refused
	}
	scope := strings.Join(asked, " ")
	if strings.TrimSpace(scope) == "" {
		return left, nil
	}
	if !store.Covers(left, scope) {
		return "", refused
	}
	return scope, nil
}

// successor is the refresh token that follows. Where a used one may be used again for a while, every use has the same
// successor: a client that retries gets what it missed, and a thief no branch of its own. It is made from the system
// secret, since the database has only signatures.
func (p protocol) successor(token, secret string) string {
	if p.generation.name != "2.0" || p.config.Grace <= 0 {
		return newToken(p.generation.refresh)
	}
	return p.generation.refresh + base64.RawURLEncoding.EncodeToString(derivedMAC("refresh token", secret, token))
}

// RefreshToken is RFC 6749, section 6. A narrower scope may be asked for; the refresh token keeps the whole, so that a
// scope that the client gets back is there again.
func (p protocol) RefreshToken(ctx context.Context, r *op.ClientRequest[oidc.RefreshTokenRequest]) (*op.Response, error) {
	a := r.Client.(app)
	var out *issued
	var err error
	for _, secret := range p.config.systemSecrets() { // a retry may have been begun with the other one
		err = p.store.Rotate(ctx, p.generation.signature(r.Data.RefreshToken), a.ID, func(used store.Token) (store.Pair, error) {
			scope, err := still(a, used.Scope, r.Data.Scopes)
			if err != nil {
				return store.Pair{}, err
			}
			var pair store.Pair
			out, pair = p.issue(a, used, scope, p.successor(r.Data.RefreshToken, secret))
			return pair, nil
		})
		if !errors.Is(err, store.ErrUsed) {
			break
		}
	}
	if err != nil {
		return nil, refusal(grantError(err))
	}
	return p.tokens(out)
}

// ClientCredentialsExchange is RFC 6749, section 4.4.
func (p protocol) ClientCredentialsExchange(ctx context.Context, r *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	a := r.Client.(app)
	scope, audience := strings.Join(r.Data.Scope, " "), strings.Fields(r.Form.Get("audience"))
	if !store.Covers(a.Scope, scope) {
		return nil, refusal(&oauthError{Status: http.StatusBadRequest, Code: "invalid_scope", Description: "the client may not ask for these scopes"})
	}
	if !within(a.Audience.List(), audience) {
		return nil, refusal(invalid("the client may not ask for this audience"))
	}
	out, pair := p.issue(a, store.Token{RequestID: p.generation.newChallenge(), ClientID: a.ID, Subject: a.ID, Scope: scope,
		Audience: store.NewDocument(audience), SessionData: store.NewDocument(grant{})}, scope, "")
	if err := p.store.Add(ctx, pair.Access); err != nil {
		return nil, refusal(grantError(err))
	}
	return op.NewResponse(out.response()), nil
}

func (o *issued) response() *oidc.AccessTokenResponse {
	return &oidc.AccessTokenResponse{AccessToken: o.access, RefreshToken: o.refresh, TokenType: oidc.BearerToken,
		ExpiresIn: uint64(o.lifetime.Seconds()), Scope: strings.Fields(o.from.Scope)}
}

// tokens answers with what has been committed, and an ID token where the scope has openid.
func (p protocol) tokens(o *issued) (*op.Response, error) {
	response := o.response()
	if store.Covers(o.from.Scope, oidc.ScopeOpenID) {
		token, err := p.idToken(o)
		if err != nil {
			return nil, refuse(err)
		}
		response.IDToken = token
	}
	return op.NewResponse(response), nil
}

// idToken is OpenID Connect Core, section 2.
func (p protocol) idToken(o *issued) (string, error) {
	var g grant
	o.from.SessionData.Decode(&g)
	keys := p.keys.Load()
	claims := oidc.NewIDTokenClaims(p.config.Issuer, o.from.Subject, []string{o.from.ClientID}, time.Now().Add(p.config.IDLifetime),
		time.Unix(g.AuthTime, 0), g.Nonce, g.ACR, nil, o.from.ClientID, 0)
	claims.SessionID = g.SessionID
	claims.Claims = custom(g.IDToken)
	hash, err := oidc.ClaimHash(o.access, keys.alg)
	if err != nil {
		return "", err
	}
	claims.AccessTokenHash = hash
	return crypto.Sign(claims, keys.signer)
}

// custom leaves out claims that only the server may make.
func custom(claims map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range claims {
		switch k {
		case "iss", "sub", "aud", "exp", "iat", "nbf", "auth_time", "nonce", "acr", "azp", "at_hash", "sid", "client_id":
		default:
			out[k] = v
		}
	}
	return out
}
