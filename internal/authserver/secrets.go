package authserver

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/singleflight"
)

// secrets makes and checks client secrets. bcrypt is slow on purpose, and a client shows its secret with every request,
// so a secret that was right once is remembered by an HMAC under a key that only this process has.
//
// What is slow can be used against us: whoever sends wrong secrets has us hash them. So tries are counted (see attempts),
// and hashes wait for one of a few places: clients that exist for one set of them, names that nobody has for another,
// so that strangers take no place from clients.
type secrets struct {
	cost      int
	key       []byte
	hashes    func(kind string) // counts
	known     *attempts
	strangers *attempts
	flights   singleflight.Group // equal secrets are hashed once
	mu        sync.Mutex
	seen      map[[sha256.Size]byte]struct{}
}

const (
	rememberedSecrets = 10_000
	longestSecret     = 72               // bytes that bcrypt reads
	hashTimeout       = 10 * time.Second // how long a hash may wait for its turn
)

func newSecrets(cost int, hashes func(kind string)) *secrets {
	key := make([]byte, 32)
	rand.Read(key)
	if cost < bcrypt.MinCost { // as bcrypt itself does
		cost = bcrypt.DefaultCost
	}
	places := runtime.GOMAXPROCS(0)
	return &secrets{cost: cost, key: key, hashes: hashes, known: newAttempts(places, 1024), strangers: newAttempts(max(1, places/2), 64),
		seen: map[[sha256.Size]byte]struct{}{}}
}

// hash is the bcrypt hash of a secret. A secret that is longer than what bcrypt reads is refused.
func (s *secrets) hash(secret string) (string, error) {
	if len(secret) > longestSecret {
		return "", invalid("client_secret has more than 72 bytes")
	}
	h, err := bcrypt.GenerateFromPassword([]byte(secret), s.cost)
	return string(h), err
}

var (
	errWrongSecret = &oauthError{Status: http.StatusUnauthorized, Code: "invalid_client", Description: "client authentication failed"}
	errTooMany     = &oauthError{Status: http.StatusTooManyRequests, Code: "temporarily_unavailable", Description: "too many wrong secrets; try again later"}
)

// check compares a secret with a client's hash, or, for "", with that of nobody, which takes as long. Who is the client
// as it calls itself, and its address: tries are counted by that, whereas a right secret is remembered wherever it comes
// from. The hash is part of what is remembered: a changed secret is forgotten with it.
func (s *secrets) check(ctx context.Context, hash, who, secret string) error {
	if secret == "" || len(secret) > longestSecret {
		return errWrongSecret
	}
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(hash + "\x00" + secret))
	id := [sha256.Size]byte(mac.Sum(nil))
	s.mu.Lock()
	_, ok := s.seen[id]
	s.mu.Unlock()
	if ok {
		return nil
	}
	answer := s.flights.DoChan(string(id[:])+who, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hashTimeout) // others wait for it, too
		defer cancel()
		err := s.compare(ctx, hash, who, secret)
		if err == nil {
			s.remember(id)
		}
		return nil, err
	})
	select {
	case a := <-answer:
		return a.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// compare hashes, when it is its turn.
func (s *secrets) compare(ctx context.Context, hash, who, secret string) error {
	tries, kind := s.known, "known"
	if _, err := bcrypt.Cost([]byte(hash)); err != nil {
		tries, kind, hash = s.strangers, "unknown", s.nobody()
	}
	if !tries.take(who, time.Now()) {
		return errTooMany
	}
	err := tries.turn(ctx, func() error {
		s.hashes(kind)
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(secret))
	})
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return errWrongSecret
	}
	tries.giveBack(who)
	return err
}

// nobody is a hash of the server's cost that no secret has.
func (s *secrets) nobody() string { return fmt.Sprintf("$2a$%02d$%s", s.cost, strings.Repeat("a", 53)) }

func (s *secrets) remember(id [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) >= rememberedSecrets {
		clear(s.seen)
	}
	s.seen[id] = struct{}{}
}
