package console_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// askDevice is a device that asks for codes.
func (r *rig) askDevice(t *testing.T, a app) (device, user, complete string) {
	t.Helper()
	res, err := http.PostForm(r.Public+"/oauth2/device/auth", url.Values{"client_id": {a.ID}, "client_secret": {a.Secret}, "scope": {"openid photos"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct {
		Device   string `json:"device_code"`
		User     string `json:"user_code"`
		Complete string `json:"verification_uri_complete"`
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || out.User == "" {
		t.Fatalf("%d %+v %v", res.StatusCode, out, err)
	}
	return out.Device, out.User, out.Complete
}

// TestDevice: a person types a code, sees whose device it is, and lets it in or not.
func TestDevice(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	a := r.register(t, map[string]any{"grant_types": []string{deviceGrant, "authorization_code"}})
	for choice, want := range map[string]string{"allow": "", "refuse": "access_denied"} {
		device, user, complete := r.askDevice(t, a)
		b := r.browser(t)
		at, p := b.follow(complete)
		wellMade(t, "device", p)
		if p.status != http.StatusOK || !strings.Contains(p.body, `value="`+user+`"`) || !strings.Contains(p.body, "If somebody sent you this link") {
			t.Fatalf("%d\n%s", p.status, p.body)
		}
		if _, p := b.follow(r.url + "/device"); p.status != http.StatusOK || strings.Contains(p.body, "If somebody sent you") {
			t.Errorf("without a code in the address: %d\n%s", p.status, p.body)
		}
		challenge, csrf := query(t, at, "device_challenge"), p.csrf(t)
		wrong := b.raw("/device", url.Values{"csrf": {csrf}, "device_challenge": {challenge}, "user_code": {"BBBB-BBBB"}})
		if wrong.status != http.StatusNotFound || !strings.Contains(wrong.body, "There is no such code") {
			t.Errorf("a wrong code: %d\n%s", wrong.status, wrong.body)
		}
		p = b.raw("/device", url.Values{"csrf": {csrf}, "device_challenge": {challenge}, "user_code": {strings.ToLower(user)}})
		at, p = b.follow(p.to)
		p = b.raw("/login", url.Values{"csrf": {p.csrf(t)}, "login_challenge": {query(t, at, "login_challenge")}, "name": {"ann"}, "password": {password}})
		at, p = b.follow(p.to)
		if !strings.Contains(p.body, "the device that showed you the code") || strings.Contains(p.body, "127.0.0.1:1") {
			t.Errorf("the consent page:\n%s", p.body)
		}
		if csp := p.header.Get("Content-Security-Policy"); strings.Contains(csp, "http:;") || strings.HasSuffix(csp, "http:") {
			t.Errorf("the page's forms may lead to an app's address: %s", csp)
		}
		p = b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {query(t, at, "consent_challenge")}, "choice": {choice}, "scope": {"openid"}})
		if _, p = b.follow(p.to); p.status != http.StatusOK || strings.Contains(p.body, "The device is connected") != (choice == "allow") {
			t.Errorf("%s: %d\n%s", choice, p.status, p.body)
		}
		wellMade(t, choice, p)
		got := r.token(t, a, url.Values{"grant_type": {deviceGrant}, "device_code": {device}})
		if got.Error != want || (got.Access == "") != (want != "") || want == "" && got.Scope != "openid" {
			t.Errorf("%s: the device gets %+v", choice, got)
		}
		if choice == "allow" {
			if b.send("/access/revoke", url.Values{"client": {a.ID}}); r.active(t, got.Access) {
				t.Error("the device's token outlives its revocation")
			}
		}
	}
	if _, p := r.browser(t).follow(r.url + "/device?done=failed"); p.status != http.StatusGone || !strings.Contains(p.body, "was not connected") {
		t.Errorf("%d", p.status)
	}
}

// TestDeviceCodesAreCounted: whoever tries codes is told to wait, and a right one costs nothing.
func TestDeviceCodesAreCounted(t *testing.T) {
	t.Parallel()
	var asked int
	h, r := newHydra(t, map[string]any{"PUT /oauth2/auth/requests/device/accept": func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked <= 30 {
			_, _ = w.Write([]byte(`{"redirect_to":"http://hydra.example/oauth2/device/verify?device_verifier=v"}`))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}}, nil)
	b := r.browser(t)
	csrf := b.get("/logout").csrf(t)
	statuses := map[int]int{}
	for range 80 {
		statuses[b.raw("/device", url.Values{"csrf": {csrf}, "device_challenge": {"c"}, "user_code": {"<b>BCDF"}}).status]++
	}
	if statuses[http.StatusSeeOther] != 30 || statuses[http.StatusTooManyRequests] == 0 || asked > 60 {
		t.Errorf("%v, of which the server saw %d", statuses, asked)
	}
	if sent := h.got("PUT /oauth2/auth/requests/device/accept"); !strings.Contains(sent, `"user_code":"BBCDF"`) {
		t.Errorf("the server was asked %s", sent)
	}
	if p := r.browser(t).get("/device?user_code=bcdf-ghjk"); p.to != "http://hydra.example/oauth2/device/verify?user_code=bcdf-ghjk" {
		t.Errorf("without a challenge: %s", p.to)
	}
}
