package authserver_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// TestConformance holds every generation to the same behaviour. Where generations differ on purpose, the case asks for
// strict, which is 1.x, or for the generation.
func TestConformance(t *testing.T) {
	t.Parallel()
	cases := map[string]func(t *testing.T, s running, strict bool){
		"remembered login and consent": rememberedLogin,
		"refusals reach the app":       refusals,
		"a verifier works once":        verifierOnce,
		"another browser is refused":   otherBrowser,
		"code works once":              codeOnce,
		"PKCE":                         proofKeys,
		"redirect URI to the letter":   redirectExact,
		"client authentication":        clientAuthentication,
		"rotation in the tables":       rotation,
		"reuse":                        reuse,
		"refresh by many at once":      refreshMany,
		"revocation in the tables":     revocation,
		"consents":                     consents,
		"log-out":                      logout,
		"clients":                      clients,
		"client credentials":           clientCredentials,
		"never 500":                    nonsense,
		"audience":                     audience,
		"scopes taken from a client":   takenScope,
		"errors of authorization":      authorizationErrors,
		"loopback ports":               loopbackPorts,
		"unsafe redirect URIs":         unsafeRedirects,
		"parameters":                   parameterRules,
		"credentials":                  credentials,
		"user info":                    userinfo,
		"other origins":                origins,
		"headers":                      headers,
		"log-out is asked for":         logoutAsks,
		"a stolen spent token":         stolen,
		"unknown clients cost as much": equalWork,
		"metadata":                     metadata,
		"issuer in responses":          issuerInResponses,
		"introspection by clients":     introspectionByClients,
		"admin API and browsers":       adminAndBrowsers,
		"ID tokens":                    idTokens,
		"expiry":                       expiry,
		"substitution":                 substitution,
		"PKCE is not got around":       downgrade,
		"answers to browsers":          browserAnswers,
		"whose login it is":            whoseLogin,
		"pushed requests":              pushedRequests,
		"apps that nobody can know":    unassured,
		"paths":                        paths,
	}
	for _, generation := range quick.First(t, 1, []string{"1.0", "1.1", "2.0"}) {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			s := serve(t, generation, nil)
			for name, f := range cases {
				t.Run(name, func(t *testing.T) { f(t, s, generation != "2.0") })
			}
		})
	}
}

func rememberedLogin(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	b := thirdparty.NewBrowser(s.Target)
	answers := thirdparty.Answers{Subject: "rita", RememberLogin: true, RememberConsent: true}
	visit := func(change url.Values) thirdparty.Visit {
		t.Helper()
		v, err := b.Authorize(t.Context(), s.authURL(app, change), redirectURI, answers)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := visit(nil); v.Code == "" || v.LoginSkipped || v.ConsentSkipped {
		t.Errorf("first visit: %+v", v)
	}
	if v := visit(nil); v.Code == "" || !v.LoginSkipped || !v.ConsentSkipped {
		t.Errorf("second visit: %+v", v)
	}
	if v := visit(url.Values{"prompt": {"none"}}); v.Code == "" {
		t.Errorf("prompt=none with a session: %+v", v)
	}
	if v := visit(url.Values{"prompt": {"login"}}); v.LoginSkipped || !v.ConsentSkipped {
		t.Errorf("prompt=login: %+v", v)
	}
	if v := visit(url.Values{"prompt": {"consent"}}); !v.LoginSkipped || v.ConsentSkipped {
		t.Errorf("prompt=consent: %+v", v)
	}
	if v := visit(url.Values{"max_age": {"0"}}); v.LoginSkipped {
		t.Errorf("max_age=0: %+v", v)
	}
	v, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(), s.authURL(app, url.Values{"prompt": {"none"}}), redirectURI, answers)
	if err != nil || v.Error != "login_required" {
		t.Errorf("prompt=none without a session: %+v %v", v, err)
	}
	s.call(t, 204, http.MethodDelete, "/oauth2/auth/sessions/login?subject=rita", nil, nil)
	if v := visit(nil); v.LoginSkipped || !v.ConsentSkipped {
		t.Errorf("after the session's end: %+v", v)
	}
}

