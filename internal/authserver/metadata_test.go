package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// document fetches JSON.
func document(t *testing.T, at string) (doc map[string]any) {
	t.Helper()
	res, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %s %v", at, res.StatusCode, res.Header.Get("Content-Type"), err)
	}
	return doc
}

func list(doc map[string]any, key string) (out []string) {
	values, _ := doc[key].([]any)
	for _, v := range values {
		s, _ := v.(string)
		out = append(out, s)
	}
	return out
}

func metadata(t *testing.T, s running, _ bool) {
	grants := []string{"authorization_code", "refresh_token", "client_credentials"}
	confidential := []string{"client_secret_basic", "client_secret_post"}
	if s.generation == "2.0" {
		grants, confidential = append(grants, deviceGrant), append(confidential, "private_key_jwt")
	}
	everybody := append(slices.Clone(confidential), "none")
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		doc := document(t, s.Public+path)
		if doc["issuer"] != s.Issuer || doc["authorization_response_iss_parameter_supported"] != true || doc["request_uri_parameter_supported"] != false {
			t.Errorf("%s: %v", path, doc)
		}
		for key, want := range map[string][]string{"response_types_supported": {"code"}, "code_challenge_methods_supported": {"S256"},
			"token_endpoint_auth_methods_supported":         everybody,
			"revocation_endpoint_auth_methods_supported":    everybody,
			"introspection_endpoint_auth_methods_supported": confidential, "id_token_signing_alg_values_supported": {"RS256"},
			"grant_types_supported": grants, "response_modes_supported": {"query", "fragment"}} {
			if got := list(doc, key); !slices.Equal(got, want) {
				t.Errorf("%s: %s is %v, want %v", path, key, got, want)
			}
		}
		// Every endpoint that is named is there.
		for key, method := range map[string]string{"authorization_endpoint": "GET", "token_endpoint": "POST", "introspection_endpoint": "POST", "pushed_authorization_request_endpoint": "POST", "userinfo_endpoint": "GET",
			"revocation_endpoint": "POST", "end_session_endpoint": "GET", "jwks_uri": "GET"} {
			at, _ := doc[key].(string)
			if !strings.HasPrefix(at, s.Issuer+"/") {
				t.Errorf("%s: %s is %q", path, key, at)
				continue
			}
			if r := raw(t, method, s.Public+strings.TrimPrefix(at, s.Issuer), nil, ""); r.Status == 404 || r.Status == 405 || r.Status >= 500 {
				t.Errorf("%s: %s: %d", path, key, r.Status)
			}
		}
	}
}

// TestMetadataOfAnIssuerWithPath: RFC 8414, section 3.1, puts the issuer's path behind the well-known one.
func TestMetadataOfAnIssuerWithPath(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", func(c *authserver.Config) { c.Issuer = "https://id.example/tenant/one" })
	for _, path := range []string{"", "/tenant/one"} {
		if doc := document(t, s.Public+"/.well-known/oauth-authorization-server"+path); doc["issuer"] != "https://id.example/tenant/one" {
			t.Errorf("%s: %v", path, doc["issuer"])
		}
	}
	status(t, s.Public+"/.well-known/oauth-authorization-server/tenant/two", 404)
	// Under https no code may travel in the clear.
	for _, uri := range []string{"http://app.example/", "http://192.0.2.1/", "http://127.0.0.1.evil.example/"} {
		s.call(t, 400, http.MethodPost, "/clients", map[string]any{"redirect_uris": []string{uri}}, nil)
	}
	app := s.register(t, map[string]any{"redirect_uris": []string{"http://localhost:1/", "http://[::1]/", redirectURI}})
	for uri, want := range map[string]int{"http://app.example/": 400, redirectURI: 302} {
		s.plant(t, app, uri)
		if r := raw(t, http.MethodGet, s.Public+strings.TrimPrefix(s.authURL(app, url.Values{"redirect_uri": {uri}}), s.Issuer), nil, ""); r.Status != want {
			t.Errorf("%s: %d, want %d", uri, r.Status, want)
		}
	}
}

