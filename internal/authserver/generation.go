package authserver

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// generation is what differs between the servers of two generations, beside their tables.
type generation struct {
	name                          string
	admin                         string // before every path of the admin API
	code, access, refresh, device string // before every code and token
	challenge                     int    // bytes of a challenge or verifier; the lengths tell the sides of an upgrade apart
}

func generationOf(name string) (generation, error) {
	switch name {
	case "1.0", "1.1":
		return generation{name: name, challenge: 16}, nil
	case "2.0":
		return generation{name: name, admin: "/admin", code: "to_ac_", access: "to_at_", refresh: "to_rt_", device: "to_dc_", challenge: 32}, nil
	}
	return generation{}, fmt.Errorf("generation %q has no server; there are 1.0, 1.1 and 2.0", name)
}

// newChallenge makes a challenge, verifier or id of a chain.
func (g generation) newChallenge() string {
	b := make([]byte, g.challenge)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// newToken makes a code or token with 256 bits of chance.
func newToken(prefix string) string {
	b := make([]byte, 32)
	rand.Read(b)
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// Signature is what the database keeps of a code, token or cookie: its SHA-256, in hex. The value has 256 bits of
// chance, so that it needs no salt and cannot be found from its signature.
func Signature(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// signature is Signature, or "" for what this generation cannot read: 1.1 knows nothing of 2.0's tokens, whereas 2.0
// goes on reading those of 1.1.
func (g generation) signature(token string) string {
	if g.access == "" && (strings.HasPrefix(token, "to_at_") || strings.HasPrefix(token, "to_rt_") || strings.HasPrefix(token, "to_ac_")) {
		return ""
	}
	return Signature(token)
}
