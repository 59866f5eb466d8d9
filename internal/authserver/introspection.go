package authserver

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

// introspection is RFC 7662, section 2.2, with Hydra's additions.
type introspection struct {
	Active    bool           `json:"active"`
	Scope     string         `json:"scope,omitempty"`
	ClientID  string         `json:"client_id,omitempty"`
	Subject   string         `json:"sub,omitempty"`
	Audience  []string       `json:"aud,omitempty"`
	Issuer    string         `json:"iss,omitempty"`
	ExpiresAt int64          `json:"exp,omitempty"`
	IssuedAt  int64          `json:"iat,omitempty"`
	NotBefore int64          `json:"nbf,omitempty"`
	TokenType string         `json:"token_type,omitempty"`
	TokenUse  string         `json:"token_use,omitempty"` // "access_token" or "refresh_token"
	Extra     map[string]any `json:"ext,omitempty"`
}

// introspect is the admin API's: whoever reaches it may ask about any token.
func (s *Server) introspect(r *http.Request) (int, any, error) {
	if fault := checkForm(r); fault != nil {
		return 0, nil, fault
	}
	token := r.PostForm.Get("token")
	if token == "" {
		return 0, nil, invalid("form parameter token is missing")
	}
	out, err := s.look(r.Context(), token, r.PostForm.Get("scope"), func(store.Token, string) bool { return true })
	return http.StatusOK, out, err
}

// Introspect is the public endpoint, for clients that have a secret. A client learns of its own tokens, and of access
// tokens whose audience it is; any other token is as good as none to it (RFC 7662, section 2.2).
func (p protocol) Introspect(ctx context.Context, r *op.Request[op.IntrospectionRequest]) (*op.Response, error) {
	client, err := p.VerifyClient(ctx, &op.Request[op.ClientCredentials]{Header: r.Header, Data: r.Data.ClientCredentials})
	if err != nil {
		return nil, err
	}
	id := client.GetID()
	out, err := p.look(ctx, r.Data.Token, "", func(t store.Token, use string) bool {
		return t.ClientID == id || use == "access_token" && slices.Contains(t.Audience.List(), id)
	})
	if err != nil {
		return nil, refuse(err)
	}
	return op.NewResponse(out), nil
}

// look looks at the token alone, not at the consent or client that it comes from.
func (s *Server) look(ctx context.Context, token, scope string, may func(t store.Token, use string) bool) (introspection, error) {
	signature, use := s.generation.signature(token), "access_token"
	t, err := s.store.Access(ctx, signature)
	if errors.Is(err, store.ErrNotFound) {
		use = "refresh_token"
		t, err = s.store.Refresh(ctx, signature)
	}
	if errors.Is(err, store.ErrNotFound) {
		return introspection{}, nil
	}
	if err != nil {
		return introspection{}, err
	}
	if !t.Active || t.Expired || !store.Covers(t.Scope, scope) || !may(t, use) {
		return introspection{}, nil
	}
	var g grant
	t.SessionData.Decode(&g)
	return introspection{Active: true, Scope: t.Scope, ClientID: t.ClientID, Subject: t.Subject,
		Audience: t.Audience.List(), Issuer: s.config.Issuer, ExpiresAt: t.ExpiresAt.Unix(), IssuedAt: t.RequestedAt.Unix(),
		NotBefore: t.RequestedAt.Unix(), TokenType: "Bearer", TokenUse: use, Extra: g.AccessToken}, nil
}
