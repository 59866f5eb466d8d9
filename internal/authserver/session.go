package authserver

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

// hint opens an ID token of ours that comes back; an expired one will do.
func (s *Server) hint(ctx context.Context, token string) (*oidc.IDTokenClaims, error) {
	verifier := op.NewIDTokenHintVerifier(s.config.Issuer, s.keys.Load())
	claims, err := op.VerifyIDTokenHint[*oidc.IDTokenClaims](ctx, token, verifier)
	if err != nil && !errors.As(err, &op.IDTokenHintExpiredError{}) {
		return nil, err
	}
	return claims, nil
}

// EndSession is OpenID Connect RP-Initiated Logout 1.0: it ends the session that the hint names, else the browser's.
// Tokens live on.
func (p protocol) EndSession(ctx context.Context, r *op.Request[oidc.EndSessionRequest]) (*op.Redirect, error) {
	client, id := r.Data.ClientID, ""
	if r.Data.IdTokenHint != "" {
		claims, err := p.hint(ctx, r.Data.IdTokenHint)
		if err != nil || client != "" && client != claims.GetAuthorizedParty() {
			return nil, oidc.ErrInvalidRequest().WithDescription("the id_token_hint is invalid")
		}
		client, id = claims.GetAuthorizedParty(), claims.SessionID
	} else if v := cookieValue(r.Header, cookieSession); v != "" {
		id = Signature(v)
	}
	target := p.config.Issuer + pathLoggedOut
	if to := r.Data.PostLogoutRedirectURI; to != "" {
		c, err := p.store.Client(ctx, client)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, refuse(err)
		}
		if err != nil || !slices.Contains(c.PostLogoutRedirectURIs.List(), to) {
			return nil, oidc.ErrInvalidRequest().WithDescription("the post_logout_redirect_uri is not registered")
		}
		target = to
		if r.Data.State != "" {
			target = withQuery(target, "state", r.Data.State)
		}
	}
	if id != "" {
		if err := p.store.EndSession(ctx, id); err != nil {
			return nil, refuse(err)
		}
	}
	redirect := op.NewRedirect(target)
	setCookie(redirect, p.cookie(cookieSession, "", -1))
	return redirect, nil
}

// Revocation is RFC 7009: the token's whole chain ends. An unknown token is revoked enough.
func (p protocol) Revocation(ctx context.Context, r *op.ClientRequest[oidc.RevocationRequest]) (*op.Response, error) {
	err := p.store.Revoke(ctx, p.generation.signature(r.Data.Token), r.Client.GetID())
	switch {
	case err == nil, errors.Is(err, store.ErrNotFound):
		return op.NewResponse(nil), nil
	case errors.Is(err, store.ErrNotYours):
		return nil, refusal(&oauthError{Status: http.StatusBadRequest, Code: "unauthorized_client", Description: "the token is another client's"})
	}
	return nil, refuse(err)
}