// issuerInResponses: RFC 9207, section 2.
func issuerInResponses(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	for name, tt := range map[string]struct {
		change  url.Values
		answers thirdparty.Answers
	}{
		"code":             {nil, thirdparty.Answers{}},
		"code in fragment": {url.Values{"response_mode": {"fragment"}}, thirdparty.Answers{}},
		"login refused":    {nil, thirdparty.Answers{RejectLogin: true}},
		"consent refused":  {nil, thirdparty.Answers{RejectConsent: true}},
		"response type":    {url.Values{"response_type": {"token"}}, thirdparty.Answers{}},
		"scope":            {url.Values{"scope": {"admin"}}, thirdparty.Answers{}},
		"error, fragment":  {url.Values{"scope": {"admin"}, "response_mode": {"fragment"}}, thirdparty.Answers{}},
		"request":          {url.Values{"request": {"x"}}, thirdparty.Answers{}},
		"prompt":           {url.Values{"prompt": {"none login"}}, thirdparty.Answers{}},
		"login required":   {url.Values{"prompt": {"none"}}, thirdparty.Answers{}},
	} {
		tt.answers.Subject = "iris"
		v, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(), s.authURL(app, tt.change), redirectURI, tt.answers)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		u, err := url.Parse(v.Redirects[len(v.Redirects)-1])
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if tt.change.Get("response_mode") == "fragment" {
			if q, err = url.ParseQuery(u.Fragment); err != nil {
				t.Fatal(err)
			}
		}
		if len(q["iss"]) != 1 || q.Get("iss") != s.Issuer || q.Get("code") == "" && q.Get("error") == "" {
			t.Errorf("%s: %s", name, u)
		}
	}
}

func introspectionByClients(t *testing.T, s running, _ bool) {
	shop := s.register(t, map[string]any{"client_id": "photos-api-" + s.generation})
	app, other := s.register(t, map[string]any{"audience": []string{shop.ID}}), s.register(t, nil)
	public := s.register(t, map[string]any{"token_endpoint_auth_method": "none"})
	tokens := s.consentWith(t, app, url.Values{"audience": {shop.ID}}, map[string]any{"grant_scope": []string{"openid", "offline_access", "photos"},
		"grant_access_token_audience": []string{shop.ID}})
	foreign, _ := s.tokens(t, public, thirdparty.Answers{})
	at := s.Public + "/oauth2/introspection"
	ask := func(by registered, token string) map[string]any {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader(url.Values{"token": {token}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(url.QueryEscape(by.ID), url.QueryEscape(by.Secret))
		var out map[string]any
		if err := thirdparty.Do(req, &out); err != nil {
			t.Error(err)
		}
		return out
	}
	for name, tt := range map[string]struct {
		by    registered
		token string
		want  bool
	}{
		"its own access token":           {app, tokens.Access, true},
		"its own refresh token":          {app, tokens.Refresh, true},
		"the audience, access":           {shop, tokens.Access, true},
		"the audience, refresh":          {shop, tokens.Refresh, false},
		"another's access token":         {other, tokens.Access, false},
		"another's refresh token":        {other, tokens.Refresh, false},
		"a token that is not for it":     {shop, foreign.Access, false},
		"ID token":                       {app, tokens.ID, false},
		"nonsense":                       {app, "nonsense", false},
		"a NUL, which no database holds": {app, "a\x00b", false},
	} {
		out := ask(tt.by, tt.token)
		if out["active"] != tt.want || !tt.want && len(out) != 1 {
			t.Errorf("%s: %v", name, out)
		}
	}
	for name, tt := range map[string]struct {
		auth, body string
		status     int
	}{
		"nobody":        {"", "token=" + tokens.Access, 401},
		"public client": {"", "client_id=" + public.ID + "&token=" + foreign.Access, 401},
		"wrong secret":  {basic(app.ID, "wrong"), "token=" + tokens.Access, 401},
		"bearer":        {"Bearer " + tokens.Access, "token=" + tokens.Access, 401},
		"no token":      {basic(app.ID, app.Secret), "", 400},
		"two tokens":    {basic(app.ID, app.Secret), "token=a&token=b", 400},
	} {
		r := raw(t, http.MethodPost, at, map[string]string{"Authorization": tt.auth, "Content-Type": "application/x-www-form-urlencoded"}, tt.body)
		if r.Status != tt.status || (r.Status == 401) != strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Basic ") || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", name, r.Status, r.Header)
		}
	}
	wantError(t, raw(t, http.MethodPost, at+"?token="+tokens.Access, map[string]string{"Authorization": basic(app.ID, app.Secret)}, "token=x"), 400, "invalid_request")
	if r := s.revoke(t, app, tokens.Refresh); r.Status != 200 || ask(app, tokens.Access)["active"] != false {
		t.Errorf("after revocation: %+v", r)
	}
}
