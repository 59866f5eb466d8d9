package authserver_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// claims reads a token's claims; TestThirdParty is who checks signatures.
func claims(t *testing.T, token string) (out map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// idTokens: an ID token of a refresh tells of the same login (OpenID Connect Core, section 12.2), whatever the consent
// page would like to have in it.
func idTokens(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	v, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(), s.authURL(app, url.Values{"nonce": {"once"}, "max_age": {"300"}}), redirectURI,
		thirdparty.Answers{Subject: "ida", IDToken: map[string]any{"locale": "en", "sub": "eve", "aud": "evil", "iss": "https://evil.example", "azp": "x", "auth_time": 1, "at_hash": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	first := s.exchange(t, app, v.Code)
	second := s.refresh(t, app, first.Refresh)
	one, two := claims(t, first.ID), claims(t, second.ID)
	for name, want := range map[string]any{"iss": s.Issuer, "sub": "ida", "azp": app.ID, "aud": []any{app.ID}, "nonce": "once", "acr": "1", "locale": "en"} {
		if !reflect.DeepEqual(one[name], want) {
			t.Errorf("%s is %v, want %v", name, one[name], want)
		}
		if !reflect.DeepEqual(two[name], want) {
			t.Errorf("after a refresh %s is %v, want %v", name, two[name], want)
		}
	}
	if login, _ := one["auth_time"].(float64); login < 1e9 || one["auth_time"] != two["auth_time"] || one["sid"] != two["sid"] || one["at_hash"] == two["at_hash"] {
		t.Errorf("first %v, then %v", one, two)
	}
	if plain := s.consentWith(t, app, url.Values{"scope": {"photos offline_access"}}, map[string]any{"grant_scope": []string{"photos", "offline_access"}}); plain.ID != "" || plain.Access == "" {
		t.Errorf("without openid: %+v", plain)
	}
	if bare := s.consentWith(t, app, url.Values{"scope": {"openid photos"}}, map[string]any{"grant_scope": []string{"openid"}}); bare.Refresh != "" || bare.Scope != "openid" {
		t.Errorf("without offline access: %+v", bare)
	}
}

// whoseLogin: an app that names a person by an ID token gets no code of another (OpenID Connect Core, section 3.1.2.2).
func whoseLogin(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	first, _ := s.tokens(t, app, thirdparty.Answers{Subject: "wilma"})
	hint := url.Values{"id_token_hint": {first.ID}}
	for subject, want := range map[string]string{"wilma": "", "xaver": "login_required"} {
		b := thirdparty.NewBrowser(s.Target)
		for range 2 { // the second time the session may be skipped
			v, err := b.Authorize(t.Context(), s.authURL(app, hint), redirectURI, thirdparty.Answers{Subject: subject, RememberLogin: true, RememberConsent: true})
			if err != nil || v.Error != want || (v.Code == "") != (want != "") {
				t.Errorf("%s logs in: %+v %v", subject, v, err)
			}
		}
		none := url.Values{"id_token_hint": {first.ID}, "prompt": {"none"}}
		if v, err := b.Authorize(t.Context(), s.authURL(app, none), redirectURI, thirdparty.Answers{Subject: subject}); err != nil || v.Error != want {
			t.Errorf("%s, prompt=none: %+v %v", subject, v, err)
		}
	}
}

// unassured: anybody on a machine can answer at a loopback port, so that the person is asked each time.
func unassured(t *testing.T, s running, _ bool) {
	uris := []string{redirectURI, "https://app.example/callback", "com.example.app:/callback"}
	for _, method := range []string{"none", "client_secret_basic"} {
		app := s.register(t, map[string]any{"token_endpoint_auth_method": method, "redirect_uris": uris})
		for _, uri := range uris {
			if method != "none" && uri == uris[2] {
				continue // a confidential client has no such address
			}
			b := thirdparty.NewBrowser(s.Target)
			change := url.Values{"redirect_uri": {uri}}
			for visit := range 2 {
				v, err := b.Authorize(t.Context(), s.authURL(app, change), uri, thirdparty.Answers{Subject: "una-" + method + uri, RememberLogin: true, RememberConsent: true})
				if want := visit == 1 && (method != "none" || uri == uris[1]); err != nil || v.Code == "" || v.ConsentSkipped != want {
					t.Errorf("%s at %s, visit %d: %+v %v", method, uri, visit, v, err)
				}
			}
		}
	}
}

func expiry(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	tokens, _ := s.tokens(t, app, thirdparty.Answers{})
	code := s.authorize(t, app, thirdparty.Answers{}).Code
	s.exec(t, `UPDATE oauth_code SET expires_at = now() - interval '1 s' WHERE signature = '`+authserver.Signature(code)+`'`)
	wantError(t, s.exchange(t, app, code), 400, "invalid_grant")
	s.exec(t, `UPDATE oauth_access SET expires_at = now() - interval '1 s' WHERE signature = '`+authserver.Signature(tokens.Access)+`'`)
	if s.active(t, tokens.Access) {
		t.Error("an expired access token is active")
	}
	if r := raw(t, http.MethodGet, s.Public+"/userinfo", map[string]string{"Authorization": "Bearer " + tokens.Access}, ""); r.Status != 401 {
		t.Errorf("user info with an expired token: %d", r.Status)
	}
	s.exec(t, `UPDATE oauth_refresh SET expires_at = now() - interval '1 s' WHERE signature = '`+authserver.Signature(tokens.Refresh)+`'`)
	wantError(t, s.refresh(t, app, tokens.Refresh), 400, "invalid_grant")
	if s.active(t, tokens.Refresh) {
		t.Error("an expired refresh token is active")
	}
}

// substitution: what was given for one purpose, or to one client, serves no other.
func substitution(t *testing.T, s running, _ bool) {
	app, thief := s.register(t, nil), s.register(t, nil)
	public := s.register(t, map[string]any{"token_endpoint_auth_method": "none"})
	tokens, _ := s.tokens(t, app, thirdparty.Answers{})
	code := s.authorize(t, app, thirdparty.Answers{}).Code
	for _, by := range []registered{thief, public} {
		wantError(t, s.refresh(t, by, tokens.Refresh), 400, "invalid_grant")
		wantError(t, s.exchange(t, by, code), 400, "invalid_grant")
		for _, token := range []string{tokens.Access, tokens.Refresh} {
			wantError(t, s.revoke(t, by, token), 400, "unauthorized_client")
		}
	}
	for _, token := range []string{tokens.Access, tokens.ID, code} {
		wantError(t, s.refresh(t, app, token), 400, "invalid_grant")
	}
	for _, token := range []string{tokens.Access, tokens.Refresh, tokens.ID} {
		wantError(t, s.exchange(t, app, token), 400, "invalid_grant")
	}
	for _, hint := range []string{"access_token", "refresh_token", "nonsense"} { // a hint misleads nobody
		wantError(t, s.post(t, "/oauth2/revoke", thief, url.Values{"token": {tokens.Refresh}, "token_type_hint": {hint}}), 400, "unauthorized_client")
	}
	if !s.active(t, tokens.Access) || !s.active(t, tokens.Refresh) {
		t.Fatal("somebody else's tries ended the chain")
	}
	if r := s.exchange(t, app, code); r.Status != 200 {
		t.Errorf("somebody else's tries spent the code: %+v", r)
	}
	if r := s.post(t, "/oauth2/revoke", app, url.Values{"token": {tokens.Refresh}, "token_type_hint": {"access_token"}}); r.Status != 200 || s.active(t, tokens.Refresh) {
		t.Errorf("revocation with a wrong hint: %+v", r)
	}
}

// downgrade: nobody gets around PKCE by leaving a part of it out (RFC 9700, section 2.1.1).
func downgrade(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	exchange := func(code, verifier string) reply {
		return s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier}})
	}
	code := func(change url.Values) string {
		t.Helper()
		v, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(), s.authURL(app, change), redirectURI, thirdparty.Answers{Subject: "pat"})
		if err != nil || v.Code == "" {
			t.Fatalf("%+v %v", v, err)
		}
		return v.Code
	}
	bound := code(nil)
	for _, verifier := range []string{"", "wrong", strings.ToUpper(pkce), pkce + " ", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"} {
		wantError(t, exchange(bound, verifier), 400, "invalid_grant")
	}
	wantError(t, s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"authorization_code"}, "code": {bound}, "redirect_uri": {redirectURI}}), 400, "invalid_grant")
	if r := exchange(bound, pkce); r.Status != 200 {
		t.Errorf("%+v", r)
	}
	none := url.Values{"code_challenge": nil, "code_challenge_method": nil}
	wantError(t, exchange(code(none), pkce), 400, "invalid_grant") // the attacker's request left the challenge out
	if r := exchange(code(none), ""); r.Status != 200 {
		t.Errorf("a confidential client without PKCE: %+v", r)
	}
}

