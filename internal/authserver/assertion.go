package authserver

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

// assertionAlgs are those by which a client may sign who it is. None of them takes a secret, so that a public key is taken
// for no secret.
var assertionAlgs = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

const (
	authPrivateKey    = string(oidc.AuthMethodPrivateKeyJWT)
	longestAssertion  = 8 << 10
	assertionLeeway   = 30 * time.Second // between our clock and the client's
	assertionLifetime = time.Hour        // the longest that one may have, as libraries make them; for so long its id is kept
	mostClientKeys    = 20
)

// assertions is the part of the store that serves clients with keys, or nil where the generation has none.
func (s *Server) assertions() store.Assertions {
	a, _ := s.store.(store.Assertions)
	return a
}

// byAssertion authenticates a client by what its key has signed (RFC 7523, section 3, and OpenID Connect Core, section 9).
// Every refusal is the same to it.
func (s *Server) byAssertion(ctx context.Context, c *op.ClientCredentials) (op.Client, error) {
	used := s.assertions()
	if used == nil || c.ClientAssertionType != oidc.ClientAssertionTypeJWTAssertion || c.ClientSecret != "" || len(c.ClientAssertion) > longestAssertion {
		return nil, errWrongSecret
	}
	token, err := jwt.ParseSigned(c.ClientAssertion, assertionAlgs)
	if err != nil || len(token.Headers) != 1 {
		return nil, errWrongSecret
	}
	var said jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&said); err != nil || said.Subject == "" || said.Issuer != said.Subject || c.ClientID != "" && c.ClientID != said.Subject {
		return nil, errWrongSecret
	}
	client, err := s.store.Client(ctx, said.Subject)
	if errors.Is(err, store.ErrNotFound) || err == nil && client.AuthMethod != authPrivateKey {
		return nil, errWrongSecret
	}
	if err != nil {
		return nil, err
	}
	if !s.current(said, time.Now()) || !s.signed(ctx, token, client) {
		return nil, errWrongSecret
	}
	left := time.Until(said.Expiry.Time()) + 2*assertionLeeway
	if err := used.UseAssertion(ctx, Signature(client.ID+"\x00"+said.ID), left); errors.Is(err, store.ErrUsed) {
		return nil, errWrongSecret
	} else if err != nil {
		return nil, err
	}
	return app{Client: client}, nil
}

// current tells a proof that is for us, now, and for a short time, and can be told from every other.
func (s *Server) current(c jwt.Claims, now time.Time) bool {
	ours := []string{s.config.Issuer, s.config.Issuer + pathToken, s.config.Issuer + pathPushed} // RFC 9126, section 2
	switch {
	case c.ID == "" || c.Expiry == nil || len(c.Audience) == 0:
		return false
	case slices.ContainsFunc(c.Audience, func(a string) bool { return !slices.Contains(ours, a) }): // it is shown to another server, too
		return false
	case now.After(c.Expiry.Time().Add(assertionLeeway)) || c.Expiry.Time().After(now.Add(assertionLifetime+assertionLeeway)):
		return false
	case c.NotBefore != nil && now.Add(assertionLeeway).Before(c.NotBefore.Time()):
		return false
	case c.IssuedAt != nil && now.Add(assertionLeeway).Before(c.IssuedAt.Time()):
		return false
	}
	return true
}

// signed looks for the key of the client that has signed it. Where its keys lie elsewhere, they are fetched again for a key
// that is new.
func (s *Server) signed(ctx context.Context, token *jwt.JSONWebToken, c store.Client) bool {
	h := token.Headers[0]
	if c.JWKSURI == "" {
		set, err := readKeys([]byte(c.JWKS))
		return err == nil && verifies(token, candidates(set, h))
	}
	for _, fresh := range []bool{false, true} {
		set, err := s.clientKeys.of(ctx, c.JWKSURI, fresh)
		if err != nil {
			return false
		}
		if keys := candidates(set, h); len(keys) > 0 && verifies(token, keys) {
			return true
		}
	}
	return false
}

// candidates are the keys that the header can mean.
func candidates(set *jose.JSONWebKeySet, h jose.Header) (keys []jose.JSONWebKey) {
	for _, k := range set.Keys {
		if (h.KeyID == "" || k.KeyID == h.KeyID) && (k.Algorithm == "" || k.Algorithm == h.Algorithm) && k.Use != "enc" {
			keys = append(keys, k)
		}
	}
	return keys
}

func verifies(token *jwt.JSONWebToken, keys []jose.JSONWebKey) bool {
	return slices.ContainsFunc(keys, func(k jose.JSONWebKey) bool {
		var claims jwt.Claims
		return token.Claims(k.Key, &claims) == nil
	})
}

// readKeys reads a JWK set (RFC 7517, section 5). Private and shared keys are none that a server should be told; keys of a
// kind that nobody knows are left out (section 5).
func readKeys(text []byte) (*jose.JSONWebKeySet, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, errors.New("is no JWK set")
	}
	if len(raw.Keys) > mostClientKeys {
		return nil, fmt.Errorf("has more than %d keys", mostClientKeys)
	}
	set := &jose.JSONWebKeySet{}
	for _, r := range raw.Keys {
		var k jose.JSONWebKey
		if err := json.Unmarshal(r, &k); err != nil {
			continue
		}
		if !k.Valid() || !k.IsPublic() {
			return nil, errors.New("has a key that is not public")
		}
		if pub, ok := k.Key.(*rsa.PublicKey); ok && pub.N.BitLen() < 2048 {
			return nil, errors.New("has an RSA key of fewer than 2048 bits")
		}
		set.Keys = append(set.Keys, k)
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("has no key that can be used")
	}
	return set, nil
}
