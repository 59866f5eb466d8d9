package router

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/plan"
)

// rotating answers as a server with reuse detection: each refresh gets another answer.
func rotating(let <-chan struct{}) (func(http.ResponseWriter, *http.Request, seen), *atomic.Int64) {
	var n atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request, _ seen) {
		if let != nil {
			<-let
		}
		fmt.Fprintf(w, `{"access_token":"%d"}`, n.Add(1))
	}, &n
}

var refreshBody = form("grant_type", "refresh_token", "refresh_token", "secret-token", "client_id", "app")

func (b *bundle) refresh(ctx context.Context, body string, header ...string) <-chan answered {
	return later(ctx, "POST", b.public+"/oauth2/token", body, append([]string{"Content-Type", formType}, header...)...)
}

func TestParallelRefreshIsOneRequest(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	let := make(chan struct{})
	answer, n := rotating(let)
	b.blue.answers(answer)
	var all []<-chan answered
	for range 10 {
		all = append(all, b.refresh(t.Context(), refreshBody))
	}
	await.That(t, "forwarded", func() bool { return b.router.State().InFlight == 1 })
	close(let)
	for _, c := range all {
		if a := <-c; a.status != 200 || a.body != `{"access_token":"1"}` {
			t.Errorf("%+v", a)
		}
	}
	if a := <-b.refresh(t.Context(), refreshBody); a.body != `{"access_token":"1"}` { // a retry
		t.Errorf("retry: %+v", a)
	}
	if n.Load() != 1 || b.router.State().Coalesced != 10 {
		t.Errorf("%d upstream requests, %d coalesced", n.Load(), b.router.State().Coalesced)
	}
}

func TestRefreshIsNotSharedWithOthers(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.TrustedProxies = proxies(t, "127.0.0.1") })
	answer, n := rotating(nil)
	b.blue.answers(answer)
	basic := func(user, password string) []string {
		r, _ := http.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return []string{"Authorization", r.Header.Get("Authorization")}
	}
	noID := form("grant_type", "refresh_token", "refresh_token", "secret-token")
	bodies := map[string]int64{}
	for i, c := range []struct {
		body   string
		header []string
	}{
		{refreshBody, nil},
		{form("grant_type", "refresh_token", "refresh_token", "secret-token", "client_id", "thief"), nil},
		{form("grant_type", "refresh_token", "refresh_token", "other-token", "client_id", "app"), nil},
		{refreshBody + "&client_secret=a", nil},
		{refreshBody + "&client_secret=b", nil},
		{refreshBody + "&scope=more", nil},
		{noID, nil},
		{noID, basic("app", "a")},
		{noID, basic("app", "b")},
		{noID, basic("thief", "a")},
		{refreshBody, []string{"Dpop", "proof"}},
		{refreshBody, []string{"Cookie", "session=a"}},
		{refreshBody, []string{"Cookie", "session=b"}},
		{refreshBody, []string{"User-Agent", "thief"}},
		{refreshBody, []string{"Accept", "application/jwt"}},
		{refreshBody, []string{"Accept-Language", "de"}},
		{refreshBody, []string{"Oauth-Client-Attestation", "a"}},
		{refreshBody, []string{"Oauth-Client-Attestation-Pop", "a"}},
		{refreshBody, []string{"X-Tenant", "a"}},
		{refreshBody, []string{"X-Tenant", ""}},
		{refreshBody, []string{"Idempotency-Key", "a"}},
		{refreshBody, []string{"X-Forwarded-Host", "told"}}, // by a trusted proxy, as what follows
		{refreshBody, []string{"X-Forwarded-Proto", "https"}},
		{refreshBody, []string{"X-Ssl-Client-Cert", "a"}},
		{refreshBody, []string{"X-Ssl-Client-Cert", "b"}},
		{refreshBody, []string{"X-Forwarded-Client-Cert", "a"}},
	} {
		for range 2 {
			a := <-b.refresh(t.Context(), c.body, c.header...)
			if want := fmt.Sprintf(`{"access_token":"%d"}`, i+1); a.body != want {
				t.Errorf("%d: %s, want %s", i, a.body, want)
			}
		}
		bodies[c.body] = n.Load()
	}
	other := form("grant_type", "authorization_code", "code", "c", "client_id", "app")
	before := n.Load()
	<-b.refresh(t.Context(), other)
	<-b.refresh(t.Context(), other)
	if n.Load() != before+2 {
		t.Error("a request that is no refresh was coalesced")
	}
}