func browserAnswers(t *testing.T, s running, _ bool) {
	app := s.register(t, nil)
	at, err := url.Parse(s.authURL(app, nil))
	if err != nil {
		t.Fatal(err)
	}
	// POST will do as well (OpenID Connect Core, section 3.1.2.1), and its body goes no further (RFC 9700, section 4.12).
	r := raw(t, http.MethodPost, s.Public+"/oauth2/auth", nil, at.RawQuery)
	if to := r.Header.Get("Location"); r.Status != 302 && r.Status != 303 || !strings.Contains(to, "login_challenge=") {
		t.Errorf("POST: %d %s", r.Status, to)
	}
	for _, c := range r.Header.Values("Set-Cookie") {
		if !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") {
			t.Errorf("cookie %s", c)
		}
	}
	if len(r.Header.Values("Set-Cookie")) != 1 {
		t.Errorf("cookies: %v", r.Header.Values("Set-Cookie"))
	}
	// A page's words are no way to break out of the answer (RFC 6749, section 4.1.2.1).
	b := thirdparty.NewBrowser(s.Target)
	login, err := b.Get(t.Context(), s.authURL(app, nil))
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(login)
	var to struct {
		RedirectTo string `json:"redirect_to"`
	}
	s.call(t, 200, http.MethodPut, "/oauth2/auth/requests/login/reject?"+u.RawQuery, map[string]any{"error": "login_required", "error_description": "no\r\n\"entry\" \\ für <you>"}, &to)
	back, err := b.Get(t.Context(), to.RedirectTo)
	if err != nil {
		t.Fatal(err)
	}
	u, _ = url.Parse(back)
	if d := u.Query().Get("error_description"); u.Query().Get("error") != "login_required" || strings.ContainsAny(d, "\r\n\"\\ü") || !strings.Contains(d, "entry") {
		t.Errorf("%s", back)
	}
}

// TestCookiesUnderHTTPS: what names a login travels encrypted only.
func TestCookiesUnderHTTPS(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", func(c *authserver.Config) { c.Issuer = "https://id.example" })
	app := s.register(t, nil)
	r := raw(t, http.MethodGet, s.Public+strings.TrimPrefix(s.authURL(app, nil), s.Issuer), nil, "")
	if c := r.Header.Get("Set-Cookie"); !strings.Contains(c, "Secure") || !strings.Contains(c, "HttpOnly") {
		t.Errorf("%d, cookie %q", r.Status, c)
	}
}
