package authserver

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// secrets makes and checks client secrets. bcrypt is slow on purpose, and a client shows its secret with every request,
// so a secret that was right once is remembered by an HMAC under a key that only this process has.
type secrets struct {
	cost int
	key  []byte
	mu   sync.Mutex
	seen map[[sha256.Size]byte]struct{}
}

const rememberedSecrets = 10_000

func newSecrets(cost int) *secrets {
	key := make([]byte, 32)
	rand.Read(key)
	return &secrets{cost: cost, key: key, seen: map[[sha256.Size]byte]struct{}{}}
}

// hash is the bcrypt hash of a secret. bcrypt reads 72 bytes; a longer secret is refused.
func (s *secrets) hash(secret string) (string, error) {
	if len(secret) > 72 {
		return "", invalid("client_secret has more than 72 bytes")
	}
	h, err := bcrypt.GenerateFromPassword([]byte(secret), s.cost)
	return string(h), err
}

// matches compares in constant time. The hash is part of what is remembered: a changed secret is forgotten with it.
func (s *secrets) matches(hash, secret string) bool {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(hash + "\x00" + secret))
	id := [sha256.Size]byte(mac.Sum(nil))
	s.mu.Lock()
	_, ok := s.seen[id]
	s.mu.Unlock()
	if ok {
		return true
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(secret)) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) >= rememberedSecrets {
		clear(s.seen)
	}
	s.seen[id] = struct{}{}
	return true
}