// A retry that has come another way than the request is a retry all the same.
func TestRefreshByAnotherWayIsARetry(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.TrustedProxies = proxies(t, "127.0.0.1") })
	answer, n := rotating(nil)
	b.blue.answers(answer)
	<-b.refresh(t.Context(), refreshBody)
	for _, header := range [][]string{
		{"Traceparent", "00-1"}, {"Tracestate", "a=b"}, {"X-Request-Id", "1"}, {"X-B3-Traceid", "1"}, {"Date", "now"}, {"Via", "1.1 a"},
		{"X-Forwarded-For", "6.6.6.6"}, {"X-Real-Ip", "6.6.6.6"}, {"Forwarded", "for=6.6.6.6"}, {"Connection", "close"}, {"Te", "trailers"},
	} {
		if a := <-b.refresh(t.Context(), refreshBody, header...); a.body != `{"access_token":"1"}` {
			t.Errorf("%s: %+v", header, a)
		}
	}
	if n.Load() != 1 {
		t.Errorf("%d upstream requests, want 1", n.Load())
	}
}

// Two names for one header, or one value for two, are not the same.
func TestRefreshKeysTellHeadersApart(t *testing.T) {
	t.Parallel()
	c := newCoalescer(time.Minute, 1)
	seen := map[flightKey]int{}
	certificate := func(raw string) *tls.ConnectionState {
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte(raw)}}}
	}
	for i, r := range []*http.Request{
		{Header: http.Header{}},
		{Header: http.Header{"A": {"b"}}},
		{Header: http.Header{"A": {"b", ""}}},
		{Header: http.Header{"A": {"b"}, "C": {""}}},
		{Header: http.Header{"A": {"b", "C"}}},
		{Header: http.Header{"A": {"b, C"}}},
		{Header: http.Header{"A": nil, "B": {"1"}}},
		{Header: http.Header{"A": {"1"}, "B": nil}},
		{Header: http.Header{}, Host: "a"},
		{Header: http.Header{}, TLS: certificate("a")},
		{Header: http.Header{}, TLS: certificate("b")},
	} {
		r.URL = &url.URL{Path: "/oauth2/token"}
		key, _, ok := c.refreshKeys(r, r, []byte(refreshBody))
		if before, there := seen[key]; there || !ok {
			t.Errorf("%d is as %d", i, before)
		}
		seen[key] = i
	}
}

func TestFailedRefreshIsNotKept(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	var n atomic.Int64
	b.blue.answers(func(w http.ResponseWriter, _ *http.Request, _ seen) {
		if n.Add(1) < 3 {
			w.WriteHeader([]int{0, 401, 500}[n.Load()])
		}
	})
	for i, want := range []int{401, 500, 200, 200} {
		if a := <-b.refresh(t.Context(), refreshBody); a.status != want {
			t.Errorf("%d: %d, want %d", i, a.status, want)
		}
	}
	if n.Load() != 3 {
		t.Errorf("%d upstream requests, want 3", n.Load())
	}
}

