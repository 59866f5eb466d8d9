package authserver

import (
	"net/http"
	"slices"
	"strings"
)

// harden says to a browser how little of an answer of the public listener it may use: no page frames it, no address of
// it is passed on.
func harden(h http.Header) {
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
}

// shared lets scripts of other origins read an endpoint that needs no cookie: who asks shows a token, a code with its
// verifier or a secret, or asks for what is public. Credentials of the browser are never asked for, so any origin will
// do (RFC 9700, section 2.6, keeps it from the authorization endpoint).
func shared(methods string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		if r.Method != http.MethodOptions {
			h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Allow", strings.ReplaceAll(methods, " ", ", "))
		if wanted := r.Header.Get("Access-Control-Request-Method"); slices.Contains(strings.Fields(methods), wanted) {
			h.Set("Access-Control-Allow-Methods", strings.ReplaceAll(methods, " ", ", "))
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			h.Set("Access-Control-Max-Age", "3600")
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
