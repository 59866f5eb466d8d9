package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/authserver"
)

// as sends a request to the admin API under a host name, and returns the status.
func (s running) as(t *testing.T, method, path, host string, header map[string]string, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.Admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text(t, res)
	return res.StatusCode
}

// adminAndBrowsers: a page that somebody opens inside the private network reaches the port, and must reach nothing.
func adminAndBrowsers(t *testing.T, s running, _ bool) {
	clients := s.AdminPrefix + "/clients"
	for host, want := range map[string]int{"": 200, "127.0.0.1": 200, "127.0.0.1:4445": 200, "[::1]:4445": 200, "192.0.2.1": 200, "localhost:4445": 200,
		"blue": 200, "blue:4445": 200, "app.localhost": 200, "evil.example": 421, "evil.example:4445": 421, "EVIL.example.": 421, "127.0.0.1.evil.example": 421,
		"localhost.evil.example": 421} {
		for _, path := range []string{clients, "/version", s.AdminPrefix + "/metrics/prometheus"} {
			if got := s.as(t, http.MethodGet, path, host, nil, ""); got != want {
				t.Errorf("%s under host %q: %d, want %d", path, host, got, want)
			}
		}
	}
	if got := s.as(t, http.MethodGet, "/health/ready", "evil.example", nil, ""); got != 200 {
		t.Errorf("health under any name: %d", got)
	}
	const client = `{"client_name":"x"}`
	for name, tt := range map[string]struct {
		method, path string
		header       map[string]string
		body         string
		want         int
	}{
		"JSON":               {"POST", clients, map[string]string{"Content-Type": "application/json; charset=utf-8"}, client, 201},
		"form":               {"POST", clients, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, client, 415},
		"plain text":         {"POST", clients, map[string]string{"Content-Type": "text/plain"}, client, 415},
		"parts":              {"POST", clients, map[string]string{"Content-Type": "multipart/form-data; boundary=x"}, client, 415},
		"no type":            {"POST", clients, nil, client, 415},
		"nothing at all":     {"POST", clients, nil, "", 201},
		"introspection":      {"POST", s.AdminPrefix + "/oauth2/introspect", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, "token=x", 200},
		"another page":       {"POST", clients, map[string]string{"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, client, 403},
		"a sibling's page":   {"POST", clients, map[string]string{"Content-Type": "application/json", "Sec-Fetch-Site": "same-site"}, client, 403},
		"an older browser":   {"POST", clients, map[string]string{"Content-Type": "application/json", "Origin": "https://evil.example"}, client, 403},
		"another's deletion": {"DELETE", s.AdminPrefix + "/oauth2/tokens?client_id=x", map[string]string{"Sec-Fetch-Site": "cross-site"}, "", 403},
	} {
		if got := s.as(t, tt.method, tt.path, "", tt.header, tt.body); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestAdminToken(t *testing.T) {
	t.Parallel()
	const token = "a token of the tests"
	s := serve(t, "2.0", func(c *authserver.Config) { c.AdminToken, c.AdminHosts = token, []string{"admin.example:4445"} })
	for name, tt := range map[string]struct {
		path, auth string
		want       int
	}{
		"right":          {"/admin/clients", "Bearer " + token, 200},
		"small letters":  {"/admin/clients", "bearer " + token, 200},
		"none":           {"/admin/clients", "", 401},
		"wrong":          {"/admin/clients", "Bearer wrong", 401},
		"longer":         {"/admin/clients", "Bearer " + token + "x", 401},
		"a part":         {"/admin/clients", "Bearer " + token[:10], 401},
		"Basic":          {"/admin/clients", basic("admin", token), 401},
		"figures":        {"/admin/metrics/prometheus", "", 401},
		"version":        {"/version", "", 401},
		"health":         {"/health/ready", "", 200},
		"what is not":    {"/admin/nothing", "", 401},
		"what is not, 2": {"/admin/nothing", "Bearer " + token, 404},
	} {
		r := raw(t, http.MethodGet, s.Admin+tt.path, map[string]string{"Authorization": tt.auth}, "")
		if r.Status != tt.want || (r.Status == 401) != (r.Header.Get("WWW-Authenticate") == `Bearer realm="tideover"`) {
			t.Errorf("%s: %d %v", name, r.Status, r.Header)
		}
	}
	for host, want := range map[string]int{"admin.example": 200, "Admin.Example:1": 200, "other.example": 421} {
		if got := s.as(t, http.MethodGet, "/admin/clients", host, map[string]string{"Authorization": "Bearer " + token}, ""); got != want {
			t.Errorf("host %s: %d, want %d", host, got, want)
		}
	}
	// The public listener asks for no token of the admin API, and takes none for a client's.
	if doc := document(t, s.Public+"/.well-known/openid-configuration"); doc["issuer"] == nil {
		t.Error("no discovery")
	}
	wantError(t, raw(t, http.MethodPost, s.Public+"/oauth2/introspection", map[string]string{"Authorization": "Bearer " + token}, url.Values{"token": {"x"}}.Encode()), 401, "invalid_client")
	if _, err := authserver.New(t.Context(), authserver.Config{Generation: "2.0", Issuer: "http://127.0.0.1:2", SystemSecret: "a secret of the tests",
		LoginURL: "http://127.0.0.1:2/", ConsentURL: "http://127.0.0.1:2/", AdminToken: "short"}); err == nil || !strings.Contains(err.Error(), "16 characters") {
		t.Errorf("a short token: %v", err)
	}
	if b, err := json.Marshal(logged.String()); err != nil || strings.Contains(string(b), token) {
		t.Error("the token is in the log")
	}
}