func TestRefreshIsForgotten(t *testing.T) {
	t.Parallel()
	revoke := func(b *bundle, method, target, body string) func() {
		return func() { do(b.t.Context(), method, target, body, "Content-Type", formType) }
	}
	for name, c := range map[string]struct {
		act  func(b *bundle) func()
		want int64
	}{
		"revoked by the client": {func(b *bundle) func() { return revoke(b, "POST", b.public+"/oauth2/revoke", "token=x&client_id=app") }, 2},
		"revoked by another":    {func(b *bundle) func() { return revoke(b, "POST", b.public+"/oauth2/revoke", "token=x&client_id=else") }, 1},
		"revoked by a client that signs": {func(b *bundle) func() {
			return revoke(b, "POST", b.public+"/oauth2/revoke", "token=x&client_assertion=a.b.c")
		}, 2},
		"logged out by a link": {func(b *bundle) func() {
			return revoke(b, "GET", b.public+"/oauth2/sessions/logout?id_token_hint=x", "")
		}, 2},
		"refused to nobody": {func(b *bundle) func() { return revoke(b, "POST", b.public+"/refused", "token=x") }, 1},
		"refused to a link": {func(b *bundle) func() { return revoke(b, "GET", b.public+"/refused", "") }, 1},
		"sessions ended": {func(b *bundle) func() {
			return revoke(b, "DELETE", b.admin+"/oauth2/auth/sessions/consent?subject=s", "")
		}, 2},
		"client changed": {func(b *bundle) func() { return revoke(b, "PUT", b.admin+"/clients/app", "{}") }, 2},
		"login accepted": {func(b *bundle) func() {
			return revoke(b, "PUT", b.admin+"/oauth2/auth/requests/login/accept?login_challenge=c", "{}")
		}, 1},
		"login begun":             {func(b *bundle) func() { return revoke(b, "GET", b.public+"/oauth2/auth?client_id=app", "") }, 1},
		"window passed":           {func(*bundle) func() { return func() { time.Sleep(600 * time.Millisecond) } }, 2}, // three windows; its end is no event
		"nothing happened at all": {func(*bundle) func() { return func() {} }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(cfg *Config) {
				if name == "window passed" {
					cfg.Limits.Window = 200 * time.Millisecond
				}
			})
			var n atomic.Int64
			b.blue.answers(func(w http.ResponseWriter, r *http.Request, _ seen) {
				switch r.URL.Path {
				case "/oauth2/token":
					n.Add(1)
				case "/refused":
					w.WriteHeader(http.StatusUnauthorized)
				}
			})
			<-b.refresh(t.Context(), refreshBody)
			c.act(b)()
			<-b.refresh(t.Context(), refreshBody)
			if n.Load() != c.want {
				t.Errorf("%d upstream requests, want %d", n.Load(), c.want)
			}
		})
	}
}

// A refresh that overlaps a revocation may have got tokens that are dead: its answer must not be given to anybody who
// asks after the revocation was answered.
func TestRefreshUnderWayIsForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	let := make(chan struct{})
	var n atomic.Int64
	b.blue.answers(func(w http.ResponseWriter, r *http.Request, _ seen) {
		if r.URL.Path == "/oauth2/token" && n.Add(1) == 1 {
			<-let
		}
	})
	first := b.refresh(t.Context(), refreshBody)
	await.That(t, "forwarded", func() bool { return n.Load() == 1 })
	do(t.Context(), "POST", b.public+"/oauth2/revoke", "token=x&client_id=app", "Content-Type", formType)
	second := b.refresh(t.Context(), refreshBody)
	close(let)
	<-first
	<-second
	if n.Load() != 2 {
		t.Error("an answer from before the revocation was given after it")
	}
}

// An answer in doubt whose tokens still live is given again: a revocation of something else must not make a retry look
// like theft. One whose tokens are dead is not.
func TestRefreshInDoubtIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, living := range []bool{true, false} {
		t.Run(fmt.Sprint(living), func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(cfg *Config) { cfg.Profile.IntrospectPath = "/oauth2/introspect" })
			var refreshed, asked atomic.Int64
			b.blue.answers(func(w http.ResponseWriter, r *http.Request, _ seen) {
				switch r.URL.Path {
				case "/oauth2/token":
					refreshed.Add(1)
					fmt.Fprint(w, `{"access_token":"at","refresh_token":"rt"}`)
				case "/oauth2/introspect":
					asked.Add(1)
					fmt.Fprintf(w, `{"active":%t}`, living)
				}
			})
			<-b.refresh(t.Context(), refreshBody)
			do(t.Context(), "DELETE", b.admin+"/oauth2/auth/sessions/consent?subject=else", "")
			<-b.refresh(t.Context(), refreshBody)
			<-b.refresh(t.Context(), refreshBody)
			want := int64(1)
			if !living {
				want = 2
			}
			if refreshed.Load() != want || asked.Load() == 0 {
				t.Errorf("%d refreshes, want %d; asked %d times", refreshed.Load(), want, asked.Load())
			}
		})
	}
}

