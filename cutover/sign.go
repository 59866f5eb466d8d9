package cutover

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// signedHeaders are what a call means besides its method, path and body.
var signedHeaders = []string{"Tideover-Timestamp", "Tideover-Run", "Tideover-Term", "Tideover-Call", "Idempotency-Key"}

// Sign gives a call of an http participant its two headers: Tideover-Timestamp, in Unix seconds, and
// Tideover-Signature, "v1=" and the HMAC-SHA256 in hex, keyed with the secret, of these lines with a newline between
// them: method, path, the values of Tideover-Timestamp, Tideover-Run, Tideover-Term, Tideover-Call and Idempotency-Key
// (empty where there is none), and the body.
func Sign(r *http.Request, secret string, body []byte, now time.Time) {
	r.Header.Set("Tideover-Timestamp", strconv.FormatInt(now.Unix(), 10))
	r.Header.Set("Tideover-Signature", "v1="+hex.EncodeToString(signature(r, secret, body)))
}

// CheckSignature is the other end of Sign, for services in Go. Calls that were signed longer than age ago, or ahead, are
// refused: an eavesdropper can't send them again later.
func CheckSignature(r *http.Request, secret string, body []byte, now time.Time, age time.Duration) error {
	signed, err := strconv.ParseInt(r.Header.Get("Tideover-Timestamp"), 10, 64)
	if err != nil {
		return errors.New("no Tideover-Timestamp")
	}
	if off := now.Sub(time.Unix(signed, 0)).Abs(); off > age {
		return errors.New("signed too long ago, or by a clock that is ahead")
	}
	given, ok := strings.CutPrefix(r.Header.Get("Tideover-Signature"), "v1=")
	mac, err := hex.DecodeString(given)
	if !ok || err != nil || !hmac.Equal(mac, signature(r, secret, body)) {
		return errors.New("the Tideover-Signature does not fit the call")
	}
	return nil
}

func signature(r *http.Request, secret string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	lines := []string{r.Method, r.URL.EscapedPath()}
	for _, name := range signedHeaders {
		lines = append(lines, r.Header.Get(name))
	}
	mac.Write([]byte(strings.Join(lines, "\n") + "\n"))
	mac.Write(body)
	return mac.Sum(nil)
}
