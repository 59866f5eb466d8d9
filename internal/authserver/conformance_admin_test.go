package authserver_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/thirdparty"
)

func consents(t *testing.T, s running, strict bool) {
	one, two := s.register(t, nil), s.register(t, nil)
	a := thirdparty.Answers{Subject: "carl", RememberConsent: true}
	first, visit := s.tokens(t, one, a)
	second, _ := s.tokens(t, two, a)
	var listed []struct {
		Request struct {
			Challenge string     `json:"challenge"`
			Client    registered `json:"client"`
		} `json:"consent_request"`
		GrantScope []string `json:"grant_scope"`
	}
	s.call(t, 200, http.MethodGet, "/oauth2/auth/sessions/consent?subject=carl", nil, &listed)
	if len(listed) != 2 || listed[1].Request.Challenge != visit.ConsentChallenge || listed[1].Request.Client.ID != one.ID || len(listed[1].GrantScope) != 3 {
		t.Fatalf("listed: %+v", listed)
	}
	s.call(t, 400, http.MethodDelete, "/oauth2/auth/sessions/consent?subject=carl", nil, nil)
	s.call(t, 400, http.MethodDelete, "/oauth2/auth/sessions/consent?all=true", nil, nil)
	s.call(t, 204, http.MethodDelete, "/oauth2/auth/sessions/consent?subject=carl&client="+one.ID, nil, nil)
	if s.active(t, first.Access) || s.active(t, first.Refresh) || !s.active(t, second.Access) {
		t.Error("the wrong tokens live")
	}
	wantError(t, s.refresh(t, one, first.Refresh), 400, "invalid_grant")
	if s.number(t, chainRefresh, visit.ConsentChallenge) != 0 {
		t.Error("rows of the revoked consent are left")
	}
	s.call(t, 204, http.MethodDelete, "/oauth2/auth/sessions/consent?subject=carl&all=true", nil, nil)
	if s.active(t, second.Access) {
		t.Error("a token lives after all consents are revoked")
	}
	s.call(t, 200, http.MethodGet, "/oauth2/auth/sessions/consent?subject=carl", nil, &listed)
	if len(listed) != 0 {
		t.Errorf("still listed: %+v", listed)
	}
}

func logout(t *testing.T, s running, strict bool) {
	app := s.register(t, nil)
	b := thirdparty.NewBrowser(s.Target)
	a := thirdparty.Answers{Subject: "lena", RememberLogin: true, RememberConsent: true}
	v, err := b.Authorize(t.Context(), s.authURL(app, nil), redirectURI, a)
	if err != nil {
		t.Fatal(err)
	}
	r := s.exchange(t, app, v.Code)
	out := s.Issuer + "/oauth2/sessions/logout?" + url.Values{"id_token_hint": {r.ID}, "post_logout_redirect_uri": {redirectURI}, "state": {"bye"}}.Encode()
	to, err := b.Get(t.Context(), out)
	if err != nil || to != redirectURI+"?state=bye" {
		t.Fatalf("sent to %q, %v", to, err)
	}
	if s.number(t, `SELECT count(*) FROM oauth_session WHERE subject = $1`, "lena") != 0 {
		t.Error("the session is left")
	}
	if strict && (s.number(t, `SELECT count(*) FROM oauth_login_request WHERE challenge = $1`, v.LoginChallenge) != 0 ||
		s.number(t, `SELECT count(*) FROM oauth_consent_request WHERE challenge = $1 AND login_challenge IS NULL`, v.ConsentChallenge) != 1) {
		t.Error("the log-out did not leave an orphaned consent, as Hydra's does")
	}
	if !strict && s.number(t, `SELECT count(*) FROM oauth_flow WHERE consent_challenge = $1 AND session_id IS NULL`, v.ConsentChallenge) != 1 {
		t.Error("the flow did not survive its session")
	}
	if !s.active(t, r.Access) || s.refresh(t, app, r.Refresh).Status != 200 {
		t.Error("the log-out ended tokens")
	}
	if v, err = b.Authorize(t.Context(), s.authURL(app, nil), redirectURI, a); err != nil || v.LoginSkipped {
		t.Errorf("still logged in: %+v %v", v, err)
	}
	if _, err := b.Get(t.Context(), s.Issuer+"/oauth2/sessions/logout?post_logout_redirect_uri=https://evil.example/&client_id="+app.ID); err == nil {
		t.Error("the log-out redirects anywhere")
	}
}

