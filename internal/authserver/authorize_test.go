package authserver_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// answer is where an authorization request is answered: at the app, with these parameters, or on a page with a status.
type answer struct {
	url.Values
	to     string
	status int
}

// ask sends an authorization request, and follows nothing.
func (s running) ask(t *testing.T, authURL string) answer {
	t.Helper()
	to, err := thirdparty.NewBrowser(s.Target).Get(t.Context(), authURL)
	if e := new(thirdparty.StatusError); errors.As(err, &e) {
		return answer{status: e.Status}
	} else if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return answer{u.Query(), to, http.StatusFound}
}

const api, bank = "https://api.example", "https://bank.example"

// consentWith logs a person in, answers the consent page with a body, and returns what an exchange of the code gives.
func (s running) consentWith(t *testing.T, app registered, change url.Values, body map[string]any) reply {
	t.Helper()
	b := thirdparty.NewBrowser(s.Target)
	at, err := b.Get(t.Context(), s.authURL(app, change))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		body map[string]any
	}{{"login", map[string]any{"subject": "ada", "remember": true}}, {"consent", body}} {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		var to struct {
			RedirectTo string `json:"redirect_to"`
		}
		key := step.name + "_challenge"
		s.call(t, 200, http.MethodPut, "/oauth2/auth/requests/"+step.name+"/accept?"+key+"="+u.Query().Get(key), step.body, &to)
		if at, err = b.Get(t.Context(), to.RedirectTo); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	return s.exchange(t, app, u.Query().Get("code"))
}

func (s running) audienceOf(t *testing.T, token string) []string {
	t.Helper()
	var in struct {
		Active   bool     `json:"active"`
		Audience []string `json:"aud"`
	}
	s.call(t, 200, http.MethodPost, "/oauth2/introspect", url.Values{"token": {token}}, &in)
	if !in.Active {
		t.Error("the token is dead")
	}
	return in.Audience
}

func audience(t *testing.T, s running, _ bool) {
	app := s.register(t, map[string]any{"audience": []string{api, bank}})
	for _, asked := range []string{"https://other.example", api + " https://other.example", api + "/"} {
		if a := s.ask(t, s.authURL(app, url.Values{"audience": {asked}})); a.Get("error") != "invalid_request" {
			t.Errorf("audience %q: %+v", asked, a)
		}
	}
	both := url.Values{"audience": {api + " " + bank}}
	scopes := []string{"openid", "offline_access", "photos"}
	for _, tt := range []struct {
		granted any
		want    []string
	}{{[]string{api}, []string{api}}, {[]string{api, bank}, []string{api, bank}}, {[]string{}, nil}, {nil, nil}} {
		r := s.consentWith(t, app, both, map[string]any{"grant_scope": scopes, "grant_access_token_audience": tt.granted})
		if got := s.audienceOf(t, r.Access); !slices.Equal(got, tt.want) {
			t.Errorf("granted %v: the token's audience is %v", tt.granted, got)
		}
		if got := s.audienceOf(t, s.refresh(t, app, r.Refresh).Access); !slices.Equal(got, tt.want) {
			t.Errorf("granted %v: after a refresh the audience is %v", tt.granted, got)
		}
	}
	// The page may not grant what nobody asked for.
	at := s.ask(t, s.authURL(app, url.Values{"audience": {api}}))
	var to struct {
		RedirectTo string `json:"redirect_to"`
	}
	b := thirdparty.NewBrowser(s.Target)
	next, err := b.Get(t.Context(), s.authURL(app, url.Values{"audience": {api}}))
	if err != nil || at.Get("login_challenge") == "" {
		t.Fatal(next, err)
	}
	u, _ := url.Parse(next)
	s.call(t, 200, http.MethodPut, "/oauth2/auth/requests/login/accept?"+u.RawQuery, map[string]any{"subject": "ada"}, &to)
	if next, err = b.Get(t.Context(), to.RedirectTo); err != nil {
		t.Fatal(err)
	}
	u, _ = url.Parse(next)
	s.call(t, 400, http.MethodPut, "/oauth2/auth/requests/consent/accept?"+u.RawQuery, map[string]any{"grant_access_token_audience": []string{bank}}, nil)

	// A consent that is remembered covers what was granted then.
	b = thirdparty.NewBrowser(s.Target)
	visit := func(aud string) thirdparty.Visit {
		t.Helper()
		v, err := b.Authorize(t.Context(), s.authURL(app, url.Values{"audience": {aud}}), redirectURI,
			thirdparty.Answers{Subject: "abe", RememberLogin: true, RememberConsent: true})
		if err != nil || v.Code == "" {
			t.Fatalf("%+v %v", v, err)
		}
		return v
	}
	visit("")
	if v := visit(""); !v.ConsentSkipped {
		t.Errorf("without an audience: %+v", v)
	}
	if v := visit(api); v.ConsentSkipped {
		t.Errorf("an audience that nobody granted was not asked about: %+v", v)
	}

	// What is taken from the client goes from the next token, and comes back with it.
	r := s.consentWith(t, app, both, map[string]any{"grant_scope": scopes, "grant_access_token_audience": []string{api, bank}})
	s.change(t, app, map[string]any{"audience": []string{bank}})
	r = s.refresh(t, app, r.Refresh)
	if got := s.audienceOf(t, r.Access); !slices.Equal(got, []string{bank}) {
		t.Errorf("an audience that was taken from the client: %v", got)
	}
	s.change(t, app, map[string]any{"audience": []string{api, bank}})
	if got := s.audienceOf(t, s.refresh(t, app, r.Refresh).Access); len(got) != 2 {
		t.Errorf("an audience that the client got back: %v", got)
	}
}

