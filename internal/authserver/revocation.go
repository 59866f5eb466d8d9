package authserver

import (
	"context"
	"errors"
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

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
