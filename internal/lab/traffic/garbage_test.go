package traffic

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// TestGarbageIsNoAnswer has a server grant every request with a body that says nothing. Each such answer must be a finding.
func TestGarbageIsNoAnswer(t *testing.T) {
	t.Parallel()
	who := &app{id: "c1", secret: "s", method: "client_secret_basic", scope: "openid offline"}
	person := &user{name: "u1"}
	token := held{secret: "an access token", app: who, user: person}
	requests := map[Kind]func(context.Context, ask){
		CreateClient:      func(ctx context.Context, a ask) { a.createClient(ctx, "x", "none") },
		GetClient:         func(ctx context.Context, a ask) { a.getClient(ctx, who) },
		Introspect:        func(ctx context.Context, a ask) { a.introspect(ctx, token) },
		Userinfo:          func(ctx context.Context, a ask) { a.userinfo(ctx, token) },
		ListConsents:      func(ctx context.Context, a ask) { a.listConsents(ctx, "u1") },
		JWKS:              func(ctx context.Context, a ask) { a.jwks(ctx) },
		Discovery:         func(ctx context.Context, a ask) { a.discovery(ctx) },
		ClientCredentials: func(ctx context.Context, a ask) { a.machine(ctx, who) },
		Exchange: func(ctx context.Context, a ask) {
			f := &flow{caller: a.caller, target: Router, session: &session{name: "s1", user: person, app: who}}
			f.exchange(ctx, "a code")
		},
		Refresh: func(ctx context.Context, a ask) {
			a.refresh(ctx, Refresh, &session{name: "s1", user: person, app: who}, "a refresh token", 0)
		},
	}
	for kind, send := range requests {
		for _, body := range []string{"", "null", " null\n", "{}", "[]", `"active"`, "<html>", `{"active":`, "\x00\xff", `{"error":"server_error"}`, `{"keys":[]}`} {
			if kind == ListConsents && body == "[]" {
				continue // an empty list is an answer
			}
			t.Run(string(kind)+" "+body, func(t *testing.T) {
				t.Parallel()
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
				defer server.Close()
				c := &caller{config: Config{Public: server.URL, Admin: server.URL, Timeout: 10 * time.Second}, rec: NewRecorder(Expect{NoSwitch: true}),
					salt: []byte("salt"), http: server.Client()}
				// What is asked about was handed out before.
				before := func(q Request, a Answer) {
					a.Status = 200
					c.rec.End(c.rec.Begin(q), a)
				}
				before(Request{Kind: CreateClient, Target: Router}, Answer{Client: "c1"})
				q := Request{Kind: Consent, Step: Finish, Target: Router, Session: "s1", Subject: "u1", Client: "c1", Scope: "openid offline"}
				before(q, Answer{Issued: &Issued{Code: c.print("a code")}})
				if kind != Exchange {
					before(Request{Kind: Exchange, Target: Router, Session: "s1", Subject: "u1", Client: "c1", Token: c.print("a code")},
						Answer{Issued: &Issued{Access: c.print("an access token"), Refresh: c.print("a refresh token"), ExpiresIn: 3600}})
				}
				send(t.Context(), ask{c, "w1", Router})
				h := c.rec.History()
				asked := h.Records[len(h.Records)-1].Op
				v := Check(h)
				if !slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Class != NothingProved && slices.Contains(f.Ops, asked) }) {
					t.Errorf("%q passes as an answer:\n%s", body, v)
				}
			})
		}
	}
}
