package authserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/authserver/store"
)

// liveSecrets is what lies in a client's secret_hash: the hash of its secret and, where it was rotated, that of the one before
// with the moment at which it ends, "<hash> <Unix seconds>:<hash>". A text that has always been there holds both, so that an
// upgrade carries a rotation along.
//
// A secret that the server has made has 256 bits of chance, and needs no bcrypt: rotated ones are kept as their SHA-256. So a
// wrong secret costs one bcrypt, however many are live.
type liveSecrets struct {
	current, previous string
	until             time.Time
}

const fastHash = "sha256$"

func parseSecrets(stored string) (l liveSecrets) {
	current, rest, two := strings.Cut(stored, " ")
	l.current = current
	if until, previous, ok := strings.Cut(rest, ":"); two && ok {
		if seconds, err := strconv.ParseInt(until, 10, 64); err == nil {
			l.previous, l.until = previous, time.Unix(seconds, 0)
		}
	}
	return l
}

func (l liveSecrets) String() string {
	if l.previous == "" {
		return l.current
	}
	return l.current + " " + strconv.FormatInt(l.until.Unix(), 10) + ":" + l.previous
}

func (l liveSecrets) at(now time.Time) []string {
	if l.previous == "" || !now.Before(l.until) {
		return []string{l.current}
	}
	return []string{l.current, l.previous}
}

// rotated has a new secret, which the server has made, beside the one that there is, for a while.
func (l liveSecrets) rotated(secret string, keep time.Duration, now time.Time) liveSecrets {
	next := liveSecrets{current: fastHash + Signature(secret)}
	if keep > 0 {
		next.previous, next.until = l.current, now.Add(keep)
	}
	return next
}

// checkLive looks whether the secret is one of a client's. What is stored is "" for nobody.
func (s *secrets) checkLive(ctx context.Context, stored, who, secret string, now time.Time) error {
	slow := ""
	for _, hash := range parseSecrets(stored).at(now) {
		want, fast := strings.CutPrefix(hash, fastHash)
		if !fast {
			slow = hash
			continue
		}
		sum := sha256.Sum256([]byte(secret))
		if secret != "" && subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(want)) == 1 {
			return nil
		}
	}
	return s.check(ctx, slow, who, secret)
}

const (
	keptSecret        = 24 * time.Hour
	longestKeptSecret = 90 * 24 * time.Hour
)

// errNoSecret is the answer for a client that has none to rotate.
var errNoSecret = invalid("the client has no secret")

// rotateSecret gives a client a new secret. The one of before works on for a while; one of before that ends.
func rotateSecret(ctx context.Context, clients store.Clients, id string, keep time.Duration) (secret string, err error) {
	if keep < 0 || keep > longestKeptSecret {
		return "", invalid("the old secret may be kept for 0 to 90 days")
	}
	c, err := clients.Client(ctx, id)
	if err != nil {
		return "", err
	}
	if secretless(c.AuthMethod) || c.SecretHash == "" {
		return "", errNoSecret
	}
	secret = newToken("")
	next := parseSecrets(c.SecretHash).rotated(secret, keep, time.Now())
	return secret, clients.SetSecret(ctx, id, c.SecretHash, next.String())
}

// endOldSecret leaves a client the newest of its secrets alone.
func endOldSecret(ctx context.Context, clients store.Clients, id string) error {
	c, err := clients.Client(ctx, id)
	if err != nil {
		return err
	}
	l := parseSecrets(c.SecretHash)
	if l.previous == "" {
		return nil
	}
	return clients.SetSecret(ctx, id, c.SecretHash, l.current)
}

// rotateClientSecret and endClientSecret are the admin API's.
func (s *Server) rotateClientSecret(r *http.Request) (int, any, error) {
	body := struct {
		Keep *int64 `json:"keep_seconds"`
	}{}
	if err := read(r, &body); err != nil {
		return 0, nil, err
	}
	keep := keptSecret
	if body.Keep != nil {
		if *body.Keep < 0 || *body.Keep > int64(longestKeptSecret.Seconds()) {
			return 0, nil, invalid("field keep_seconds is not between 0 and 90 days")
		}
		keep = time.Duration(*body.Keep) * time.Second
	}
	id := r.PathValue("id")
	secret, err := rotateSecret(r.Context(), s.audited(r, "rotate secret", id, "", map[string]any{"keep_seconds": int64(keep.Seconds())}), id, keep)
	if err != nil {
		return 0, nil, err
	}
	status, out, err := s.stored(r, http.StatusOK, id, secret)
	if err != nil { // it is committed, and this is the only time that the secret is shown
		return http.StatusOK, map[string]string{"client_id": id, "client_secret": secret}, nil
	}
	return status, out, nil
}

func (s *Server) endClientSecret(r *http.Request) (int, any, error) {
	id := r.PathValue("id")
	err := endOldSecret(r.Context(), s.audited(r, "end old secret", id, "", nil), id)
	if errors.Is(err, store.ErrUsed) {
		return 0, nil, &oauthError{Status: http.StatusConflict, Code: "conflict", Description: "somebody else has just changed the secret"}
	}
	return http.StatusNoContent, nil, err
}
