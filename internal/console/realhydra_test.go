//go:build hydra

package console_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// newHydraRig starts the real Ory Hydra, and a console for it.
func newHydraRig(t *testing.T, variable, prefix string, serve ...string) *rig {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		t.Fatalf("%s names no program; make hydra builds it", variable)
	}
	var pages http.Handler
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { pages.ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	free := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	public, admin, dsn := free(), free(), pgtest.NewDatabase(t)
	var log lockedBuffer
	env := append(os.Environ(), "DSN="+dsn, "SECRETS_SYSTEM=a secret of the tests", "SECRETS_COOKIE=a secret of the tests", "URLS_SELF_ISSUER=http://127.0.0.1:"+public+"/",
		"URLS_LOGIN="+s.URL+"/login", "URLS_CONSENT="+s.URL+"/consent", "URLS_LOGOUT="+s.URL+"/logout", "URLS_ERROR="+s.URL+"/error",
		"SERVE_PUBLIC_HOST=127.0.0.1", "SERVE_PUBLIC_PORT="+public, "SERVE_ADMIN_HOST=127.0.0.1", "SERVE_ADMIN_PORT="+admin, "LOG_LEVEL=warn", "SQA_OPT_OUT=true", "OAUTH2_HASHERS_BCRYPT_COST=4")
	migrate := exec.CommandContext(t.Context(), program, "migrate", "sql", "--read-from-env", "--yes")
	migrate.Env = env
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("hydra migrate: %v\n%s", err, out[max(0, len(out)-2000):])
	}
	hydra := exec.CommandContext(t.Context(), program, serve...)
	hydra.Env, hydra.Stdout, hydra.Stderr = env, &log, &log
	if err := hydra.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = hydra.Process.Kill()
		_ = hydra.Wait() // it was killed
		if t.Failed() {
			t.Log(log.String()[max(0, len(log.String())-4000):])
		}
	})
	at := "http://127.0.0.1:"
	r := &rig{Target: thirdparty.Target{Issuer: at + public, Public: at + public, Admin: at + admin, AdminPrefix: prefix}, url: s.URL}
	pages = r.console(t, nil)
	await.That(t, "hydra is ready", func() bool {
		res, err := http.Get(r.Admin + "/health/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return r
}

// TestRealHydra goes the whole way with Ory Hydra 1.11.10 and 2.3.0.
func TestRealHydra(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, variable, prefix string
		serve                  []string
	}{
		{"1.x", "TIDEOVER_HYDRA_V1", "", []string{"serve", "all", "--dangerous-force-http"}},
		{"2.x", "TIDEOVER_HYDRA_V2", "/admin", []string{"serve", "all", "--dev"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newHydraRig(t, tt.variable, tt.prefix, tt.serve...)
			developer, b := r.as(t, "bob"), r.browser(t)
			a := developer.newApp(url.Values{"name": {"Calendar"}, "kind": {"web"}, "redirects": {redirectURI}, "scope": {"openid", "profile", "offline_access"}})
			want := url.Values{"scope": {"openid profile offline_access"}}
			login, p := b.toLogin(r, a, want)
			p = b.raw("/login", url.Values{"csrf": {p.csrf(t)}, "login_challenge": {login}, "name": {"ann"}, "password": {password}, "remember": {"yes"}})
			at, p := b.follow(p.to)
			challenge := query(t, at, "consent_challenge")
			if !strings.Contains(p.body, "Calendar") || !strings.Contains(p.body, "<bdi>bob</bdi>") {
				t.Fatalf("no consent page at %s:\n%s", at, p.body)
			}
			wellMade(t, "consent", p)
			p = b.raw("/consent", url.Values{"csrf": {p.csrf(t)}, "consent_challenge": {challenge}, "choice": {"allow"}, "scope": {"offline_access"}, "remember": {"yes"}})
			at, _ = b.follow(p.to)
			got := r.exchange(t, a, query(t, at, "code"))
			if got.Scope != "openid offline_access" || !r.active(t, got.Access) {
				t.Fatalf("token at %s: %+v", at, got)
			}
			// 2.x has all of a request in its challenge, and learns where the answer arrives that there was one before.
			p = b.send("/consent", url.Values{"consent_challenge": {challenge}, "choice": {"allow"}, "scope": {"profile"}})
			if p.to != "" {
				at, _ = b.follow(p.to)
				if query(t, at, "code") != "" {
					t.Errorf("a consent that is answered twice ends at %s", at)
				}
			} else if p.status != http.StatusGone {
				t.Errorf("a consent that is answered twice: %d\n%s", p.status, p.body)
			}
			if p := b.get("/login?login_challenge=nonsense"); p.status != http.StatusNotFound {
				t.Errorf("an unknown login: %d\n%s", p.status, p.body)
			}
			// Remembered, for no more than what was given.
			at, _ = b.follow(r.authURL(a, url.Values{"scope": {"openid offline_access"}}))
			if query(t, at, "code") == "" {
				t.Errorf("not remembered: %s", at)
			}
			if p := b.get("/access"); !strings.Contains(p.body, "Calendar") || !strings.Contains(p.body, "Stay connected") || strings.Contains(p.body, "See your profile") {
				t.Errorf("the apps with access:\n%s", p.body)
			}
			r.as(t, "root").verifyApp(t, a)
			if p := developer.get("/apps"); !strings.Contains(p.body, "Verified by") {
				t.Errorf("the developer's apps:\n%s", p.body)
			}
			developer.send("/apps/"+a.ID+"/secret", nil)
			renewed := developer.shownApp()
			if old := r.token(t, a, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}}); old.Error != "invalid_client" {
				t.Errorf("the old secret: %+v", old)
			}
			if now := r.token(t, renewed, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}}); now.Access == "" {
				t.Errorf("the new secret: %+v", now)
			} else {
				got = now
			}
			b.send("/access/revoke", url.Values{"client": {a.ID}})
			if r.active(t, got.Access) || strings.Contains(b.get("/access").body, "Calendar") {
				t.Error("the access was not taken back")
			}
			// Its log-out asks on our page.
			at, p = b.follow(r.Public + "/oauth2/sessions/logout")
			out := query(t, at, "logout_challenge")
			if out == "" || !strings.Contains(p.body, "Do you want to log out?") {
				t.Fatalf("the log-out is at %s:\n%s", at, p.body)
			}
			p = b.raw("/logout", url.Values{"csrf": {p.csrf(t)}, "logout_challenge": {out}, "choice": {"leave"}})
			b.follow(p.to)
			b.toLogin(r, a, want)
			developer.send("/apps/"+a.ID+"/delete", url.Values{"sure": {"yes"}})
			if strings.Contains(developer.get("/apps").body, a.ID) {
				t.Error("a deleted app is listed")
			}
			at, p = b.follow(r.authURL(a, want))
			if !strings.HasPrefix(at, r.url+"/error") || !strings.Contains(p.body, "invalid_client") {
				t.Errorf("an app that is gone ends at %s", at)
			}
		})
	}
}