func clients(t *testing.T, s running, strict bool) {
	app := s.register(t, map[string]any{"client_id": "my-app", "owner": "", "metadata": map[string]any{"a": []int{1}}, "contacts": []string{`"x"`}})
	want := ""
	if !strict {
		want = "unknown"
	}
	if app.ID != "my-app" || app.Owner != want {
		t.Errorf("%+v", app)
	}
	s.call(t, 409, http.MethodPost, "/clients", map[string]any{"client_id": "my-app"}, nil)
	var got struct {
		Contacts []string       `json:"contacts"`
		Metadata map[string]any `json:"metadata"`
		Secret   string         `json:"client_secret"`
	}
	s.call(t, 200, http.MethodGet, "/clients/my-app", nil, &got)
	if len(got.Contacts) != 1 || got.Contacts[0] != `"x"` || got.Metadata["a"] == nil || got.Secret != "" {
		t.Errorf("%+v", got)
	}
	var list []registered
	s.call(t, 200, http.MethodGet, "/clients?limit=1000", nil, &list)
	if len(list) == 0 {
		t.Error("no client is listed")
	}
	tokens, visit := s.tokens(t, app, thirdparty.Answers{})
	s.call(t, 204, http.MethodDelete, "/oauth2/tokens?client_id=my-app", nil, nil)
	if s.active(t, tokens.Access) || !s.active(t, tokens.Refresh) {
		t.Error("DELETE /oauth2/tokens takes access tokens only")
	}
	fresh := s.refresh(t, app, tokens.Refresh)
	s.call(t, 204, http.MethodDelete, "/clients/my-app", nil, nil)
	if s.active(t, fresh.Access) || s.active(t, fresh.Refresh) ||
		s.number(t, chainRefresh, visit.ConsentChallenge)+s.number(t, chainAccess, visit.ConsentChallenge) != 0 {
		t.Error("tokens of a deleted client are left")
	}
	wantError(t, s.refresh(t, app, fresh.Refresh), 401, "invalid_client")
	s.call(t, 404, http.MethodGet, "/clients/my-app", nil, nil)
	s.call(t, 404, http.MethodDelete, "/clients/my-app", nil, nil)
}

func clientCredentials(t *testing.T, s running, _ bool) {
	app := s.register(t, map[string]any{"audience": []string{"https://api.example"}})
	form := func(extra url.Values) url.Values {
		f := url.Values{"grant_type": {"client_credentials"}, "scope": {"photos"}}
		for k, v := range extra {
			f[k] = v
		}
		return f
	}
	r := s.post(t, "/oauth2/token", app, form(url.Values{"audience": {"https://api.example"}}))
	if r.Status != 200 || r.Refresh != "" || !s.active(t, r.Access) {
		t.Errorf("%+v", r)
	}
	var in struct {
		Subject  string   `json:"sub"`
		Audience []string `json:"aud"`
		Use      string   `json:"token_use"`
	}
	s.call(t, 200, http.MethodPost, "/oauth2/introspect", url.Values{"token": {r.Access}}, &in)
	if in.Subject != app.ID || len(in.Audience) != 1 || in.Use != "access_token" {
		t.Errorf("%+v", in)
	}
	wantError(t, s.post(t, "/oauth2/token", app, form(url.Values{"scope": {"admin"}})), 400, "invalid_scope")
	wantError(t, s.post(t, "/oauth2/token", app, form(url.Values{"audience": {"other"}})), 400, "invalid_request")
	if r := s.revoke(t, app, r.Access); r.Status != 200 {
		t.Errorf("%+v", r)
	}
	if s.active(t, r.Access) {
		t.Error("a revoked access token is active")
	}
}