func dead(*answer) bool { return false }

func patient(done <-chan struct{}) error { <-done; return nil }

func TestRefreshInAHold(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	answer, n := rotating(nil)
	b.green.answers(answer)
	b.hold(run1, 5*time.Second)
	ctx, leave := context.WithCancel(t.Context())
	gone := b.refresh(ctx, refreshBody)
	b.heldNow(1)
	one, two := b.refresh(t.Context(), refreshBody), b.refresh(t.Context(), refreshBody)
	b.heldNow(3)
	leave() // the one whose request was to be sent: another takes its place
	<-gone
	await.That(t, "gone", func() bool { return b.router.State().Gone == 1 })
	b.heldNow(2)
	b.switchTo(run1, plan.Green)
	b.release(run1)
	for _, c := range []<-chan answered{one, two} {
		if a := <-c; a.body != `{"access_token":"1"}` {
			t.Errorf("%+v", a)
		}
	}
	if n.Load() != 1 || len(b.blue.requests()) != 0 {
		t.Errorf("%d at green, %d at blue", n.Load(), len(b.blue.requests()))
	}
}

func TestKeptAnswersAreWiped(t *testing.T) {
	t.Parallel()
	c := newCoalescer(time.Minute, 1)
	kept, err := c.do(c.key("a"), c.key("client"), func() (*answer, error) {
		return &answer{status: 200, body: []byte("secret")}, nil
	}, patient, dead)
	if err != nil {
		t.Fatal(err)
	}
	held := c.flights[c.key("a")].answer.body
	full := 0
	for range 2 { // over the bound: every one for itself
		c.do(c.key("b"), c.key("client"), func() (*answer, error) { full++; return &answer{status: 200}, nil }, patient, dead)
	}
	c.forget(nil)
	if string(kept.body) != "secret" || contains(held, "s") || full != 2 || len(c.flights) != 0 {
		t.Errorf("the caller's %q, ours %q, %d calls, %d flights", kept.body, held, full, len(c.flights))
	}
}

// A refresh that begins and ends while a revocation is under way must not outlive it either.
func TestRefreshWithinARevocationIsForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	let := make(chan struct{})
	var n atomic.Int64
	b.blue.answers(func(w http.ResponseWriter, r *http.Request, _ seen) {
		if r.URL.Path == "/oauth2/token" {
			n.Add(1)
			return
		}
		<-let
	})
	revoked := later(t.Context(), "POST", b.public+"/oauth2/revoke", "token=x&client_id=app", "Content-Type", formType)
	await.That(t, "forwarded", func() bool { return b.router.State().InFlight == 1 })
	<-b.refresh(t.Context(), refreshBody)
	close(let)
	<-revoked
	<-b.refresh(t.Context(), refreshBody)
	if n.Load() != 2 {
		t.Error("an answer from before the revocation was given after it")
	}
}

// A forgotten refresh that fails must not take its successor's kept answer along.
func TestForgottenRefreshLeavesItsSuccessorAlone(t *testing.T) {
	t.Parallel()
	c := newCoalescer(time.Minute, 10)
	k := c.key("a")
	c.do(k, k, func() (*answer, error) {
		c.forget(nil)
		c.do(k, k, func() (*answer, error) { return &answer{status: 200, body: []byte("kept")}, nil }, patient, dead)
		return &answer{status: 500}, nil
	}, patient, dead)
	a, err := c.do(k, k, func() (*answer, error) { return &answer{status: 200, body: []byte("asked again")}, nil }, patient, dead)
	if err != nil || string(a.body) != "kept" {
		t.Errorf("%s %v", a.body, err)
	}
	c.forget(nil)
}
