package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

const (
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"
	devicePage  = "http://127.0.0.1:2/device"
)

// device is a request of a device, as it is answered.
type device struct {
	Code     string `json:"device_code"`
	User     string `json:"user_code"`
	At       string `json:"verification_uri"`
	Complete string `json:"verification_uri_complete"`
	Expires  int    `json:"expires_in"`
	Interval int    `json:"interval"`
	Error    string `json:"error"`
}

func (s running) askDevice(t *testing.T, app registered, change url.Values) (d device, status int) {
	t.Helper()
	form := url.Values{"client_id": {app.ID}, "scope": {"openid offline_access photos"}}
	for k, v := range change {
		form[k] = v
	}
	if app.Secret != "" {
		form.Set("client_secret", app.Secret)
	}
	res, err := http.PostForm(s.Public+"/oauth2/device/auth", form)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.Unmarshal([]byte(text(t, res)), &d); err != nil {
		t.Fatal(err)
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", res.Header)
	}
	return d, res.StatusCode
}

func (s running) collect(t testing.TB, app registered, code string) reply {
	return s.post(t, "/oauth2/token", app, url.Values{"grant_type": {deviceGrant}, "device_code": {code}})
}

// typeCode opens the page, types a code there, and returns where the browser goes on.
func (s running) typeCode(t *testing.T, b *thirdparty.Browser, at, code string, want int) string {
	t.Helper()
	page, err := b.Get(t.Context(), at)
	if err != nil || !strings.HasPrefix(page, devicePage+"?device_challenge=") {
		t.Fatalf("%s %v", page, err)
	}
	u, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	var to struct {
		RedirectTo string `json:"redirect_to"`
	}
	s.call(t, want, http.MethodPut, "/oauth2/auth/requests/device/accept?device_challenge="+u.Query().Get("device_challenge"), map[string]any{"user_code": code}, &to)
	return to.RedirectTo
}

