package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/thirdparty"
	"github.com/tideover/tideover/plan"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		os.Exit(runChild(config))
	}
	os.Exit(pgtest.RunTests(m))
}

// strict is a 1.1 server, which ends a session when a refresh token comes a second time.
func strict(t testing.TB) thirdparty.Target {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	if err := authserver.Migrate(t.Context(), dsn, "1.1"); err != nil {
		t.Fatal(err)
	}
	var public, admin http.Handler
	serve := func(h *http.Handler) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*h).ServeHTTP(w, r) }))
		t.Cleanup(s.Close)
		return s
	}
	publicServer, adminServer := serve(&public), serve(&admin)
	s, err := authserver.New(t.Context(), authserver.Config{
		Generation: "1.1", DSN: dsn, Issuer: publicServer.URL, SystemSecret: "a secret of the tests",
		LoginURL: "http://127.0.0.1:2/login", ConsentURL: "http://127.0.0.1:2/consent", BcryptCost: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	public, admin = s.Public(), s.Admin()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	<-ready
	return thirdparty.Target{Issuer: publicServer.URL, Public: publicServer.URL, Admin: adminServer.URL}
}

func bundled(t testing.TB) plan.HTTP {
	profile, err := plan.LoadProfile("bundled", ".")
	if err != nil {
		t.Fatal(err)
	}
	return profile.HTTP
}

// routed is the server behind a router.
func routed(t *testing.T, s thirdparty.Target) thirdparty.Target {
	t.Helper()
	side := router.Target{Public: s.Public, Admin: s.Admin}
	r, err := router.New(router.Config{
		PublicListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", ControlListen: "127.0.0.1:0", Token: "0123456789abcdef",
		StatePath: filepath.Join(t.TempDir(), "state"), Profile: bundled(t), Blue: side, Green: side, Coalesce: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s.Public, s.Admin = "http://"+r.Addresses().Public, "http://"+r.Addresses().Admin
	return s
}

const (
	redirect = "http://127.0.0.1:1/callback"
	verifier = "a-verifier-of-at-least-forty-three-characters-0123456789"
)

// session is one login of a client that says who it is in its own way.
type session struct {
	at             thirdparty.Target
	method         string // "client_secret_basic", "client_secret_post" or "none"
	id, secret     string
	access, reload string
}

// begin registers a client and logs a person in.
func begin(t testing.TB, at thirdparty.Target, method, subject string) *session {
	t.Helper()
	s := &session{at: at, method: method}
	var app struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	fields := map[string]any{"client_name": "app", "owner": "team", "redirect_uris": []string{redirect}, "token_endpoint_auth_method": method,
		"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid offline_access"}
	if err := at.Call(t.Context(), http.MethodPost, "/clients", fields, &app); err != nil {
		t.Fatal(err)
	}
	s.id, s.secret = app.ID, app.Secret
	q := url.Values{"client_id": {s.id}, "redirect_uri": {redirect}, "response_type": {"code"}, "state": {"a-state-of-mine"},
		"scope": {"openid offline_access"}, "code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"}}
	v, err := thirdparty.NewBrowser(at).Authorize(t.Context(), at.Issuer+"/oauth2/auth?"+q.Encode(), redirect, thirdparty.Answers{Subject: subject})
	if err != nil || v.Code == "" {
		t.Fatalf("no code: %+v %v", v, err)
	}
	got := s.ask(t, url.Values{"grant_type": {"authorization_code"}, "code": {v.Code}, "redirect_uri": {redirect}, "code_verifier": {verifier}})
	if s.access, s.reload = got.Access, got.Refresh; s.reload == "" {
		t.Fatalf("no tokens: %+v", got)
	}
	return s
}

type tokens struct {
	status  int
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

func (s *session) ask(t testing.TB, form url.Values) (got tokens) {
	t.Helper()
	if s.method != "client_secret_basic" {
		form.Set("client_id", s.id)
	}
	if s.method == "client_secret_post" {
		form.Set("client_secret", s.secret)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.at.Public+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if s.method == "client_secret_basic" {
		req.SetBasicAuth(s.id, s.secret)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return got
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(raw, &got) != nil {
		t.Errorf("status %d: %.200q %v", resp.StatusCode, raw, err)
	}
	got.status = resp.StatusCode
	return got
}

// storm sends the same refresh three times at once and again 200 ms later, and takes any tokens that it is given.
func (s *session) storm(t *testing.T) (answers [4]tokens) {
	once := func(i int) {
		answers[i] = s.ask(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.reload}})
	}
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() { once(i) })
	}
	all.Wait()
	time.Sleep(200 * time.Millisecond) // this client's habit
	once(3)
	for _, a := range answers {
		if a.Refresh != "" {
			s.access, s.reload = a.Access, a.Refresh
		}
	}
	return answers
}

// lives asks the server itself, by introspection and by one more refresh.
func (s *session) lives(t *testing.T) bool {
	t.Helper()
	active, err := s.at.Active(t.Context(), s.access)
	if err != nil {
		t.Fatal(err)
	}
	got := s.ask(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.reload}})
	if active != (got.status == http.StatusOK) {
		t.Errorf("introspection says %v, a refresh %d", active, got.status)
	}
	return active
}

// Clients that send each refresh three times at once, and again after 200 ms, keep their sessions behind the router and
// lose them without it, however they say who they are.
func TestRefreshStorm(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	server := strict(t)
	front := routed(t, server)
	const sessions, rounds = 3, 3
	for _, method := range slice.Pick(t, 1, []string{"client_secret_basic", "client_secret_post", "none"}) {
		for name, at := range map[string]thirdparty.Target{"with the router": front, "without": server} {
			t.Run(method+" "+name, func(t *testing.T) {
				t.Parallel()
				kept := 0
				for i := range sessions {
					s := begin(t, at, method, fmt.Sprintf("person-%s-%s-%d", method, name[:5], i))
					for round := range rounds {
						answers := s.storm(t)
						for j, a := range answers {
							if at == front && (a.status != http.StatusOK || a.Refresh != answers[0].Refresh || a.Access != answers[0].Access) {
								t.Errorf("round %d: answer %d is %d %s, and not that of the first", round, j, a.status, a.Error)
							}
						}
					}
					if s.lives(t) {
						kept++
					}
				}
				t.Logf("%d of %d sessions kept after %d refreshes, each sent 4 times", kept, sessions, rounds)
				if want := map[bool]int{true: sessions, false: 0}[at == front]; kept != want {
					t.Errorf("%d sessions kept, want %d", kept, want)
				}
			})
		}
	}
}
