package router

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/plan"
)

// hydraLike answers as a server that knows only names that it has given out itself.
func hydraLike(side, base string) func(http.ResponseWriter, *http.Request, seen) {
	return func(w http.ResponseWriter, r *http.Request, s seen) {
		q := r.URL.Query()
		name := first(q, verifiers) + first(q, challenges)
		switch {
		case name != "" && !strings.HasPrefix(name, side):
			w.WriteHeader(http.StatusNotFound)
		case q.Get("login_verifier") != "":
			http.Redirect(w, r, "http://app/consent?consent_challenge="+side+"-c2", http.StatusFound)
		case q.Get("consent_verifier") != "":
			http.Redirect(w, r, "http://client/cb?code=c", http.StatusFound)
		case s.Listener == "public":
			http.Redirect(w, r, "http://app/login?login_challenge="+side+"-c1", http.StatusFound)
		case r.Method == http.MethodPut:
			step := map[bool]string{true: "login_verifier=" + side + "-v1", false: "consent_verifier=" + side + "-v2"}[q.Get("login_challenge") != ""]
			json.NewEncoder(w).Encode(map[string]string{"redirect_to": base + "/oauth2/auth?client_id=app&state=s&" + step})
		default:
			fmt.Fprint(w, "{}")
		}
	}
}

func loginBundle(t *testing.T) (b *bundle, browse func(string) answered, accept func(kind, challenge string) answered) {
	b = setup(t, func(c *Config) { c.PublicURL = "http://id.example.com" })
	b.blue.answers(hydraLike("blue", b.public))
	b.green.answers(hydraLike("green", b.public))
	browse = func(query string) answered { return do(t.Context(), "GET", b.public+"/oauth2/auth?"+query, "") }
	accept = func(kind, challenge string) answered {
		return do(t.Context(), "PUT", b.admin+"/oauth2/auth/requests/"+kind+"/accept?"+kind+"_challenge="+challenge, "{}")
	}
	return b, browse, accept
}

const request = "client_id=app&state=s"

func TestDrainWaitsForLoginsUnderWay(t *testing.T) {
	t.Parallel()
	b, browse, accept := loginBundle(t)
	browse(request)
	if n := b.router.State().Logins; n != 1 {
		t.Fatalf("%d logins, want 1", n)
	}
	type drained struct {
		left int
		err  error
	}
	result := make(chan drained, 1)
	go func() {
		left, err := b.control.Drain(t.Context(), run1, 5*time.Second, 10*time.Second)
		result <- drained{left, err}
	}()
	await.That(t, "draining", func() bool { return b.router.State().Draining })
	fresh := later(t.Context(), "GET", b.public+"/oauth2/auth?client_id=late", "")
	b.heldNow(1)
	if a := do(t.Context(), "POST", b.public+"/oauth2/token", ""); a.err != nil || b.router.State().Held != 1 {
		t.Errorf("a write waits in a drain: %+v", a)
	}
	accept("login", "blue-c1")
	browse(request + "&login_verifier=blue-v1")
	accept("consent", "blue-c2")
	if n := b.router.State().Logins; n != 1 {
		t.Errorf("%d logins half way, want 1", n)
	}
	browse(request + "&consent_verifier=blue-v2")
	if r := <-result; r.left != 0 || r.err != nil {
		t.Errorf("drained: %+v", r)
	}
	b.move(run1, plan.Green)
	if a := <-fresh; !strings.Contains(a.header.Get("Location"), "green-c1") {
		t.Errorf("the login that waited: %+v", a)
	}
}

func TestDrainIsBoundedAndEndsByItself(t *testing.T) {
	t.Parallel()
	b, browse, _ := loginBundle(t)
	browse(request)
	left, err := b.control.Drain(t.Context(), run1, 50*time.Millisecond, 300*time.Millisecond)
	if left != 1 || err != nil {
		t.Errorf("left %d, %v", left, err)
	}
	if a := browse("client_id=late"); a.status != 302 { // waits for the drain's own deadline
		t.Errorf("%+v", a)
	}
	if st := b.router.State(); st.Phase != Open || st.ExpiredHolds != 1 {
		t.Errorf("state %+v", st)
	}
}

func TestOldLoginsBeginAnew(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after string // what is done before the switch and after it
	}{
		"verifier at the browser":  {"accept", "browse"},
		"accept of the login app":  {"", "accept"},
		"question of the app":      {"", "ask"},
		"verifier of a replica":    {"restart", "browse"},
		"refused by the login app": {"reject", "browse"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, browse, accept := loginBundle(t)
			const original = "http://id.example.com/oauth2/auth?" + request
			browse(request)
			switch c.before {
			case "accept":
				accept("login", "blue-c1")
			case "reject":
				do(t.Context(), "PUT", b.admin+"/oauth2/auth/requests/login/reject?login_challenge=blue-c1", "{}")
			case "restart":
				b.router.logins.restart("blue-c1", plan.Green) // forgets it
			}
			b.move(run1, plan.Green)
			var redirect struct {
				To string `json:"redirect_to"`
			}
			switch c.after {
			case "browse":
				a := browse(request + "&login_verifier=blue-v1")
				if a.status != 302 || a.header.Get("Location") != original {
					t.Errorf("%+v, want a redirect to %s", a, original)
				}
			case "accept":
				a := accept("login", "blue-c1")
				if json.Unmarshal([]byte(a.body), &redirect); a.status != 200 || redirect.To != original {
					t.Errorf("%+v", a)
				}
			case "ask":
				a := do(t.Context(), "GET", b.admin+"/oauth2/auth/requests/login?login_challenge=blue-c1", "")
				if json.Unmarshal([]byte(a.body), &redirect); a.status != 410 || redirect.To != original {
					t.Errorf("%+v", a)
				}
			}
			if a := browse(request); !strings.Contains(a.header.Get("Location"), "green-c1") {
				t.Errorf("the new login: %+v", a)
			}
		})
	}
}

func TestErrorsOfTheServingSidePass(t *testing.T) {
	t.Parallel()
	b, browse, accept := loginBundle(t)
	if a := browse(request + "&login_verifier=forged"); a.status != 404 {
		t.Errorf("a forged verifier: %+v", a)
	}
	if a := accept("login", "forged"); a.status != 404 {
		t.Errorf("a forged challenge: %+v", a)
	}
	if n := b.router.State().RestartedLogins; n != 0 {
		t.Errorf("%d restarted", n)
	}
}

func TestLoginsAreBoundedAndAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLogins(Limits{Logins: 3, LoginIdle: time.Minute, LoginTTL: time.Hour})
		for i := range 5 {
			l.authorized(plan.Blue, fmt.Sprint(i), nil, fmt.Sprintf("/login?login_challenge=%d", i))
		}
		if n := l.underWay(); n != 3 || len(l.byName) != 3 {
			t.Errorf("%d under way, %d names", n, len(l.byName))
		}
		for i := range 100 {
			l.decided("4", fmt.Sprintf("/auth?login_verifier=v%d", i), false)
		}
		if len(l.byName) > 10 {
			t.Errorf("%d names", len(l.byName))
		}
		time.Sleep(2 * time.Minute) // of a synctest bubble
		if n := l.underWay(); n != 0 {
			t.Errorf("%d under way after the idle time", n)
		}
		if got := l.restart("4", plan.Green); got != "4" {
			t.Errorf("idle, but remembered: %q", got)
		}
		time.Sleep(2 * time.Hour) // of a synctest bubble
		if got := l.restart("3", plan.Green); got != "" {
			t.Errorf("too old: %q", got)
		}
	})
}