func (s running) grantDevice(t *testing.T, d device, a thirdparty.Answers) thirdparty.Visit {
	t.Helper()
	b := thirdparty.NewBrowser(s.Target)
	v, err := b.Authorize(t.Context(), s.typeCode(t, b, d.At, d.User, 200), devicePage+"?done=", a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// end is where a visit led to.
func end(v thirdparty.Visit) string { return v.Redirects[len(v.Redirects)-1] }

// TestDevices: RFC 8628, from a device's question to its tokens, and what must not get any.
func TestDevices(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", nil)
	fields := map[string]any{"grant_types": []string{deviceGrant, "refresh_token"}, "token_endpoint_auth_method": "none", "audience": []string{api}}
	tv := s.register(t, fields)
	doc := document(t, s.Public+"/.well-known/oauth-authorization-server")
	if doc["device_authorization_endpoint"] != s.Issuer+"/oauth2/device/auth" || !strings.Contains(strings.Join(list(doc, "grant_types_supported"), " "), deviceGrant) {
		t.Errorf("the metadata: %v", doc)
	}
	ask := func(t *testing.T) device {
		t.Helper()
		d, status := s.askDevice(t, tv, nil)
		if status != 200 || d.Interval != 5 || d.Expires != 600 || !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(d.User) ||
			!strings.HasPrefix(d.Code, "to_dc_") || d.At != s.Issuer+"/oauth2/device/verify" || d.Complete != d.At+"?user_code="+d.User {
			t.Fatalf("%d %+v", status, d)
		}
		return d
	}
	patient := func(d device) { // the device has waited
		s.exec(t, `UPDATE oauth_device SET polled_at = polled_at - interval '1 h' WHERE signature = '`+authserver.Signature(d.Code)+`'`)
	}
	for name, f := range map[string]func(*testing.T){
		"granted": func(t *testing.T) {
			d := ask(t)
			wantError(t, s.collect(t, tv, d.Code), 400, "authorization_pending")
			if v := s.grantDevice(t, d, thirdparty.Answers{Subject: "dora"}); end(v) != devicePage+"?done=granted" || v.ConsentSkipped {
				t.Fatalf("%+v", v)
			}
			r := s.collect(t, tv, d.Code)
			if r.Status != 200 || r.Refresh == "" || claims(t, r.ID)["sub"] != "dora" || !s.active(t, r.Access) {
				t.Fatalf("%+v", r)
			}
			next := s.refresh(t, tv, r.Refresh)
			if next.Status != 200 {
				t.Errorf("refresh: %+v", next)
			}
			// A second use of the code ends what the first gave.
			wantError(t, s.collect(t, tv, d.Code), 400, "invalid_grant")
			if s.active(t, next.Access) || s.active(t, next.Refresh) {
				t.Error("tokens outlive the second use of their code")
			}
		},
		"slow_down": func(t *testing.T) {
			d := ask(t)
			wantError(t, s.collect(t, tv, d.Code), 400, "authorization_pending")
			wantError(t, s.collect(t, tv, d.Code), 400, "slow_down")
			if n := s.number(t, `SELECT poll_seconds FROM oauth_device WHERE signature = $1`, authserver.Signature(d.Code)); n != 10 {
				t.Errorf("the device has to wait %d s, want 10", n)
			}
			patient(d)
			wantError(t, s.collect(t, tv, d.Code), 400, "authorization_pending")
		},
		"access_denied": func(t *testing.T) {
			for _, a := range []thirdparty.Answers{{Subject: "dora", RejectLogin: true}, {Subject: "dora", RejectConsent: true}} {
				d := ask(t)
				if v := s.grantDevice(t, d, a); end(v) != devicePage+"?done=refused" {
					t.Errorf("%+v", v)
				}
				wantError(t, s.collect(t, tv, d.Code), 400, "access_denied")
			}
		},
		"expired_token": func(t *testing.T) {
			d := ask(t)
			s.exec(t, `UPDATE oauth_device SET expires_at = now() - interval '1 s' WHERE signature = '`+authserver.Signature(d.Code)+`'`)
			wantError(t, s.collect(t, tv, d.Code), 400, "expired_token")
			s.typeCode(t, thirdparty.NewBrowser(s.Target), d.At, d.User, 404)
			// One that runs out while the person reads is not granted.
			d = ask(t)
			b := thirdparty.NewBrowser(s.Target)
			to := s.typeCode(t, b, d.At, d.User, 200)
			s.exec(t, `UPDATE oauth_device SET expires_at = now() - interval '1 s' WHERE signature = '`+authserver.Signature(d.Code)+`'`)
			if v, err := b.Authorize(t.Context(), to, devicePage+"?done=", thirdparty.Answers{Subject: "dora"}); err != nil || end(v) != devicePage+"?done=failed" {
				t.Errorf("%+v %v", v, err)
			}
		},
		"taken back": func(t *testing.T) {
			d := ask(t)
			s.grantDevice(t, d, thirdparty.Answers{Subject: "dieter"})
			s.call(t, 204, http.MethodDelete, "/oauth2/auth/sessions/consent?subject=dieter&client="+tv.ID, nil, nil)
			wantError(t, s.collect(t, tv, d.Code), 400, "invalid_grant")
		},
		"a code serves once": func(t *testing.T) {
			d := ask(t)
			one, two := thirdparty.NewBrowser(s.Target), thirdparty.NewBrowser(s.Target)
			first, second := s.typeCode(t, one, d.At, strings.ToLower(strings.ReplaceAll(d.User, "-", " ")), 200), s.typeCode(t, two, d.At, d.User, 200)
			if to, err := thirdparty.NewBrowser(s.Target).Get(t.Context(), first); err != nil || to != devicePage+"?done=failed" {
				t.Errorf("in another browser: %s %v", to, err)
			}
			if to, err := one.Get(t.Context(), first); err != nil || !strings.Contains(to, "login_challenge=") {
				t.Fatalf("%s %v", to, err)
			}
			if to, err := two.Get(t.Context(), second); err != nil || to != devicePage+"?done=failed" {
				t.Errorf("a code that somebody uses: %s %v", to, err)
			}
			s.typeCode(t, two, d.At, d.User, 404)
		},
		"many at once": func(t *testing.T) {
			d := ask(t)
			s.grantDevice(t, d, thirdparty.Answers{Subject: "dora"})
			var wg sync.WaitGroup
			var mu sync.Mutex
			got := 0
			for range 8 {
				wg.Go(func() {
					if r := s.collect(t, tv, d.Code); r.Status == 200 {
						mu.Lock()
						defer mu.Unlock()
						got++
					}
				})
			}
			wg.Wait()
			if got != 1 {
				t.Errorf("one code gave tokens %d times", got)
			}
		},
		"hashes": func(t *testing.T) {
			d := ask(t)
			rows := dump(t, s.dsn)
			for _, secret := range []string{d.Code, d.User, strings.ReplaceAll(d.User, "-", ""), authserver.Signature(strings.ReplaceAll(d.User, "-", ""))} {
				if strings.Contains(rows, secret) || strings.Contains(logged.String(), secret) {
					t.Error("a code lies in the database or the log, or can be found from what does")
				}
			}
		},
		"others": func(t *testing.T) {
			d := ask(t)
			s.grantDevice(t, d, thirdparty.Answers{Subject: "dora"})
			wantError(t, s.collect(t, s.register(t, fields), d.Code), 400, "invalid_grant")
			wantError(t, s.collect(t, s.register(t, nil), d.Code), 400, "unauthorized_client")
			wantError(t, s.collect(t, tv, "nonsense"), 400, "invalid_grant")
			wantError(t, s.collect(t, tv, ""), 400, "invalid_request")
			if r := s.collect(t, tv, d.Code); r.Status != 200 {
				t.Errorf("others spoilt the code: %+v", r)
			}
			secretive := s.register(t, map[string]any{"grant_types": []string{deviceGrant}})
			for _, tt := range []struct {
				by     registered
				change url.Values
				status int
				code   string
			}{
				{registered{ID: "nobody"}, nil, 401, "invalid_client"}, {registered{ID: secretive.ID}, nil, 401, "invalid_client"},
				{secretive, nil, 200, ""}, {s.register(t, nil), nil, 400, "unauthorized_client"},
				{tv, url.Values{"scope": {"admin"}}, 400, "invalid_scope"}, {tv, url.Values{"scope": {""}}, 400, "invalid_scope"},
				{tv, url.Values{"audience": {"https://other.example"}}, 400, "invalid_request"}, {tv, url.Values{"scope": {"openid", "photos"}}, 400, "invalid_request"},
			} {
				if d, status := s.askDevice(t, tt.by, tt.change); status != tt.status || d.Error != tt.code {
					t.Errorf("%v: %d %q, want %d %q", tt.change, status, d.Error, tt.status, tt.code)
				}
			}
		},
		"audience": func(t *testing.T) {
			d, _ := s.askDevice(t, tv, url.Values{"audience": {api}})
			s.grantDevice(t, d, thirdparty.Answers{Subject: "dora"})
			token := s.collect(t, tv, d.Code).Access
			if n := s.number(t, `SELECT count(*) FROM oauth_access WHERE signature = $1 AND audience = '[]'`, authserver.Signature(token)); n != 1 {
				t.Error("an audience that the consent page did not grant is in the token")
			}
		},
		"mixed up with an app's": func(t *testing.T) {
			// Verifiers of one way lead nowhere on the other.
			app := s.register(t, map[string]any{"grant_types": []string{deviceGrant, "authorization_code"}})
			b := thirdparty.NewBrowser(s.Target)
			d, _ := s.askDevice(t, app, nil)
			login, err := b.Get(t.Context(), s.typeCode(t, b, d.At, d.User, 200))
			if err != nil {
				t.Fatal(err)
			}
			u, _ := url.Parse(login)
			var to struct {
				RedirectTo string `json:"redirect_to"`
			}
			s.call(t, 200, http.MethodPut, "/oauth2/auth/requests/login/accept?login_challenge="+u.Query().Get("login_challenge"), map[string]any{"subject": "dora"}, &to)
			back, _ := url.Parse(to.RedirectTo)
			if !strings.HasPrefix(to.RedirectTo, d.At+"?") {
				t.Errorf("the login leads to %s", to.RedirectTo)
			}
			at, err := b.Get(t.Context(), s.authURL(app, url.Values{"login_verifier": {back.Query().Get("login_verifier")}}))
			if err != nil || !strings.Contains(at, "error=access_denied") {
				t.Errorf("%s %v", at, err)
			}
			if at, err := b.Get(t.Context(), to.RedirectTo); err != nil || !strings.Contains(at, "consent_challenge=") {
				t.Errorf("%s %v", at, err)
			}
		},
	} {
		t.Run(name, f)
	}
}

// TestDeviceCodesAreNotGuessed: wrong codes of all together are bounded, whatever page they come from.
func TestDeviceCodesAreNotGuessed(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", nil)
	b := thirdparty.NewBrowser(s.Target)
	page, err := b.Get(t.Context(), s.Issuer+"/oauth2/device/verify?user_code=bcdf-ghjk")
	if err != nil || !strings.HasSuffix(page, "&user_code=BCDFGHJK") {
		t.Fatalf("%s %v", page, err)
	}
	u, _ := url.Parse(page)
	path := "/oauth2/auth/requests/device/accept?device_challenge=" + u.Query().Get("device_challenge")
	refused := 0
	for range 400 {
		if r := raw(t, http.MethodPut, s.Admin+s.AdminPrefix+path, map[string]string{"Content-Type": "application/json"}, `{"user_code":"BCDF-GHJK"}`); r.Status == http.StatusTooManyRequests {
			refused++
		} else if r.Status != 404 {
			t.Fatalf("%+v", r)
		}
	}
	if refused == 0 {
		t.Error("400 wrong codes were all looked up")
	}
	s.call(t, 400, http.MethodPut, "/oauth2/auth/requests/device/accept?device_challenge=made-up", map[string]any{"user_code": "BCDF-GHJK"}, nil)
	s.call(t, 400, http.MethodPut, "/oauth2/auth/requests/device/accept", map[string]any{"user_code": "BCDF-GHJK"}, nil)
}

// TestDevicesAreBounded: one address cannot fill the table in a public client's name, nor keep others from asking.
func TestDevicesAreBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", nil)
	fields := map[string]any{"grant_types": []string{deviceGrant}, "token_endpoint_auth_method": "none"}
	app, other := s.register(t, fields), s.register(t, fields)
	statuses := map[int]int{}
	for range 120 {
		_, status := s.askDevice(t, app, nil)
		statuses[status]++
	}
	if statuses[200] < 60 || statuses[http.StatusTooManyRequests] == 0 {
		t.Errorf("%v", statuses)
	}
	if _, status := s.askDevice(t, other, nil); status != 200 {
		t.Errorf("another client: %d", status)
	}
}

// TestNoDevices: a generation or a server without them says so.
func TestNoDevices(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]running{"1.1": serve(t, "1.1", nil), "no page": serve(t, "2.0", func(c *authserver.Config) { c.DeviceURL = "" })} {
		app := s.register(t, nil)
		doc := document(t, s.Public+"/.well-known/openid-configuration")
		if doc["device_authorization_endpoint"] != nil || strings.Contains(strings.Join(list(doc, "grant_types_supported"), " "), "device") {
			t.Errorf("%s: %v", name, doc)
		}
		status(t, s.Public+"/oauth2/device/verify", 404)
		if r := raw(t, http.MethodPost, s.Public+"/oauth2/device/auth", nil, ""); r.Status != 404 {
			t.Errorf("%s: %d", name, r.Status)
		}
		if r := s.collect(t, app, "x"); r.Status != 400 {
			t.Errorf("%s: %+v", name, r)
		}
		s.call(t, 404, http.MethodPut, "/oauth2/auth/requests/device/accept?device_challenge=x", map[string]any{"user_code": "BCDF-GHJK"}, nil)
	}
	s := serve(t, "1.1", nil)
	s.call(t, 400, http.MethodPost, "/clients", map[string]any{"grant_types": []string{deviceGrant}}, nil)
}
