package authserver_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// raw sends a request as it is written and follows nothing. A header of "" is left out; "A\nB" goes out twice.
func raw(t *testing.T, method, at string, header map[string]string, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" && header["Content-Type"] == "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range header {
		for value := range strings.SplitSeq(v, "\n") {
			if value != "" {
				req.Header.Add(k, value)
			}
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out := reply{Status: res.StatusCode, Header: res.Header}
	_ = json.Unmarshal([]byte(text(t, res)), &out) // pages are no JSON
	return out
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func basic(id, secret string) string {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(id, secret)
	return r.Header.Get("Authorization")
}

func parameterRules(t *testing.T, s running, _ bool) {
	app := s.register(t, map[string]any{"token_endpoint_auth_method": "client_secret_post"})
	mine := url.Values{"client_id": {app.ID}, "client_secret": {app.Secret}}
	machine := "grant_type=client_credentials&" + mine.Encode()
	r := raw(t, http.MethodPost, s.Public+"/oauth2/token", nil, machine)
	if r.Status != 200 {
		t.Fatalf("%+v", r)
	}
	ends := map[string]string{"/oauth2/token": machine, "/oauth2/revoke": "token=" + r.Access + "&" + mine.Encode()}
	for path, body := range ends {
		at := s.Public + path
		for name, query := range map[string]string{"credentials": mine.Encode(), "id alone": "client_id=" + app.ID, "empty secret": "client_secret=",
			"grant type": "grant_type=client_credentials", "token": "token=x", "refresh token": "refresh_token=x", "scope": "scope=photos",
			"code": "code=x", "verifier": "code_verifier=x", "encoded": "%63lient_secret=x", "broken": "a=%zz", "semicolon": "a;client_secret=x"} {
			wantError(t, raw(t, http.MethodPost, at+"?"+query, nil, body), 400, "invalid_request")
			if name == "credentials" { // and nowhere else
				wantError(t, raw(t, http.MethodPost, at+"?"+query, nil, "grant_type=client_credentials&token=x"), 400, "invalid_request")
			}
		}
		for _, twice := range []string{"client_id=" + app.ID, "client_secret=" + app.Secret, "client_secret=", "scope=photos&scope=photos", "scope=&scope=photos",
			"code=a&code=b", "refresh_token=a&refresh_token=b", "redirect_uri=a&redirect_uri=a", "token=x&token=y", "audience=a&audience=b"} {
			wantError(t, raw(t, http.MethodPost, at, nil, body+"&"+twice), 400, "invalid_request")
		}
		for _, kind := range []string{"application/json", "text/plain", "multipart/form-data; boundary=x", "nonsense/"} {
			wantError(t, raw(t, http.MethodPost, at, map[string]string{"Content-Type": kind}, body), 400, "invalid_request")
		}
		wantError(t, raw(t, http.MethodPost, at, nil, "a=%zz&"+body), 400, "invalid_request")
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodPatch} {
			if r := raw(t, method, at+"?"+body, nil, ""); r.Status != http.StatusMethodNotAllowed || !strings.Contains(r.Header.Get("Allow"), "POST") {
				t.Errorf("%s %s: %d, allowed is %q", method, path, r.Status, r.Header.Get("Allow"))
			}
		}
		// What nobody knows is ignored, in the URI and in the body.
		if r := raw(t, http.MethodPost, at+"?trace=1&trace=2", map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}, body+"&x=1&x=2&resource=a&resource=b"); r.Status != 200 {
			t.Errorf("%s with parameters that nobody knows: %+v", path, r)
		}
	}
	inspect := s.Admin + s.AdminPrefix + "/oauth2/introspect"
	wantError(t, raw(t, http.MethodPost, inspect+"?token=x", nil, "token=x"), 400, "invalid_request")
	wantError(t, raw(t, http.MethodPost, inspect, nil, "token=x&token=y"), 400, "invalid_request")
	wantError(t, raw(t, http.MethodPost, inspect, map[string]string{"Content-Type": "application/json"}, `{"token":"x"}`), 400, "invalid_request")
	if r := raw(t, http.MethodGet, inspect+"?token=x", nil, ""); r.Status == 200 {
		t.Error("introspection by GET")
	}
	// A HEAD is no visit: it spends no verifier.
	for _, path := range []string{"/oauth2/auth", "/oauth2/sessions/logout"} {
		if r := raw(t, http.MethodHead, s.Public+path, nil, ""); r.Status != http.StatusMethodNotAllowed {
			t.Errorf("HEAD %s: %d", path, r.Status)
		}
	}
}

func credentials(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	odd := s.register(t, map[string]any{"client_id": "odd:+ %/" + s.generation, "client_secret": "p:+%25 /ü&="})
	odd.Secret = "p:+%25 /ü&="
	escaped := url.QueryEscape
	public := s.register(t, map[string]any{"token_endpoint_auth_method": "none"})
	machine := "grant_type=client_credentials"
	for name, tt := range map[string]struct {
		auth, body string
		status     int
		code       string
	}{
		"basic":                      {basic(app.ID, app.Secret), machine, 200, ""},
		"small letters":              {"basic " + strings.TrimPrefix(basic(app.ID, app.Secret), "Basic "), machine, 200, ""},
		"capitals":                   {"BASIC " + strings.TrimPrefix(basic(app.ID, app.Secret), "Basic "), machine, 200, ""},
		"with its own id":            {basic(app.ID, app.Secret), machine + "&client_id=" + app.ID, 200, ""},
		"with an empty secret":       {basic(app.ID, app.Secret), machine + "&client_secret=", 200, ""},
		"encoded":                    {basic(escaped(odd.ID), escaped(odd.Secret)), machine, 200, ""},
		"encoded in the body":        {"", machine + "&" + url.Values{"client_id": {odd.ID}, "client_secret": {odd.Secret}}.Encode(), 200, ""},
		"not encoded":                {basic(odd.ID, odd.Secret), machine, 401, "invalid_client"},
		"wrong secret":               {basic(app.ID, "wrong"), machine, 401, "invalid_client"},
		"empty secret":               {basic(app.ID, ""), machine, 401, "invalid_client"},
		"no client in it":            {basic("", app.Secret), machine, 401, "invalid_client"},
		"broken escape":              {basic("%zz", app.Secret), machine, 401, "invalid_client"},
		"no base64":                  {"Basic !!!", machine, 401, "invalid_client"},
		"another scheme":             {"Bearer " + app.Secret, machine + "&client_id=" + app.ID + "&client_secret=" + app.Secret, 401, "invalid_client"},
		"nobody":                     {"", machine, 401, "invalid_client"},
		"secret without id":          {"", machine + "&client_secret=" + app.Secret, 401, "invalid_client"},
		"id alone":                   {"", machine + "&client_id=" + app.ID, 401, "invalid_client"},
		"two headers":                {basic(app.ID, app.Secret) + "\n" + basic(odd.ID, odd.Secret), machine, 400, "invalid_request"},
		"header and body":            {basic(app.ID, app.Secret), machine + "&client_id=" + app.ID + "&client_secret=" + app.Secret, 400, "invalid_request"},
		"header and secret":          {basic(app.ID, app.Secret), machine + "&client_secret=" + app.Secret, 400, "invalid_request"},
		"another's id":               {basic(app.ID, app.Secret), machine + "&client_id=" + odd.ID, 400, "invalid_request"},
		"header and assertion":       {basic(app.ID, app.Secret), machine + "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=x", 400, "invalid_request"},
		"assertion":                  {"", machine + "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=x", 401, "invalid_client"},
		"public client by secret":    {basic(public.ID, "x"), machine, 401, "invalid_client"},
		"public client, as machine":  {"", machine + "&client_id=" + public.ID, 400, "invalid_client"},
		"a secret that is too long":  {basic(app.ID, app.Secret+strings.Repeat("x", 80)), machine, 401, "invalid_client"},
		"grant that is not served":   {basic(app.ID, app.Secret), "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=x", 400, "unsupported_grant_type"},
		"grant that nobody allowed":  {basic(app.ID, app.Secret), "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=x", 400, "unauthorized_client"},
		"grant of another old world": {basic(app.ID, app.Secret), "grant_type=password&username=a&password=b", 400, "unsupported_grant_type"},
	} {
		r := raw(t, http.MethodPost, s.Public+"/oauth2/token", map[string]string{"Authorization": tt.auth}, tt.body)
		if r.Status != tt.status || r.Error != tt.code {
			t.Errorf("%s: %d %q, want %d %q", name, r.Status, r.Error, tt.status, tt.code)
		}
		if got := r.Header.Get("WWW-Authenticate"); (r.Status == 401) != strings.HasPrefix(got, "Basic realm=") {
			t.Errorf("%s: %d with WWW-Authenticate %q", name, r.Status, got)
		}
		if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Pragma") != "no-cache" {
			t.Errorf("%s: Cache-Control %q, Pragma %q", name, r.Header.Get("Cache-Control"), r.Header.Get("Pragma"))
		}
	}
	for _, auth := range []string{basic(app.ID, "wrong"), "Bearer x", ""} {
		r := raw(t, http.MethodPost, s.Public+"/oauth2/revoke", map[string]string{"Authorization": auth}, "token=x")
		if r.Status != 401 || !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("revocation with %q: %d %q", auth, r.Status, r.Header.Get("WWW-Authenticate"))
		}
	}
}