func refusals(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	for _, a := range []thirdparty.Answers{{Subject: "ann", RejectLogin: true}, {Subject: "ann", RejectConsent: true}} {
		v, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(), s.authURL(app, nil), redirectURI, a)
		if err != nil || v.Error != "access_denied" || v.State != "a-state-of-mine" {
			t.Errorf("%+v: %+v %v", a, v, err)
		}
	}
	v, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(), s.authURL(app, url.Values{"scope": {"openid admin"}}), redirectURI, thirdparty.Answers{Subject: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if r := s.exchange(t, app, v.Code); strings.Contains(r.Scope, "admin") {
		t.Errorf("a scope that the client may not ask for was granted: %q", r.Scope)
	}
}

// verifierOnce is a double click: of many at once one gets on, or two consents would hang on one login.
func verifierOnce(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	b := thirdparty.NewBrowser(s.Target)
	at, err := b.Get(t.Context(), s.authURL(app, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		body map[string]any
	}{{"login", map[string]any{"subject": "dora"}}, {"consent", map[string]any{"grant_scope": []string{"openid"}}}} {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		var to struct {
			RedirectTo string `json:"redirect_to"`
		}
		key := step.name + "_challenge"
		s.call(t, 200, http.MethodPut, "/oauth2/auth/requests/"+step.name+"/accept?"+key+"="+u.Query().Get(key), step.body, &to)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var through []string
		for range 8 {
			wg.Go(func() {
				next, err := b.Get(t.Context(), to.RedirectTo)
				if err != nil {
					t.Error(err)
				}
				if !strings.Contains(next, "error=access_denied") {
					mu.Lock()
					defer mu.Unlock()
					through = append(through, next)
				}
			})
		}
		wg.Wait()
		if len(through) != 1 {
			t.Fatalf("%d of 8 got through with one %s verifier", len(through), step.name)
		}
		s.call(t, 409, http.MethodPut, "/oauth2/auth/requests/"+step.name+"/accept?"+key+"="+u.Query().Get(key), step.body, nil)
		s.call(t, 410, http.MethodGet, "/oauth2/auth/requests/"+step.name+"?"+key+"="+u.Query().Get(key), nil, nil)
		at = through[0]
	}
	if !strings.Contains(at, "code=") {
		t.Errorf("the way ended at %s", at)
	}
}

func otherBrowser(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	attacker := thirdparty.NewBrowser(s.Target)
	at, err := attacker.Get(t.Context(), s.authURL(app, nil))
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(at)
	var to struct {
		RedirectTo string `json:"redirect_to"`
	}
	s.call(t, 200, http.MethodPut, "/oauth2/auth/requests/login/accept?login_challenge="+u.Query().Get("login_challenge"), map[string]any{"subject": "mallory"}, &to)
	next, err := thirdparty.NewBrowser(s.Target).Get(t.Context(), to.RedirectTo)
	if err != nil || !strings.Contains(next, "error=access_denied") {
		t.Errorf("the victim was sent to %s, %v", next, err)
	}
}

func codeOnce(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	v := s.authorize(t, app, thirdparty.Answers{})
	other := s.register(t, nil)
	wantError(t, s.exchange(t, other, v.Code), 400, "invalid_grant")
	first := s.exchange(t, app, v.Code)
	if first.Status != 200 {
		t.Fatalf("%+v", first)
	}
	wantError(t, s.exchange(t, app, v.Code), 400, "invalid_grant")
	if s.active(t, first.Access) || s.active(t, first.Refresh) {
		t.Error("a code that was used twice did not end its chain (RFC 6749, section 4.1.2)")
	}
	wantError(t, s.exchange(t, app, "nonsense"), 400, "invalid_grant")
}

func proofKeys(t *testing.T, s running, _ bool) {
	public := s.register(t, map[string]any{"token_endpoint_auth_method": "none"})
	if public.Secret != "" {
		t.Error("a public client got a secret")
	}
	v, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(),
		s.authURL(public, url.Values{"code_challenge": nil, "code_challenge_method": nil}), redirectURI, thirdparty.Answers{Subject: "ann"})
	if err != nil || v.Error != "invalid_request" {
		t.Errorf("without PKCE: %+v %v", v, err)
	}
	code := s.authorize(t, public, thirdparty.Answers{}).Code
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}}
	wantError(t, s.post(t, "/oauth2/token", public, form), 400, "invalid_grant")
	form.Set("code_verifier", "wrong")
	wantError(t, s.post(t, "/oauth2/token", public, form), 400, "invalid_grant")
	if r := s.exchange(t, public, code); r.Status != 200 {
		t.Errorf("a wrong verifier spoilt the code: %+v", r)
	}
}

