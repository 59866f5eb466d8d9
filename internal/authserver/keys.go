package authserver

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

// keyring is the signing keys, opened. One signs; all verify.
type keyring struct {
	signer jose.Signer
	alg    jose.SignatureAlgorithm
	public jose.JSONWebKeySet
}

// KeyError is a signing key that this server cannot open.
type KeyError struct {
	ID  string
	Err error
}

func (e *KeyError) Error() string { return fmt.Sprintf("signing key %q: %v", e.ID, e.Err) }
func (e *KeyError) Unwrap() error { return e.Err }

// Hint says what to look at.
func (e *KeyError) Hint() string {
	return "the key was sealed with another system secret; set TIDEOVER_SYSTEM_SECRET to that of the server that made it"
}

// loadKeys opens all keys. Where there is none, make makes the first.
func (s *Server) loadKeys(ctx context.Context, make func() (store.Key, error)) (*keyring, error) {
	stored, err := s.store.SigningKeys(ctx, make)
	if err != nil {
		return nil, err
	}
	ring := &keyring{}
	signing := signs(stored)
	for i, k := range stored {
		var private jose.JSONWebKey
		plain, _, err := s.config.openKey(k.ID, k.Data)
		if err == nil {
			err = private.UnmarshalJSON(plain)
		}
		if err != nil {
			return nil, &KeyError{ID: k.ID, Err: err}
		}
		ring.public.Keys = append(ring.public.Keys, private.Public())
		if i != signing {
			continue
		}
		ring.alg = jose.SignatureAlgorithm(private.Algorithm)
		ring.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: ring.alg, Key: private}, (&jose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			return nil, &KeyError{ID: k.ID, Err: err}
		}
	}
	return ring, nil
}

// signs is which of the keys signs, the newest first: the newest whose time has come. Any other verifies: those of before,
// and one that is published before it signs, so that apps know it by then.
func signs(stored []store.Key) int {
	for i, k := range stored {
		if k.Due {
			return i
		}
	}
	return len(stored) - 1
}

// newKey makes an RSA key for RS256, which every OpenID Connect client can verify (OpenID Connect Core, section 15.1).
func (c Config) newKey() (store.Key, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return store.Key{}, err
	}
	id := rand.Text()
	plain, err := jose.JSONWebKey{Key: private, KeyID: id, Algorithm: string(jose.RS256), Use: "sig"}.MarshalJSON()
	if err != nil {
		return store.Key{}, err
	}
	return store.Key{ID: id, Algorithm: string(jose.RS256), Data: c.sealKey(id, plain)}, nil
}

// VerifySignature is op's way to check an ID token that comes back as a hint.
func (k *keyring) VerifySignature(_ context.Context, jws *jose.JSONWebSignature) ([]byte, error) {
	id, alg := oidc.GetKeyIDAndAlg(jws)
	key, err := oidc.FindMatchingKey(id, oidc.KeyUseSignature, alg, k.public.Keys...)
	if err != nil {
		return nil, err
	}
	return jws.Verify(&key)
}

// hint opens an ID token of ours that comes back; an expired one will do.
func (s *Server) hint(ctx context.Context, token string) (*oidc.IDTokenClaims, error) {
	verifier := op.NewIDTokenHintVerifier(s.config.Issuer, s.keys.Load())
	claims, err := op.VerifyIDTokenHint[*oidc.IDTokenClaims](ctx, token, verifier)
	if err != nil && !errors.As(err, &op.IDTokenHintExpiredError{}) {
		return nil, err
	}
	return claims, nil
}