func userinfo(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	tokens, _ := s.tokens(t, app, thirdparty.Answers{})
	narrow := s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"client_credentials"}, "scope": {"photos"}})
	machine := s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"client_credentials"}, "scope": {"openid"}})
	at := s.Public + "/userinfo"
	const none = `Bearer realm="tideover"`
	for name, tt := range map[string]struct {
		method, at, auth, kind, body string
		status                       int
		challenge                    string // after the realm
	}{
		"header":            {"GET", at, "Bearer " + tokens.Access, "", "", 200, ""},
		"small letters":     {"POST", at, "bearer " + tokens.Access, "", "", 200, ""},
		"form":              {"POST", at, "", "", "access_token=" + tokens.Access, 200, ""},
		"nothing":           {"GET", at, "", "", "", 401, none},
		"another scheme":    {"GET", at, basic(app.ID, app.Secret), "", "", 401, none},
		"empty":             {"GET", at, "Bearer ", "", "", 401, none},
		"JSON":              {"POST", at, "", "application/json", `{"access_token":"x"}`, 401, none},
		"unknown":           {"GET", at, "Bearer nonsense", "", "", 401, none + `, error="invalid_token"`},
		"refresh token":     {"GET", at, "Bearer " + tokens.Refresh, "", "", 401, none + `, error="invalid_token"`},
		"ID token":          {"GET", at, "Bearer " + tokens.ID, "", "", 401, none + `, error="invalid_token"`},
		"without openid":    {"GET", at, "Bearer " + narrow.Access, "", "", 403, none + `, error="insufficient_scope"`},
		"nobody's":          {"GET", at, "Bearer " + machine.Access, "", "", 403, none + `, error="insufficient_scope"`},
		"query":             {"GET", at + "?access_token=" + tokens.Access, "", "", "", 400, none + `, error="invalid_request"`},
		"query and header":  {"GET", at + "?access_token=" + tokens.Access, "Bearer " + tokens.Access, "", "", 400, none + `, error="invalid_request"`},
		"header and form":   {"POST", at, "Bearer " + tokens.Access, "", "access_token=" + tokens.Access, 400, none + `, error="invalid_request"`},
		"two headers":       {"GET", at, "Bearer " + tokens.Access + "\nBearer " + tokens.Access, "", "", 400, none + `, error="invalid_request"`},
		"twice in the form": {"POST", at, "", "", "access_token=x&access_token=" + tokens.Access, 400, none + `, error="invalid_request"`},
	} {
		r := raw(t, tt.method, tt.at, map[string]string{"Authorization": tt.auth, "Content-Type": tt.kind}, tt.body)
		got := r.Header.Get("WWW-Authenticate")
		if r.Status != tt.status || tt.challenge == "" && got != "" || tt.challenge == none && (got != none || r.Error != "") || !strings.HasPrefix(got, tt.challenge) {
			t.Errorf("%s: %d, WWW-Authenticate: %s", name, r.Status, got)
		}
		if tt.status == 403 && !strings.Contains(got, `scope="openid"`) {
			t.Errorf("%s does not say which scope: %s", name, got)
		}
	}
	if r := s.revoke(t, app, tokens.Access); r.Status != 200 {
		t.Errorf("%+v", r)
	}
	if r := raw(t, "GET", at, map[string]string{"Authorization": "Bearer " + tokens.Access}, ""); r.Status != 401 {
		t.Errorf("a revoked token: %d", r.Status)
	}
}

