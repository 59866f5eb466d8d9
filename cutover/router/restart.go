package router

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/tideover/tideover/plan"
)

func parseForm(body []byte) (url.Values, error) { return url.ParseQuery(string(body)) }

// followBrowser looks at the answer to an authorization request. Where a side refuses a verifier that the other side
// has given out, the browser is sent back to the authorization request, and the login begins anew.
func (x *exchange) followBrowser(resp *http.Response) {
	query := x.in.URL.Query()
	verifier := first(query, verifiers)
	if verifier != "" && isError(resp) {
		original := x.router.logins.restart(verifier, x.outcome.side)
		if original == "" && resp.StatusCode >= 400 && x.router.gate.switchedWithin(x.router.config.Limits.LoginTTL) {
			original = withoutVerifier(x.in.URL) // begun at another replica
		}
		if original != "" {
			x.router.stats.restarted()
			replace(resp, http.StatusFound, "", http.Header{"Location": {x.listener.at(original)}})
			return
		}
	}
	x.router.logins.authorized(x.outcome.side, x.authorization(), query, resp.Header.Get("Location"))
}

// longestRequest is the longest authorization request that is remembered; browsers send none that is longer.
const longestRequest = 16 << 10

// authorization is the request of a login as the browser would have to send it again: its path and its query. Which host
// it was sent to is what the client says, and nothing that anybody else may be sent to.
func (x *exchange) authorization() string {
	q := x.in.URL.Query()
	if x.in.Method == http.MethodPost {
		form, _ := parseForm(x.body)
		for name, values := range form {
			q[name] = values
		}
	}
	for _, v := range verifiers {
		q.Del(v)
	}
	if original := x.in.URL.EscapedPath() + "?" + q.Encode(); len(original) <= longestRequest {
		return original
	}
	return ""
}

// at is where a browser that is at this server sends an authorization request again: at the configured URL, or at the
// host where it is.
func (l *listener) at(original string) string {
	if l.reached == nil {
		return original
	}
	return l.reached.String() + original
}

// elsewhere is where a login app sends a browser with an authorization request: to the configured URL, or to what the
// serving side itself calls its authorization endpoint. It is "" where neither is known, or no request.
func (x *exchange) elsewhere(original string) string {
	public := x.router.fronts.get("public")
	switch {
	case original == "":
		return ""
	case public.reached != nil:
		return public.at(original)
	}
	endpoint := x.router.authorizationEndpoint(x.in.Context(), public, x.outcome.side)
	if _, query, ok := strings.Cut(original, "?"); ok && endpoint != "" {
		return endpoint + "?" + query
	}
	return ""
}

// discoveryPath is that of OpenID Connect Discovery 1.0 section 4.
const discoveryPath = "/.well-known/openid-configuration"

// authorizationEndpoint asks a side's public listener, under the address that the router itself has for it: what a client
// says of hosts has no part in the answer.
func (r *Router) authorizationEndpoint(ctx context.Context, public *listener, side plan.Side) string {
	ctx, cancel := context.WithTimeout(ctx, livingTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, discoveryPath, nil)
	if err != nil {
		return ""
	}
	if proto := r.config.ForwardedProto; proto != "" {
		req.Header.Set("X-Forwarded-Proto", proto)
	}
	public.aim(req.URL, side)
	resp, err := r.transports[side].RoundTrip(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var discovery struct {
		Endpoint string `json:"authorization_endpoint"`
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&discovery) != nil {
		return ""
	}
	if u, err := base("authorization endpoint", discovery.Endpoint); err != nil || u.Fragment != "" {
		return ""
	}
	return discovery.Endpoint
}

// followApp looks at what a login app is told about a challenge. Where the serving side does not know a challenge that
// the other side has given out, the app is answered as if the login had to be done again: an accept gets the redirect
// to the authorization request, and a question the 410 that stands for a request which has been dealt with.
func (x *exchange) followApp(resp *http.Response) {
	challenge := first(x.in.URL.Query(), challenges)
	if challenge == "" {
		return
	}
	if resp.StatusCode >= 400 && resp.StatusCode < 500 {
		to := x.elsewhere(x.router.logins.restart(challenge, x.outcome.side))
		if to == "" {
			return
		}
		status := http.StatusOK
		if x.in.Method == http.MethodGet {
			status = http.StatusGone
		}
		body, _ := json.Marshal(map[string]string{"redirect_to": to})
		x.router.stats.restarted()
		replace(resp, status, string(body), http.Header{"Content-Type": {"application/json"}})
		return
	}
	if _, long := resp.Body.(*streamed); long || resp.StatusCode != http.StatusOK || !x.class.waits() {
		return
	}
	raw, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	var answer struct {
		RedirectTo string `json:"redirect_to"`
	}
	if err == nil && json.Unmarshal(raw, &answer) == nil && answer.RedirectTo != "" {
		x.router.logins.decided(challenge, answer.RedirectTo, strings.HasSuffix(x.in.URL.Path, "/reject"))
	}
}

func replace(resp *http.Response, status int, body string, header http.Header) {
	resp.Body.Close()
	header.Set("Cache-Control", "no-store")
	resp.StatusCode, resp.Status, resp.Header, resp.Trailer = status, http.StatusText(status), header, nil
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}