// change replaces a client's fields; its secret stays.
func (s running) change(t *testing.T, app registered, change map[string]any) {
	t.Helper()
	fields := map[string]any{"client_name": "app", "owner": "team", "redirect_uris": []string{redirectURI},
		"grant_types": []string{"authorization_code", "refresh_token", "client_credentials"},
		"scope":       "openid offline_access photos", "post_logout_redirect_uris": []string{redirectURI}}
	for k, v := range change {
		fields[k] = v
	}
	s.call(t, 200, http.MethodPut, "/clients/"+app.ID, fields, nil)
}

func takenScope(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	first, _ := s.tokens(t, app, thirdparty.Answers{})
	code := s.authorize(t, app, thirdparty.Answers{}).Code
	ask := func(token, scope string) reply {
		return s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "scope": {scope}})
	}
	s.change(t, app, map[string]any{"scope": "openid offline_access"})
	if r := s.exchange(t, app, code); r.Status != 200 || strings.Contains(r.Scope, "photos") || r.Refresh == "" {
		t.Errorf("a code of before: %+v", r)
	}
	wantError(t, ask(first.Refresh, "openid photos"), 400, "invalid_scope")
	narrow := ask(first.Refresh, "")
	if narrow.Status != 200 || narrow.Scope != "openid offline_access" {
		t.Fatalf("after photos was taken: %+v", narrow)
	}
	var in struct {
		Scope string `json:"scope"`
	}
	s.call(t, 200, http.MethodPost, "/oauth2/introspect", url.Values{"token": {narrow.Access}}, &in)
	if in.Scope != "openid offline_access" {
		t.Errorf("introspection says scope %q", in.Scope)
	}
	s.change(t, app, nil)
	whole := ask(narrow.Refresh, "")
	if whole.Scope != "openid offline_access photos" {
		t.Errorf("after photos was given back: %+v", whole)
	}
	s.change(t, app, map[string]any{"scope": "openid photos"})
	wantError(t, ask(whole.Refresh, ""), 400, "invalid_scope")
	s.change(t, app, map[string]any{"scope": ""})
	wantError(t, ask(whole.Refresh, ""), 400, "invalid_scope")
	s.change(t, app, nil)
	if r := ask(whole.Refresh, ""); r.Status != 200 {
		t.Errorf("a refusal spent the token: %+v", r)
	}
}