func origins(t *testing.T, s running, _ bool) {
	for path, method := range map[string]string{"/oauth2/token": "POST", "/oauth2/revoke": "POST", "/userinfo": "GET", "/.well-known/jwks.json": "GET",
		"/.well-known/openid-configuration": "GET"} {
		for _, origin := range []string{"https://app.example", "https://evil.example", "null"} {
			r := raw(t, method, s.Public+path, map[string]string{"Origin": origin}, "")
			pre := raw(t, http.MethodOptions, s.Public+path, map[string]string{"Origin": origin, "Access-Control-Request-Method": method,
				"Access-Control-Request-Headers": "authorization,content-type"}, "")
			for kind, r := range map[string]reply{"request": r, "preflight": pre} {
				if r.Header.Get("Access-Control-Allow-Origin") != "*" || r.Header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("%s %s from %s: %v", kind, path, origin, r.Header)
				}
			}
			if pre.Status != http.StatusNoContent || !strings.Contains(pre.Header.Get("Access-Control-Allow-Headers"), "Authorization") ||
				!strings.Contains(pre.Header.Get("Access-Control-Allow-Methods"), method) {
				t.Errorf("preflight of %s: %d %v", path, pre.Status, pre.Header)
			}
			if pre := raw(t, http.MethodOptions, s.Public+path, map[string]string{"Origin": origin, "Access-Control-Request-Method": "DELETE"}, ""); pre.Header.Get("Access-Control-Allow-Methods") != "" {
				t.Errorf("DELETE of %s is allowed", path)
			}
		}
	}
	for _, at := range []string{s.Public + "/oauth2/auth", s.Public + "/oauth2/sessions/logout", s.Public + "/oauth2/fallbacks/logout/callback",
		s.Admin + s.AdminPrefix + "/clients", s.Admin + s.AdminPrefix + "/oauth2/introspect"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			r := raw(t, method, at, map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}, "")
			for name := range r.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s: %s: %s", method, at, name, r.Header.Get(name))
				}
			}
		}
	}
}

func headers(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	for _, at := range []string{s.authURL(app, nil), s.authURL(app, url.Values{"client_id": {"nobody"}}), s.Public + "/oauth2/fallbacks/logout/callback",
		s.Public + "/oauth2/sessions/logout", s.Public + "/userinfo", s.Public + "/.well-known/openid-configuration", s.Public + "/nothing"} {
		r := raw(t, http.MethodGet, at, nil, "")
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Content-Security-Policy": "frame-ancestors 'none'", "Cache-Control": "no-store"} {
			if got := r.Header.Get(name); !strings.Contains(got, want) {
				t.Errorf("%s: %s is %q", at, name, got)
			}
		}
	}
	r := raw(t, http.MethodPost, s.Admin+s.AdminPrefix+"/oauth2/introspect", nil, "token=x")
	if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("introspection: %v", r.Header)
	}
}
