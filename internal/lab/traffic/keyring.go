package traffic

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// keyring keeps the signing keys that the server has shown, to check ID tokens with.
type keyring struct {
	mu   sync.Mutex
	keys map[string]jose.JSONWebKey
}

var idTokenAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.ES256, jose.ES384, jose.EdDSA}

// learn takes keys from a JWK set and returns their thumbprints by id (RFC 7638).
func (k *keyring) learn(set jose.JSONWebKeySet) map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		k.keys = map[string]jose.JSONWebKey{}
	}
	prints := map[string]string{}
	for _, key := range set.Keys {
		sum, err := key.Thumbprint(crypto.SHA256)
		if err != nil {
			continue
		}
		prints[key.KeyID] = base64.RawURLEncoding.EncodeToString(sum)
		if _, known := k.keys[key.KeyID]; !known {
			k.keys[key.KeyID] = key
		}
	}
	return prints
}

// read puts an ID token's claims into the record and checks its signature. It is false where the key has not been seen.
// nonce is what the login asked for; a refreshed ID token need not have one (OpenID Connect Core section 12.2).
func (k *keyring) read(i *Issued, token, nonce string, refreshed bool) (known bool) {
	signed, err := jose.ParseSignedCompact(token, idTokenAlgorithms)
	if err != nil {
		i.IDForged = true
		i.IDKey = "none"
		return true
	}
	i.IDKey = signed.Signatures[0].Protected.KeyID
	k.mu.Lock()
	key, known := k.keys[i.IDKey]
	k.mu.Unlock()
	if known {
		_, err := signed.Verify(key)
		i.IDForged = err != nil
	}
	var claims struct {
		Issuer   string          `json:"iss"`
		Subject  string          `json:"sub"`
		Audience json.RawMessage `json:"aud"`
		Expires  int64           `json:"exp"`
		Nonce    *string         `json:"nonce"`
	}
	if json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &claims) != nil {
		i.IDForged = true
		return true
	}
	i.IDWrongNonce = claims.Nonce == nil && !refreshed || claims.Nonce != nil && *claims.Nonce != nonce
	i.IDIssuer, i.IDSubject, i.IDExpiresIn = claims.Issuer, claims.Subject, max(claims.Expires-time.Now().Unix(), 0)
	var list []string
	if json.Unmarshal(claims.Audience, &i.IDClient) != nil && json.Unmarshal(claims.Audience, &list) == nil && len(list) > 0 {
		i.IDClient = list[0]
	}
	return known
}