func authorizationErrors(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	for name, tt := range map[string]struct {
		change url.Values
		want   string
	}{
		"token":                      {url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		"hybrid":                     {url.Values{"response_type": {"code id_token"}}, "unsupported_response_type"},
		"nonsense":                   {url.Values{"response_type": {"Code"}}, "unsupported_response_type"},
		"no response type":           {url.Values{"response_type": nil}, "invalid_request"},
		"response mode":              {url.Values{"response_mode": {"form_post"}}, "invalid_request"},
		"unknown response mode":      {url.Values{"response_mode": {"web_message"}}, "invalid_request"},
		"request":                    {url.Values{"request": {"e30.e30."}}, "request_not_supported"},
		"request instead of all":     {url.Values{"request": {"e30.e30."}, "scope": nil, "response_type": nil}, "request_not_supported"},
		"request_uri":                {url.Values{"request_uri": {"https://app.example/r"}}, "request_uri_not_supported"},
		"request_uri instead":        {url.Values{"request_uri": {"urn:example:x"}, "scope": nil, "prompt": {"none login"}}, "request_uri_not_supported"},
		"registration":               {url.Values{"registration": {"{}"}}, "registration_not_supported"},
		"no scope":                   {url.Values{"scope": nil}, "invalid_scope"},
		"empty scope":                {url.Values{"scope": {" "}}, "invalid_scope"},
		"scope of nobody":            {url.Values{"scope": {"admin"}}, "invalid_scope"},
		"two scopes":                 {url.Values{"scope": {"openid", "photos"}}, "invalid_request"},
		"two states":                 {url.Values{"state": {"a", "b"}}, "invalid_request"},
		"two challenges":             {url.Values{"code_challenge": {strings.Repeat("a", 43), strings.Repeat("b", 43)}}, "invalid_request"},
		"plain PKCE":                 {url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		"PKCE without method":        {url.Values{"code_challenge_method": nil}, "invalid_request"},
		"method without challenge":   {url.Values{"code_challenge": nil}, "invalid_request"},
		"challenge that is no hash":  {url.Values{"code_challenge": {"short"}}, "invalid_request"},
		"prompt none and another":    {url.Values{"prompt": {"none login"}}, "invalid_request"},
		"hint of somebody else":      {url.Values{"id_token_hint": {"x.y.z"}}, "invalid_request"},
		"prompt none without login":  {url.Values{"prompt": {"none"}}, "login_required"},
		"audience that is not ours":  {url.Values{"audience": {api}}, "invalid_request"},
		"verifier that nobody knows": {url.Values{"login_verifier": {"x"}}, "access_denied"},
	} {
		a := s.ask(t, s.authURL(app, tt.change))
		if a.Get("error") != tt.want || !strings.HasPrefix(a.to, redirectURI+"?") {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.to, tt.want)
		}
		if len(tt.change["state"]) == 0 && a.Get("state") != "a-state-of-mine" {
			t.Errorf("%s: state %q", name, a.Get("state"))
		}
	}
	// The client may not use what the server serves.
	none := s.register(t, map[string]any{"response_types": []string{"token"}})
	if a := s.ask(t, s.authURL(none, nil)); a.Get("error") != "unauthorized_client" {
		t.Errorf("a client without response type code: %+v", a)
	}
	machine := s.register(t, map[string]any{"grant_types": []string{"client_credentials"}})
	if a := s.ask(t, s.authURL(machine, nil)); a.Get("error") != "unauthorized_client" {
		t.Errorf("a client without the grant: %+v", a)
	}
	// Where it is not sure whose the redirect URI is, nothing is sent there.
	for name, change := range map[string]url.Values{
		"two clients":         {"client_id": {app.ID, app.ID}},
		"two redirect URIs":   {"redirect_uri": {redirectURI, "https://evil.example/"}},
		"two, evil first":     {"redirect_uri": {"https://evil.example/", redirectURI}},
		"unknown client":      {"client_id": {"nobody"}},
		"no client":           {"client_id": nil},
		"no redirect URI":     {"redirect_uri": nil},
		"another's with type": {"redirect_uri": {"https://evil.example/"}, "response_type": {"token"}},
	} {
		if a := s.ask(t, s.authURL(app, change)); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.to)
		}
	}
}