func redirectExact(t *testing.T, s running, _ bool) {
	for _, method := range []string{"none", "client_secret_basic"} {
		app := s.register(t, map[string]any{"token_endpoint_auth_method": method})
		for _, uri := range []string{"http://127.0.0.2:1/callback", redirectURI + "/", redirectURI + "?a=b", "https://evil.example/", ""} {
			_, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(), s.authURL(app, url.Values{"redirect_uri": {uri}}), redirectURI, thirdparty.Answers{Subject: "ann"})
			if e := new(thirdparty.StatusError); !errors.As(err, &e) || e.Status != 400 {
				t.Errorf("%s, redirect_uri %q: %v", method, uri, err)
			}
		}
		code := s.authorize(t, app, thirdparty.Answers{}).Code
		wantError(t, s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"authorization_code"}, "code": {code},
			"redirect_uri": {redirectURI + "/"}, "code_verifier": {pkce}}), 400, "invalid_grant")
	}
}

func clientAuthentication(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	wrong := app
	wrong.Secret = "wrong"
	wantError(t, s.refresh(t, wrong, "x"), 401, "invalid_client")
	wantError(t, s.refresh(t, registered{ID: app.ID}, "x"), 401, "invalid_client")
	wantError(t, s.refresh(t, registered{ID: "nobody", Secret: "x"}, "x"), 401, "invalid_client")
	wantError(t, s.revoke(t, wrong, "x"), 401, "invalid_client")
	if r := s.revoke(t, app, "unknown"); r.Status != 200 {
		t.Errorf("revoking an unknown token: %+v", r)
	}
	var kept registered
	s.call(t, 200, http.MethodPut, "/clients/"+app.ID, map[string]any{"owner": "team", "client_secret": "another secret", "redirect_uris": []string{redirectURI},
		"grant_types": []string{"refresh_token"}}, &kept)
	wantError(t, s.refresh(t, app, "x"), 401, "invalid_client")
	app.Secret = "another secret"
	wantError(t, s.refresh(t, app, "x"), 400, "invalid_grant")
	s.call(t, 200, http.MethodGet, "/clients/"+app.ID, nil, &kept)
	if kept.Secret != "another secret" && kept.Secret != "" {
		t.Errorf("the secret is shown again")
	}
}

func revocation(t *testing.T, s running, strict bool) {
	app := s.register(t, nil)
	for _, pick := range []func(reply) string{func(r reply) string { return r.Access }, func(r reply) string { return r.Refresh }} {
		first, v := s.tokens(t, app, thirdparty.Answers{})
		wantError(t, s.revoke(t, s.register(t, nil), pick(first)), 400, "unauthorized_client")
		if r := s.revoke(t, app, pick(first)); r.Status != 200 {
			t.Fatalf("%+v", r)
		}
		if s.active(t, first.Access) || s.active(t, first.Refresh) {
			t.Error("a revoked chain is active")
		}
		wantError(t, s.refresh(t, app, first.Refresh), 400, "invalid_grant")
		kept := 0
		if strict {
			kept = 1
		}
		if n := s.number(t, chainRefresh, v.ConsentChallenge); n != kept {
			t.Errorf("%d refresh rows are left, want %d", n, kept)
		}
	}
}
