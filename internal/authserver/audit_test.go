package authserver_test

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// entry is one of the audit, as it is read.
type entry struct {
	ID      int64          `json:"id"`
	Actor   string         `json:"actor"`
	Address string         `json:"address"`
	Action  string         `json:"action"`
	Client  string         `json:"client_id"`
	Subject string         `json:"subject"`
	Detail  map[string]any `json:"detail"`
}

// act calls the admin API for somebody.
func (s running) act(t *testing.T, actor, intent, method, path string, body any, want int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.Admin+s.AdminPrefix+path, bytes.NewReader(mustJSON(t, body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Tideover-Actor", actor)
	req.Header.Set("X-Tideover-Actor-Address", "203.0.113.9")
	req.Header.Set("X-Tideover-Intent", intent)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != want {
		t.Errorf("%s %s: %d, want %d", method, path, res.StatusCode, want)
	}
}

// TestAudit: each change by the admin API is written down with who it was for, what was refused is not, and no secret is.
func TestAudit(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", nil)
	app := s.register(t, nil)
	tokens, _ := s.tokens(t, app, thirdparty.Answers{Subject: "ann"})
	fields := map[string]any{"client_name": "Calendar", "owner": "ann", "redirect_uris": []string{redirectURI}, "client_secret": "set by hand"}
	s.act(t, "ann", "edit app", http.MethodPut, "/clients/"+app.ID, fields, 200)
	s.act(t, strings.Repeat("ä", 300), "", http.MethodPost, "/clients/"+app.ID+"/secrets/rotate", nil, 200)
	s.act(t, "ann", "", http.MethodDelete, "/clients/"+app.ID+"/secrets/rotate", nil, 204)
	s.act(t, "ann", "", http.MethodDelete, "/oauth2/auth/sessions/consent?subject=ann&client="+app.ID, nil, 204)
	s.act(t, "root", "", http.MethodDelete, "/oauth2/auth/sessions/login?subject=ann", nil, 204)
	s.act(t, "root", "", http.MethodDelete, "/oauth2/tokens?client_id="+app.ID, nil, 204)
	for _, refused := range []struct {
		method, path string
		body         any
		want         int
	}{{http.MethodPut, "/clients/nobody", fields, 404}, {http.MethodDelete, "/clients/nobody", nil, 404}, {http.MethodPost, "/clients", map[string]any{"client_id": app.ID}, 409},
		{http.MethodPut, "/clients/" + app.ID, map[string]any{"redirect_uris": []string{"x"}}, 400}, {http.MethodPost, "/clients/nobody/secrets/rotate", nil, 404}} {
		s.act(t, "mallory", "", refused.method, refused.path, refused.body, refused.want)
	}
	o := s.operator(t, oldSecret, "")
	if _, err := o.RotateKeys(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	s.act(t, "root", "", http.MethodDelete, "/clients/"+app.ID, nil, 204)
	var all []entry
	s.call(t, 200, http.MethodGet, "/audit", nil, &all)
	var got []string
	for _, e := range all {
		actor := e.Actor
		if len(actor) > 100 {
			actor = strconv.Itoa(len([]rune(actor)))
		}
		got = append(got, actor+": "+e.Action+" "+strings.ReplaceAll(e.Client, app.ID, "app")+" "+e.Subject)
	}
	want := []string{"root: delete client app ", "tideover server: rotate keys  ", "root: end access tokens app ", "root: end sessions  ann", "ann: revoke consents app ann",
		"ann: end old secret app ", "200: rotate secret app ", "ann: update client app ", "admin API: create client app "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(all) != len(want) {
		t.Fatal("entries are missing")
	}
	if e := all[7]; e.Address != "203.0.113.9" || e.Detail["intent"] != "edit app" || e.Detail["client_name"] != "Calendar" || e.Detail["secret_set"] != true {
		t.Errorf("%+v", e)
	}
	if e := all[8]; e.Address != "127.0.0.1" || e.Detail["owner"] != "team" {
		t.Errorf("%+v", e)
	}
	var page []entry
	s.call(t, 200, http.MethodGet, "/audit?page_size=2&client_id="+app.ID+"&before="+strconv.FormatInt(all[2].ID, 10), nil, &page)
	if len(page) != 2 || page[0].ID != all[4].ID || page[1].ID != all[5].ID {
		t.Errorf("%+v", page)
	}
	s.call(t, 400, http.MethodGet, "/audit?before=x", nil, nil)
	rows := dump(t, s.dsn)
	for _, secret := range []string{app.Secret, "set by hand", tokens.Access, tokens.Refresh} {
		if strings.Contains(rows, secret) {
			t.Error("a secret is in the database")
		}
	}
	// Where it cannot be written down, it is not done.
	other := s.register(t, nil)
	s.exec(t, `ALTER TABLE oauth_audit ADD CHECK (action <> 'delete client') NOT VALID`)
	s.act(t, "root", "", http.MethodDelete, "/clients/"+other.ID, nil, 500)
	s.call(t, 200, http.MethodGet, "/clients/"+other.ID, nil, nil)
	old := serve(t, "1.1", nil)
	old.register(t, nil)
	old.call(t, 404, http.MethodGet, "/audit", nil, nil)
}
