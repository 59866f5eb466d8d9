package authserver_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/quick"
)

// rotated is an answer to a rotation.
type rotated struct {
	Secret string `json:"client_secret"`
	Until  int64  `json:"client_secret_previous_expires_at"`
}

// TestSecretsRotate: two secrets live for a while, in each generation, and a wrong one costs no more.
func TestSecretsRotate(t *testing.T) {
	t.Parallel()
	for _, generation := range quick.First(t, 1, []string{"2.0", "1.0", "1.1"}) {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			s := serve(t, generation, nil)
			app := s.register(t, nil)
			with := func(secret string) int { return s.refresh(t, registered{ID: app.ID, Secret: secret}, "x").Status } // 400: who it is was right
			path := "/clients/" + app.ID + "/secrets/rotate"
			var one, two rotated
			s.call(t, 200, http.MethodPost, path, map[string]any{"keep_seconds": 3600}, &one)
			if left := time.Until(time.Unix(one.Until, 0)); one.Secret == "" || one.Secret == app.Secret || left < 55*time.Minute || left > 61*time.Minute {
				t.Fatalf("%+v", one)
			}
			if with(app.Secret) != 400 || with(one.Secret) != 400 {
				t.Error("one of the two secrets does not work")
			}
			before, strangers := s.hashed(t, "known"), s.hashed(t, "unknown")
			if with("wrong") != 401 || s.hashed(t, "known")+s.hashed(t, "unknown") != before+strangers+1 {
				t.Error("a wrong secret costs another amount than one hash")
			}
			s.call(t, 200, http.MethodPost, path, nil, &two)
			if with(app.Secret) != 401 || with(one.Secret) != 400 || with(two.Secret) != 400 {
				t.Error("not the last two secrets are live")
			}
			var shown rotated
			s.call(t, 200, http.MethodGet, "/clients/"+app.ID, nil, &shown)
			if shown.Until != two.Until || shown.Secret != "" {
				t.Errorf("%+v", shown)
			}
			// A change of the client leaves both, but for one that sets a secret.
			fields := map[string]any{"owner": "team", "redirect_uris": []string{redirectURI}, "grant_types": []string{"refresh_token"}}
			s.call(t, 200, http.MethodPut, "/clients/"+app.ID, fields, nil)
			if with(one.Secret) != 400 || with(two.Secret) != 400 {
				t.Error("a change of the client ended a secret")
			}
			s.call(t, 204, http.MethodDelete, path, nil, nil)
			if with(one.Secret) != 401 || with(two.Secret) != 400 {
				t.Error("the old secret is not ended")
			}
			s.call(t, 204, http.MethodDelete, path, nil, nil)
			s.call(t, 200, http.MethodPost, path, map[string]any{"keep_seconds": 0}, &one)
			if with(two.Secret) != 401 || with(one.Secret) != 400 {
				t.Error("a secret that was not to be kept works")
			}
			s.call(t, 200, http.MethodPost, path, nil, &two)
			fields["client_secret"] = "set by hand"
			s.call(t, 200, http.MethodPut, "/clients/"+app.ID, fields, nil)
			if with(one.Secret) != 401 || with(two.Secret) != 401 || with("set by hand") != 400 {
				t.Error("a secret outlives one that was set")
			}
			for name, want := range map[string]int{"nobody": 404, s.register(t, map[string]any{"token_endpoint_auth_method": "none"}).ID: 400} {
				s.call(t, want, http.MethodPost, "/clients/"+name+"/secrets/rotate", nil, nil)
			}
			s.call(t, 400, http.MethodPost, path, map[string]any{"keep_seconds": -1}, nil)
			s.call(t, 400, http.MethodPost, path, map[string]any{"keep_seconds": 100 * 24 * 3600}, nil)
			rows := dump(t, s.dsn)
			for _, secret := range []string{one.Secret, two.Secret, app.Secret} {
				if strings.Contains(rows, secret) || strings.Contains(logged.String(), secret) {
					t.Error("a secret lies in the database or the log")
				}
			}
		})
	}
}

// TestOldSecretEnds when its time has come, and rotations at once leave a secret that somebody was told.
func TestOldSecretEnds(t *testing.T) {
	t.Parallel()
	s := serve(t, "1.1", nil)
	app := s.register(t, nil)
	var next rotated
	s.call(t, 200, http.MethodPost, "/clients/"+app.ID+"/secrets/rotate", nil, &next)
	s.exec(t, `UPDATE oauth_client SET secret_hash = regexp_replace(secret_hash, ' [0-9]+:', ' 1:')`)
	wantError(t, s.refresh(t, app, "x"), 401, "invalid_client")
	wantError(t, s.refresh(t, registered{ID: app.ID, Secret: next.Secret}, "x"), 400, "invalid_grant")
	for _, broken := range []string{"sha256$", "x y", "x 1:", "", " ", "sha256$ 99999999999:sha256$"} {
		s.exec(t, `UPDATE oauth_client SET secret_hash = '`+broken+`'`)
		for _, secret := range []string{"", "x", "sha256$", next.Secret} {
			if r := s.refresh(t, registered{ID: app.ID, Secret: secret}, "x"); r.Status != 401 && r.Status != 429 {
				t.Errorf("%q lets %q in: %+v", broken, secret, r)
			}
		}
	}
	other := s.register(t, nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var told []string
	var conflicts atomic.Int32
	o := s.operator(t, "", "")
	for range 6 {
		wg.Go(func() {
			secret, err := o.RotateSecret(t.Context(), other.ID, time.Hour)
			if err != nil {
				conflicts.Add(1)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, secret)
		})
	}
	wg.Wait()
	right := 0
	for _, secret := range told {
		if s.refresh(t, registered{ID: other.ID, Secret: secret}, "x").Status == 400 {
			right++
		}
	}
	if len(told) == 0 || right != min(2, len(told)) {
		t.Errorf("%d rotations and %d conflicts left %d secrets that work", len(told), conflicts.Load(), right)
	}
	var apps []authserver.App
	if err := o.Clients(t.Context(), "team", func(a authserver.App) error { apps = append(apps, a); return nil }); err != nil || len(apps) != 2 {
		t.Errorf("%+v %v", apps, err)
	}
}
