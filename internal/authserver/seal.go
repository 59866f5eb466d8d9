package authserver

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
)

// systemSecrets are those that the server knows: the first seals, and each opens. To change it, tell all servers the new one
// as the other first, then the new one with the old as the other, then reseal the keys, then leave the old one out.
func (c Config) systemSecrets() []string {
	if c.OtherSecret == "" {
		return []string{c.SystemSecret}
	}
	return []string{c.SystemSecret, c.OtherSecret}
}

// derived is a key for one purpose.
func derived(purpose, secret string) []byte {
	sum := sha256.Sum256([]byte("tideover " + purpose + "\x00" + secret))
	return sum[:]
}

// derivedMAC is what only who knows a system secret can make of a text.
func derivedMAC(purpose, secret, text string) []byte {
	mac := hmac.New(sha256.New, derived(purpose, secret))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// aead is AES-256-GCM under a system secret, with another key for each purpose.
func aead(purpose, secret string) cipher.AEAD {
	block, err := aes.NewCipher(derived(purpose, secret))
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

// seal is plain under the first system secret.
func (c Config) seal(purpose string, plain, about []byte) []byte {
	return aead(purpose, c.SystemSecret).Seal(nil, nil, plain, about)
}

// open opens what any of the system secrets has sealed; old tells that it was not the first.
func (c Config) open(purpose string, sealed, about []byte) (plain []byte, old bool, err error) {
	for i, secret := range c.systemSecrets() {
		if plain, err = aead(purpose, secret).Open(nil, nil, sealed, about); err == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, errors.New("it cannot be opened with this system secret")
}

const keyPurpose = "signing key"

// sealKey binds the key's id to it, so that rows cannot be swapped.
func (c Config) sealKey(id string, plain []byte) string {
	return base64.RawStdEncoding.EncodeToString(c.seal(keyPurpose, plain, []byte(id)))
}

func (c Config) openKey(id, sealed string) (plain []byte, old bool, err error) {
	b, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil {
		return nil, false, err
	}
	return c.open(keyPurpose, b, []byte(id))
}
