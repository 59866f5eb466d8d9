package router

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
)

func TestCanary(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Profile.IntrospectPath, c.Limits.Canary = "/oauth2/introspect", time.Second })
	answer := func(byToken map[string]string) func(http.ResponseWriter, *http.Request, seen) {
		return func(w http.ResponseWriter, _ *http.Request, s seen) {
			token := strings.TrimPrefix(s.Body, "token=")
			if s.Header.Get("Authorization") != "Basic x" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			io.WriteString(w, byToken[token])
		}
	}
	b.blue.answers(answer(map[string]string{
		"same": `{"active":true,"sub":"a","client_id":"c","scope":"x y","exp":5,"iat":1}`, "gone": `{"active":false}`,
		"dead": `{"active":true,"sub":"a"}`, "other": `{"active":true,"sub":"a","scope":"x"}`, "broken": `{"active":true}`,
	}))
	b.green.answers(answer(map[string]string{
		"same": `{"active":true,"sub":"a","client_id":"c","scope":"y x","exp":5,"new":true}`, "gone": `{"active":false,"sub":"q"}`,
		"dead": `{"active":false}`, "other": `{"active":true,"sub":"b","scope":["x","z"]}`, "broken": `oops`,
	}))
	ask := func(token string) {
		t.Helper()
		a := do(t.Context(), "POST", b.admin+"/oauth2/introspect", "token="+token, "Content-Type", formType, "Authorization", "Basic x")
		if a.status != http.StatusOK || !strings.Contains(a.body, "active") {
			t.Errorf("%s: %+v", token, a)
		}
	}
	ask("same") // not ordered yet
	if n := len(b.green.requests()); n != 0 {
		t.Fatalf("green was asked %d times", n)
	}
	if err := b.control.Canary(t.Context(), run1, 1, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"same", "gone", "dead", "other", "broken"} {
		ask(token)
		await.That(t, "judged", func() bool {
			c := b.router.State().Canary
			return c.Same+c.Different+c.Failed == c.Asked
		})
	}
	c := b.router.State().Canary
	if c.Asked != 5 || c.Same != 2 || c.Different != 2 || c.Failed != 1 || c.Fields["active"] != 1 || c.Fields["sub"] != 1 || c.Fields["scope"] != 1 {
		t.Errorf("%+v", c)
	}
	if err := b.control.Canary(t.Context(), run1, 0, 0); err != nil {
		t.Fatal(err)
	}
	before := len(b.green.requests())
	ask("same")
	if n := len(b.green.requests()); n != before {
		t.Error("it goes on")
	}
}

// What was written on blue a moment ago comes to green with the replay: it is asked again.
func TestCanaryWaitsForTheReplay(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Profile.IntrospectPath, c.Limits.Canary = "/oauth2/introspect", 4*time.Second })
	b.blue.answers(func(w http.ResponseWriter, _ *http.Request, _ seen) { io.WriteString(w, `{"active":true,"sub":"a"}`) })
	asked := 0
	b.green.answers(func(w http.ResponseWriter, _ *http.Request, _ seen) {
		if asked++; asked < 3 {
			io.WriteString(w, `{"active":false}`)
			return
		}
		io.WriteString(w, `{"active":true,"sub":"a"}`)
	})
	if err := b.control.Canary(t.Context(), run1, 1, time.Minute); err != nil {
		t.Fatal(err)
	}
	do(t.Context(), "POST", b.admin+"/oauth2/introspect", "token=a", "Content-Type", formType)
	await.That(t, "the same after all", func() bool { return b.router.State().Canary.Same == 1 })
}
