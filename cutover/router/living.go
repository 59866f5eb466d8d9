package router

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// livingTimeout bounds the question whether a token lives.
const livingTimeout = 2 * time.Second

// living asks the serving side, by introspection (RFC 7662), whether a token of a refresh answer is still active. What
// can't be asked does not live: the retry then goes to the server, which decides.
func (r *Router) living(ctx context.Context, a *answer) bool {
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if r.fronts.get("admin").profile.IntrospectPath == "" || json.Unmarshal(a.body, &tokens) != nil {
		return false
	}
	for _, token := range []string{tokens.Refresh, tokens.Access} {
		if token != "" && r.active(ctx, token) {
			return true
		}
	}
	return false
}

func (r *Router) active(ctx context.Context, token string) bool {
	ctx, cancel := context.WithTimeout(ctx, livingTimeout)
	defer cancel()
	form := url.Values{"token": {token}}.Encode()
	admin := r.fronts.get("admin")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, admin.profile.IntrospectPath, strings.NewReader(form))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	side := r.gate.serving()
	admin.aim(req.URL, side)
	resp, err := r.transports[side].RoundTrip(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var introspection struct {
		Active bool `json:"active"`
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&introspection) != nil {
		return false
	}
	return introspection.Active
}
