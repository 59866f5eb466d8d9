package router

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
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
			replace(resp, http.StatusFound, "", http.Header{"Location": {original}})
			return
		}
	}
	x.router.logins.authorized(x.outcome.side, x.originalURL(), query, resp.Header.Get("Location"))
}

// originalURL is the authorization request as the browser would have to send it again.
func (x *exchange) originalURL() string {
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
	u := url.URL{Scheme: x.router.config.ForwardedProto, Host: x.in.Host, Path: x.in.URL.Path, RawQuery: q.Encode()}
	if u.Scheme == "" {
		u.Scheme = "http"
		if x.in.TLS != nil {
			u.Scheme = "https"
		}
	}
	return u.String()
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
		original := x.router.logins.restart(challenge, x.outcome.side)
		if original == "" {
			return
		}
		status := http.StatusOK
		if x.in.Method == http.MethodGet {
			status = http.StatusGone
		}
		body, _ := json.Marshal(map[string]string{"redirect_to": original})
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
