package authserver_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"

	"github.com/tideover/tideover/internal/lab/thirdparty"
)

const redirectURI = "http://127.0.0.1:1/callback"

// registered is an app at a server.
type registered struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
	Owner  string `json:"owner"`
}

// register registers a confidential app, with some fields changed.
func (s running) register(t *testing.T, change map[string]any) registered {
	t.Helper()
	fields := map[string]any{"client_name": "app", "owner": "team", "redirect_uris": []string{redirectURI},
		"grant_types": []string{"authorization_code", "refresh_token", "client_credentials"},
		"scope":       "openid offline_access photos", "post_logout_redirect_uris": []string{redirectURI}}
	for k, v := range change {
		fields[k] = v
	}
	var app registered
	if err := s.Call(t.Context(), http.MethodPost, "/clients", fields, &app); err != nil {
		t.Fatal(err)
	}
	return app
}

const pkce = "a-verifier-of-at-least-forty-three-characters-0123456789"

func (s running) authURL(app registered, change url.Values) string {
	q := url.Values{"client_id": {app.ID}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "state": {"a-state-of-mine"},
		"scope": {"openid offline_access photos"}, "code_challenge": {oauth2.S256ChallengeFromVerifier(pkce)}, "code_challenge_method": {"S256"}}
	for k, v := range change {
		q[k] = v
		if v == nil {
			q.Del(k)
		}
	}
	return s.Issuer + "/oauth2/auth?" + q.Encode()
}

// authorize logs a person in and returns the visit, which must end with a code.
func (s running) authorize(t *testing.T, app registered, a thirdparty.Answers) thirdparty.Visit {
	t.Helper()
	if a.Subject == "" {
		a.Subject = "ann"
	}
	v, err := thirdparty.NewBrowser(s.Target).Authorize(t.Context(), s.authURL(app, nil), redirectURI, a)
	if err != nil || v.Code == "" {
		t.Fatalf("no code: %+v %v", v, err)
	}
	return v
}

// reply is an answer of the token endpoint.
type reply struct {
	Status  int
	Header  http.Header
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Scope   string `json:"scope"`
	Error   string `json:"error"`
}

// post sends a form to the public listener with the app's credentials.
func (s running) post(t testing.TB, path string, app registered, form url.Values) reply {
	t.Helper()
	if app.Secret == "" {
		form.Set("client_id", app.ID)
	}
	req, err := http.NewRequest(http.MethodPost, s.Public+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if app.Secret != "" {
		req.SetBasicAuth(app.ID, app.Secret)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return reply{}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	out := reply{Status: res.StatusCode, Header: res.Header}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &out); err != nil {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	return out
}

func (s running) exchange(t testing.TB, app registered, code string) reply {
	return s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {redirectURI}, "code_verifier": {pkce}})
}

func (s running) refresh(t testing.TB, app registered, token string) reply {
	return s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

func (s running) revoke(t testing.TB, app registered, token string) reply {
	return s.post(t, "/oauth2/revoke", app, url.Values{"token": {token}})
}

// tokens takes an app all the way to tokens.
func (s running) tokens(t *testing.T, app registered, a thirdparty.Answers) (reply, thirdparty.Visit) {
	t.Helper()
	v := s.authorize(t, app, a)
	r := s.exchange(t, app, v.Code)
	if r.Status != http.StatusOK || r.Access == "" || r.Refresh == "" || r.ID == "" {
		t.Fatalf("no tokens: %d %s", r.Status, r.Error)
	}
	return r, v
}

func (s running) active(t *testing.T, token string) bool {
	t.Helper()
	ok, err := s.Active(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// call calls the admin API and wants a status.
func (s running) call(t *testing.T, want int, method, path string, body, out any) {
	t.Helper()
	err := s.Call(t.Context(), method, path, body, out)
	got := 200
	if e := new(thirdparty.StatusError); errors.As(err, &e) {
		got = e.Status
	} else if err != nil {
		t.Fatal(err)
	}
	if got != want && (want >= 300 || got != 200) {
		t.Errorf("%s %s: %v, want %d", method, path, err, want)
	}
}

// number asks the database.
func (s running) number(t *testing.T, sql string, args ...any) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var n int
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (s running) exec(t *testing.T, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// plant gives a client redirect URIs that the server would not take, as an old row may have them.
func (s running) plant(t *testing.T, app registered, uris ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	list, err := json.Marshal(uris)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `UPDATE oauth_client SET redirect_uris = $2, post_logout_redirect_uris = $2 WHERE id = $1`, app.ID, string(list)); err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, r reply, status int, code string) {
	t.Helper()
	if r.Status != status || r.Error != code {
		t.Errorf("got %d %q, want %d %q", r.Status, r.Error, status, code)
	}
}