// nonsense is what scanners and broken clients send. Nothing of it is the server's fault, so nothing answers 500.
func nonsense(t *testing.T, s running, strict bool) {
	app := s.register(t, nil)
	// 1.1 keeps JSON as text and takes a NUL in; 2.0 cannot store it and says so. The upgrade must get over the first.
	at, err := thirdparty.NewBrowser(s.Target).Get(t.Context(), s.authURL(app, url.Values{"login_hint": {"a\x00b"}}))
	if strict && (err != nil || !strings.Contains(at, "login_challenge")) {
		t.Errorf("login_hint with NUL: %q %v", at, err)
	}
	if e := new(thirdparty.StatusError); !strict && (!errors.As(err, &e) || e.Status != 400) {
		t.Errorf("login_hint with NUL: %q %v", at, err)
	}
	for _, path := range []string{"/clients/x%00y", "/oauth2/auth/sessions/consent?subject=%00", "/oauth2/auth/requests/login?login_challenge=%00", "/oauth2/auth/requests/login"} {
		s.call(t, 400, http.MethodGet, path, nil, nil)
	}
	s.call(t, 404, http.MethodGet, "/oauth2/auth/requests/login?login_challenge=nothing", nil, nil)
	s.call(t, 404, http.MethodPut, "/oauth2/auth/requests/consent/accept?consent_challenge=nothing", map[string]any{}, nil)
	s.call(t, 400, http.MethodPost, "/clients", []int{1}, nil)
	s.call(t, 400, http.MethodPost, "/clients", map[string]any{"redirect_uris": []string{"not absolute"}}, nil)
	s.call(t, 400, http.MethodPost, "/clients", map[string]any{"client_secret": strings.Repeat("x", 100)}, nil)
	s.call(t, 400, http.MethodPost, "/clients", map[string]any{"client_name": strings.Repeat("x", 2<<20)}, nil)
	s.call(t, 400, http.MethodPost, "/oauth2/introspect", url.Values{}, nil)
	wantError(t, s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"password"}}), 400, "unsupported_grant_type")
	wantError(t, s.post(t, "/oauth2/token", app, url.Values{}), 400, "invalid_request")
	wantError(t, s.refresh(t, app, "a\x00b"), 400, "invalid_grant")
	if s.active(t, "nothing") || s.active(t, strings.Repeat("x", 100_000)) {
		t.Error("nonsense is active")
	}
	for _, token := range []string{"", "nonsense"} {
		req, _ := http.NewRequest(http.MethodGet, s.Public+"/userinfo", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 401 {
			t.Errorf("user info with token %q: %d", token, res.StatusCode)
		}
	}
	for _, q := range []url.Values{{"client_id": {"nobody"}}, {"client_id": {"\x00"}}, {"response_type": {"token"}}, {"response_mode": {"form_post"}},
		{"scope": nil}, {"request": {"x"}}, {"code_challenge_method": {"plain"}}, {"login_verifier": {"\x00"}}, {"consent_verifier": {"x"}}, {"id_token_hint": {"x"}}, {"max_age": {"-1"}}} {
		_, err := thirdparty.NewBrowser(s.Target).Get(t.Context(), s.authURL(app, q))
		if e := new(thirdparty.StatusError); errors.As(err, &e) && e.Status >= 500 {
			t.Errorf("%v: %v", q, err)
		}
	}
}

func paths(t *testing.T, s running, strict bool) {
	for path, want := range map[string]int{s.Admin + "/version": 200, s.Admin + "/health/ready": 200, s.Admin + "/health/alive": 200,
		s.Public + "/health/ready": 200, s.Admin + s.AdminPrefix + "/metrics/prometheus": 200, s.Admin + s.AdminPrefix + "/clients": 200,
		s.Public + "/.well-known/jwks.json": 200, s.Public + "/clients": 404, s.Admin + "/nothing": 404} {
		status(t, path, want)
	}
	status(t, s.Public+"/oauth2/token?grant_type=client_credentials", 405) // a secret has no place in a URL
	if !strict {
		status(t, s.Admin+"/clients", 404)
	}
}

func status(t *testing.T, path string, want int) {
	t.Helper()
	res, err := http.Get(path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != want {
		t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
	}
}
