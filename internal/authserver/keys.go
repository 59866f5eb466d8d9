package authserver

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

// keyring is the signing keys, opened. The newest signs; all verify.
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

func (s *Server) loadKeys(ctx context.Context) (*keyring, error) {
	stored, err := s.store.SigningKeys(ctx, s.newKey)
	if err != nil {
		return nil, err
	}
	ring := &keyring{}
	for i, k := range stored {
		var private jose.JSONWebKey
		plain, err := s.unseal(k.ID, k.Data)
		if err == nil {
			err = private.UnmarshalJSON(plain)
		}
		if err != nil {
			return nil, &KeyError{ID: k.ID, Err: err}
		}
		ring.public.Keys = append(ring.public.Keys, private.Public())
		if i > 0 {
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

// newKey makes an RSA key for RS256, which every OpenID Connect client can verify (OpenID Connect Core, section 15.1).
func (s *Server) newKey() (store.Key, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return store.Key{}, err
	}
	id := rand.Text()
	plain, err := jose.JSONWebKey{Key: private, KeyID: id, Algorithm: string(jose.RS256), Use: "sig"}.MarshalJSON()
	if err != nil {
		return store.Key{}, err
	}
	return store.Key{ID: id, Algorithm: string(jose.RS256), Data: s.seal(id, plain)}, nil
}

// aead is AES-256-GCM under the system secret, with another key for each purpose.
func (s *Server) aead(purpose string) cipher.AEAD {
	sum := sha256.Sum256([]byte("tideover " + purpose + "\x00" + s.config.SystemSecret))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

const keyPurpose = "signing key"

// seal binds the key's id to it, so that rows cannot be swapped.
func (s *Server) seal(id string, plain []byte) string {
	return base64.RawStdEncoding.EncodeToString(s.aead(keyPurpose).Seal(nil, nil, plain, []byte(id)))
}

func (s *Server) unseal(id, sealed string) ([]byte, error) {
	b, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil {
		return nil, err
	}
	plain, err := s.aead(keyPurpose).Open(nil, nil, b, []byte(id))
	if err != nil {
		return nil, errors.New("it cannot be opened with this system secret")
	}
	return plain, nil
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
