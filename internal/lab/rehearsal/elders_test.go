package rehearsal

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/seed"
)

// oldServer knows sessions by their tokens and answers as the OAuth servers do. A test breaks it between the two times
// that the elders ask.
type oldServer struct {
	mu       sync.Mutex
	access   map[string]string // token → its person; all else is inactive
	refresh  map[string]string
	consents map[string]int
	client   string
	next     int
	answer   func(w http.ResponseWriter, r *http.Request) bool // says that it has answered
}

func (s *oldServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil && s.answer(w, r) {
		return
	}
	say := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/oauth2/introspect":
		person, active := s.access[r.FormValue("token")]
		if !active {
			say(http.StatusOK, map[string]any{"active": false})
			return
		}
		say(http.StatusOK, map[string]any{"active": true, "sub": person, "client_id": s.client, "scope": "openid"})
	case "/oauth2/auth/sessions/consent":
		if r.Method == http.MethodDelete {
			s.end(r.FormValue("subject"))
			delete(s.consents, r.FormValue("subject"))
			say(http.StatusNoContent, nil)
			return
		}
		list := []any{}
		for range s.consents[r.FormValue("subject")] {
			list = append(list, map[string]any{"consent_request": map[string]any{"client": map[string]any{"client_id": s.client}}})
		}
		say(http.StatusOK, list)
	case "/oauth2/revoke":
		s.end(s.access[r.FormValue("token")] + s.refresh[r.FormValue("token")])
	case "/oauth2/token":
		person, ok := s.refresh[r.FormValue("refresh_token")]
		if !ok {
			say(http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
			return
		}
		s.next++
		token := "new-" + strings.Repeat("i", s.next)
		s.access[token], s.refresh["re-"+token] = person, person
		delete(s.refresh, r.FormValue("refresh_token"))
		say(http.StatusOK, map[string]any{"access_token": token, "refresh_token": "re-" + token})
	}
}

// end takes all tokens of a person away.
func (s *oldServer) end(person string) {
	for _, tokens := range []map[string]string{s.access, s.refresh} {
		for token, of := range tokens {
			if of == person {
				delete(tokens, token)
			}
		}
	}
}