func loopbackPorts(t *testing.T, s running, _ bool) {
	uris := []string{"http://127.0.0.1:1/callback", "http://[::1]/callback?a=b", "http://127.0.0.1", "http://localhost:1/callback", "com.example.app:/callback"}
	public := s.register(t, map[string]any{"token_endpoint_auth_method": "none", "redirect_uris": uris})
	private := s.register(t, map[string]any{"redirect_uris": uris})
	for uri, want := range map[string]bool{
		"http://127.0.0.1:1/callback":              true,
		"http://127.0.0.1:49152/callback":          true,
		"http://127.0.0.1/callback":                true,
		"http://[::1]:49152/callback?a=b":          true,
		"http://127.0.0.1:49152":                   true,
		"com.example.app:/callback":                true,
		"http://[::1]:49152/callback":              false, // another query
		"http://127.0.0.1:49152/callback/":         false,
		"http://127.0.0.1:49152/Callback":          false,
		"http://127.0.0.1:49152/call%62ack":        false,
		"http://127.0.0.1:49152/x/../callback":     false,
		"http://127.0.0.1:49152/callback?":         false,
		"http://127.0.0.1:49152/callback#":         false,
		"http://127.0.0.1:0/callback":              false,
		"http://127.0.0.1:65536/callback":          false,
		"http://127.0.0.1:/callback":               false,
		"http://127.0.0.1:1@evil.example/callback": false,
		"http://user@127.0.0.1:2/callback":         false,
		"http://127.0.0.2:2/callback":              false,
		"http://127.1:2/callback":                  false,
		"http://localhost:2/callback":              false, // a name is not an address
		"http://127.0.0.1.evil.example:2/callback": false,
		"https://127.0.0.1:2/callback":             false,
		"com.example.app:/other":                   false,
	} {
		a := s.ask(t, s.authURL(public, url.Values{"redirect_uri": {uri}}))
		if got := a.Has("login_challenge"); got != want || !got && a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", uri, a.status, a.to)
		}
		if a := s.ask(t, s.authURL(private, url.Values{"redirect_uri": {uri}})); a.Has("login_challenge") && !slices.Contains(uris, uri) {
			t.Errorf("confidential, %s: %s", uri, a.to)
		}
	}
	// The exchange wants the URI of the request, with its port (RFC 6749, section 4.1.3).
	uri := "http://127.0.0.1:1024/callback"
	v, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(), s.authURL(public, url.Values{"redirect_uri": {uri}}), uri, thirdparty.Answers{Subject: "nat"})
	if err != nil || v.Code == "" {
		t.Fatalf("%+v %v", v, err)
	}
	wantError(t, s.exchange(t, public, v.Code), 400, "invalid_grant")
	if r := s.post(t, "/oauth2/token", public, url.Values{"grant_type": {"authorization_code"}, "code": {v.Code}, "redirect_uri": {uri},
		"code_verifier": {pkce}}); r.Status != 200 {
		t.Errorf("%+v", r)
	}
}

// badURIs are such that no answer may go there, whoever registered them.
var badURIs = []string{"javascript:alert(1)", "JavaScript://x/%0aalert(1)", "vbscript:x", "data:text/html,x", "file:///etc/passwd",
	"about:blank", "blob:https://app.example/x", "view-source:https://app.example/", "https://user:pass@app.example/", "https://app.example@evil.example/",
	"com.example.app://user@x/", "https://app.example/#f", "https://app.example/#", "https:app", "https:///x", "//app.example/", "https://app.example/\\x",
	"https://app.example/ x"}

func unsafeRedirects(t *testing.T, s running, _ bool) {
	for _, uri := range append(slices.Clone(badURIs), "myapp:/callback") {
		for _, field := range []string{"redirect_uris", "post_logout_redirect_uris"} {
			s.call(t, 400, http.MethodPost, "/clients", map[string]any{field: []string{redirectURI, uri}}, nil)
		}
	}
	for _, method := range []string{"none", "client_secret_basic"} {
		app := s.register(t, map[string]any{"token_endpoint_auth_method": method})
		s.call(t, 400, http.MethodPut, "/clients/"+app.ID, map[string]any{"redirect_uris": badURIs[:1]}, nil)
		for _, uri := range badURIs { // an old row has it
			s.plant(t, app, uri)
			if a := s.ask(t, s.authURL(app, url.Values{"redirect_uri": {uri}})); a.status != http.StatusBadRequest {
				t.Errorf("%s, %s: %d %s", method, uri, a.status, a.to)
			}
		}
	}
	public := s.register(t, map[string]any{"token_endpoint_auth_method": "none", "redirect_uris": []string{"http://app.example/"}})
	if a := s.ask(t, s.authURL(public, url.Values{"redirect_uri": {"http://app.example/"}})); a.status != http.StatusBadRequest {
		t.Errorf("a code of a public client would go in the clear: %s", a.to)
	}
}
