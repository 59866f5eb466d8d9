package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// push sends an authorization request beforehand.
func (s running) push(t *testing.T, app registered, change url.Values) (uri string, r reply) {
	t.Helper()
	form := url.Values{"client_id": {app.ID}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "state": {"a-state-of-mine"},
		"scope": {"openid offline_access photos"}, "code_challenge": {oauth2.S256ChallengeFromVerifier(pkce)}, "code_challenge_method": {"S256"}}
	for k, v := range change {
		form[k] = v
		if v == nil {
			form.Del(k)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Public+"/oauth2/par", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if app.Secret != "" {
		req.SetBasicAuth(url.QueryEscape(app.ID), url.QueryEscape(app.Secret))
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct {
		URI     string `json:"request_uri"`
		Expires int    `json:"expires_in"`
		Error   string `json:"error"`
	}
	if err := json.Unmarshal([]byte(text(t, res)), &out); err != nil {
		t.Errorf("%d %v", res.StatusCode, err)
	}
	if res.StatusCode == http.StatusCreated && (out.Expires < 5 || res.Header.Get("Cache-Control") != "no-store") {
		t.Errorf("expires in %d, %v", out.Expires, res.Header)
	}
	return out.URI, reply{Status: res.StatusCode, Header: res.Header, Error: out.Error}
}

func pushedRequests(t *testing.T, s running, _ bool) {
	app, other := s.register(t, nil), s.register(t, nil)
	public := s.register(t, map[string]any{"token_endpoint_auth_method": "none"})
	at := func(client, uri string, more url.Values) string {
		q := url.Values{"client_id": {client}, "request_uri": {uri}}
		for k, v := range more {
			q[k] = v
		}
		return s.Issuer + "/oauth2/auth?" + q.Encode()
	}
	for _, by := range []registered{app, public} {
		uri, r := s.push(t, by, nil)
		if r.Status != http.StatusCreated || !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") {
			t.Fatalf("%d %s", r.Status, uri)
		}
		// What stands beside it counts for nothing.
		v, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(), at(by.ID, uri, url.Values{"redirect_uri": {"https://evil.example/"}, "scope": {"openid"},
			"state": {"evil"}, "code_challenge": {strings.Repeat("a", 43)}}), redirectURI, thirdparty.Answers{Subject: "paula"})
		if err != nil || v.Code == "" || v.State != "a-state-of-mine" {
			t.Fatalf("%+v %v", v, err)
		}
		if r := s.exchange(t, by, v.Code); r.Status != 200 || r.Scope != "openid offline_access photos" {
			t.Errorf("%+v", r)
		}
	}
	uri, _ := s.push(t, app, nil)
	for name, to := range map[string]string{
		"another client": at(other.ID, uri, nil), "no client": s.Issuer + "/oauth2/auth?" + url.Values{"request_uri": {uri}}.Encode(),
		"changed": at(app.ID, uri[:len(uri)-4]+"AAAA", nil), "cut": at(app.ID, uri[:80], nil), "nothing": at(app.ID, "urn:ietf:params:oauth:request_uri:", nil),
		"made up": at(app.ID, "urn:ietf:params:oauth:request_uri:eyJjbGllbnRfaWQiOiJ4In0", nil),
	} {
		if a := s.ask(t, to); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.to)
		}
	}
	for name, tt := range map[string]struct {
		by     registered
		change url.Values
		status int
		code   string
	}{
		"wrong secret":      {registered{ID: app.ID, Secret: "wrong"}, nil, 401, "invalid_client"},
		"no secret":         {registered{ID: app.ID}, nil, 401, "invalid_client"},
		"unknown":           {registered{ID: "nobody", Secret: "x"}, nil, 401, "invalid_client"},
		"another's id":      {app, url.Values{"client_id": {other.ID}}, 400, "invalid_request"},
		"request_uri in it": {app, url.Values{"request_uri": {uri}}, 400, "invalid_request"},
		"request":           {app, url.Values{"request": {"x"}}, 400, "request_not_supported"},
		"redirect URI":      {app, url.Values{"redirect_uri": {"https://evil.example/"}}, 400, "invalid_request"},
		"response type":     {app, url.Values{"response_type": {"token"}}, 400, "unsupported_response_type"},
		"response fragment": {app, url.Values{"response_mode": {"fragment"}, "scope": {"admin"}}, 400, "invalid_scope"},
		"scope":             {app, url.Values{"scope": {"admin"}}, 400, "invalid_scope"},
		"audience":          {app, url.Values{"audience": {api}}, 400, "invalid_request"},
		"without PKCE":      {public, url.Values{"code_challenge": nil, "code_challenge_method": nil}, 400, "invalid_request"},
		"two scopes":        {app, url.Values{"scope": {"openid", "photos"}}, 400, "invalid_request"},
	} {
		if _, r := s.push(t, tt.by, tt.change); r.Status != tt.status || r.Error != tt.code {
			t.Errorf("%s: %d %q, want %d %q", name, r.Status, r.Error, tt.status, tt.code)
		}
	}
	// Nobody logs in by pushing, and a verifier that is pushed along spends nothing.
	if n := s.number(t, map[bool]string{true: `SELECT count(*) FROM oauth_flow WHERE client_id = $1`, false: `SELECT count(*) FROM oauth_login_request WHERE client_id = $1`}[s.generation == "2.0"], other.ID); n != 0 {
		t.Errorf("%d logins of a client that pushed nothing", n)
	}
	if _, r := s.push(t, other, url.Values{"login_verifier": {"x"}}); r.Status != http.StatusCreated {
		t.Errorf("%+v", r)
	}
	if r := raw(t, http.MethodGet, s.Public+"/oauth2/par?client_id="+app.ID, nil, ""); r.Status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", r.Status)
	}
}