// TestEldersFindWhatIsLost breaks one thing at a time between the two times that the seeded sessions are asked for.
func TestEldersFindWhatIsLost(t *testing.T) {
	t.Parallel()
	at := func(path string, do func(w http.ResponseWriter, r *http.Request) bool) func(*oldServer) {
		return func(s *oldServer) {
			s.answer = func(w http.ResponseWriter, r *http.Request) bool { return r.URL.Path == path && do(w, r) }
		}
	}
	tests := []struct {
		name                        string
		broken                      func(*oldServer)
		authorizations, revocations int
		says                        string
	}{
		{"nothing", func(*oldServer) {}, 0, 0, ""},
		{"an access token is inactive", func(s *oldServer) { delete(s.access, "access-ann") }, 1, 0, "Active:false"},
		{"a refresh token is refused", func(s *oldServer) { delete(s.refresh, "refresh-ann") }, 1, 0, "gives no new tokens (status 400)"},
		{"an access token is another's", func(s *oldServer) { s.access["access-ann"] = "bob" }, 1, 0, "Subject:bob"},
		{"a refreshed token is another's", func(s *oldServer) { s.refresh["refresh-ann"] = "bob" }, 1, 0, "after a refresh"},
		{"a client has changed", func(s *oldServer) { s.client = "another" }, 3, 3, "Client:another"},
		{"a consent is gone", func(s *oldServer) { s.consents["ann"] = 0 }, 1, 0, "Consents:0"},
		{"a consent is doubled", func(s *oldServer) { s.consents["ann"] = 2 }, 1, 0, "Consents:2"},
		{"a revoked access token lives", func(s *oldServer) { s.access["access-cid"] = "cid" }, 0, 1, "(revoked)"},
		{"a revoked refresh token lives", func(s *oldServer) { s.refresh["refresh-dee"] = "dee" }, 0, 1, "its refresh token is not refused (status 200)"},
		{"an expired access token lives", func(s *oldServer) { s.access["access-eve"] = "eve" }, 0, 1, "(expired)"},
		{"an expired refresh token lives", func(s *oldServer) { s.refresh["refresh-eve"] = "eve" }, 0, 1, "its refresh token is not refused (status 200)"},
		{"a used refresh token refreshes", func(s *oldServer) { s.refresh["spent-ann"] = "ann" }, 0, 1, "its used refresh token is not refused"},
		{"the same access token comes again", at("/oauth2/token", func(w http.ResponseWriter, r *http.Request) bool {
			if r.FormValue("refresh_token") != "refresh-ann" {
				return false
			}
			_, _ = w.Write([]byte(`{"access_token":"access-ann"}`))
			return true
		}), 1, 0, "gives no new tokens (status 200)"},
		{"an empty answer", at("/oauth2/token", func(_ http.ResponseWriter, r *http.Request) bool {
			return strings.HasPrefix(r.FormValue("refresh_token"), "refresh-")
		}), 3, 4, "the answer is not what it should be"},
		{"an error for every dead token", at("/oauth2/token", func(w http.ResponseWriter, r *http.Request) bool {
			if s := r.FormValue("refresh_token"); s == "refresh-ann" || s == "refresh-bob" || s == "refresh-fay" {
				return false
			}
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}), 0, 9, "status 500"},
		{"a revocation does nothing", at("/oauth2/auth/sessions/consent", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodDelete {
				return false
			}
			w.WriteHeader(http.StatusNoContent)
			return true
		}), 0, 1, "was revoked by subject, and it is"},
		{"a revocation is refused", at("/oauth2/auth/sessions/consent", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodDelete {
				return false
			}
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}), 0, 1, "can't be revoked (status 500)"},
		{"a broken introspection", at("/oauth2/introspect", func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte("<html>"))
			return true
		}), 3, 4, "the answer is not what it should be"},
		{"nobody answers", func(s *oldServer) {
			s.answer = func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
		}, 3, 9, "no answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			old := &oldServer{access: map[string]string{}, refresh: map[string]string{}, consents: map[string]int{}, client: "app"}
			var seeded seed.Result
			for _, c := range []struct{ kind, person string }{{"plain", "ann"}, {"plain", "cid"}, {"plain", "dee"}, {"odd", "bob"}, {"odd", "fay"}, {"plain", "eve"}} {
				credential := seed.Credential{Kind: c.kind, Client: "app", Secret: "s", Subject: c.person, Access: "access-" + c.person,
					Refresh: "refresh-" + c.person, Spent: "spent-" + c.person}
				old.consents[c.person] = 1
				if c.person == "eve" {
					seeded.Expired = append(seeded.Expired, credential)
					continue
				}
				old.access[credential.Access], old.refresh[credential.Refresh] = c.person, c.person
				seeded.Sample = append(seeded.Sample, credential)
			}
			server := httptest.NewServer(old)
			defer server.Close()
			e, err := meet(t.Context(), deployment.Endpoint{Public: server.URL, Admin: server.URL}, seeded)
			if err != nil {
				t.Fatal(err)
			}
			tt.broken(old)
			authorizations, revocations, findings, err := e.lost(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if authorizations != tt.authorizations || revocations != tt.revocations || len(findings) == 0 != (tt.says == "") ||
				!strings.Contains(strings.Join(findings, "\n"), tt.says) {
				t.Errorf("%d authorizations and %d revocations lost, want %d and %d, and %q:\n%s", authorizations, revocations,
					tt.authorizations, tt.revocations, tt.says, strings.Join(findings, "\n"))
			}
			if all := strings.Join(findings, " "); strings.Contains(all, "access-") || strings.Contains(all, "refresh-") || strings.Contains(all, "spent-") {
				t.Errorf("a finding shows a token:\n%s", all)
			}
		})
	}
}

// TestEldersMustBeWhatTheyAreSaidToBe has the old side call a living session dead, and a dead one alive.
func TestEldersMustBeWhatTheyAreSaidToBe(t *testing.T) {
	t.Parallel()
	c := seed.Credential{Kind: "plain", Client: "app", Subject: "ann", Access: "a", Refresh: "r", Spent: "s"}
	for name, seeded := range map[string]seed.Result{"nobody": {}, "dead": {Sample: []seed.Credential{c}}, "alive": {Expired: []seed.Credential{{Access: "living"}}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(&oldServer{access: map[string]string{"living": "x"}})
			defer server.Close()
			if _, err := meet(context.WithoutCancel(t.Context()), deployment.Endpoint{Public: server.URL, Admin: server.URL}, seeded); err == nil {
				t.Error("the rehearsal would begin")
			}
		})
	}
}
