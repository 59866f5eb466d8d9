package authserver_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// journal is all that any test's server logs.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// TestNoSecretLeaves looks for what was handed out, in the log at its most talkative, the figures, and every row.
func TestNoSecretLeaves(t *testing.T) {
	t.Parallel()
	for _, generation := range quick.First(t, 1, []string{"1.1", "2.0"}) {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			s := serve(t, generation, nil)
			app := s.register(t, nil)
			b := thirdparty.NewBrowser(s.Target)
			v, err := b.Authorize(t.Context(), s.authURL(app, nil), redirectURI, thirdparty.Answers{Subject: "ann", RememberLogin: true})
			if err != nil {
				t.Fatal(err)
			}
			first := s.exchange(t, app, v.Code)
			second := s.refresh(t, app, first.Refresh)
			s.exchange(t, app, v.Code)
			s.refresh(t, app, first.Refresh)
			s.refresh(t, registered{ID: app.ID, Secret: app.Secret + "x"}, second.Refresh)
			s.revoke(t, s.register(t, nil), second.Access)
			secrets := map[string]string{"client secret": app.Secret, "code": v.Code, "access token": first.Access, "refresh token": first.Refresh,
				"second access token": second.Access, "second refresh token": second.Refresh, "ID token": second.ID, "system secret": "a secret of the tests"}
			for name, value := range b.Cookies() {
				secrets["cookie "+name] = value
			}
			if len(secrets) != 10 {
				t.Fatalf("%d secrets were planted", len(secrets))
			}
			res, err := http.Get(s.Admin + s.AdminPrefix + "/metrics/prometheus")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			figures, _ := io.ReadAll(res.Body)
			if !strings.Contains(logged.String(), "request error") {
				t.Error("nothing was logged, so that nothing is proved")
			}
			for name, secret := range secrets {
				for place, text := range map[string]string{"log": logged.String(), "figures": string(figures), "database": dump(t, s.dsn)} {
					if strings.Contains(text, secret) {
						t.Errorf("%s is in the %s", name, place)
					}
				}
			}
			if !strings.Contains(dump(t, s.dsn), authserver.Signature(second.Refresh)) && generation == "1.1" {
				t.Error("the dump has no tokens at all")
			}
		})
	}
}

// dump is every row of the server's tables as text.
func dump(t *testing.T, dsn string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var all string
	err = conn.QueryRow(t.Context(), `SELECT string_agg(query_to_xml(format('SELECT * FROM %I', tablename), true, false, '')::text, '')
		FROM pg_tables WHERE schemaname = 'public'`).Scan(&all)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSeededSessionsLive takes what was seeded, the odd rows too, to the server that such rows came from.
func TestSeededSessionsLive(t *testing.T) {
	t.Parallel()
	for _, generation := range quick.First(t, 1, []string{"1.0", "1.1"}) {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			seededSessionsLive(t, generation)
		})
	}
}

func seededSessionsLive(t *testing.T, generation string) {
	dsn := pgtest.NewDatabase(t)
	if err := authserver.Migrate(t.Context(), dsn, generation); err != nil {
		t.Fatal(err)
	}
	seeded, err := seed.Seed(t.Context(), dsn, seed.Options{Clients: 5, Sessions: 50, Offending: true, Each: 1, Sample: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := serveOn(t, dsn, generation, nil)
	kinds := map[string]bool{}
	for _, c := range seeded.Sample {
		kinds[c.Kind] = true
		app := registered{ID: c.Client, Secret: c.Secret}
		if !s.active(t, c.Access) {
			t.Errorf("%s: the access token is dead", c.Kind)
		}
		if r := s.refresh(t, app, c.Refresh); r.Status != 200 || r.ID == "" {
			t.Errorf("%s: refresh: %d %s", c.Kind, r.Status, r.Error)
		}
		s.call(t, 200, http.MethodGet, "/clients/"+c.Client, nil, nil)
		var list []map[string]any
		s.call(t, 200, http.MethodGet, "/oauth2/auth/sessions/consent?subject="+c.Subject, nil, &list)
		if len(list) == 0 {
			t.Errorf("%s: no consent is listed", c.Kind)
		}
	}
	if want := len(seeded.Offending); len(kinds) != want { // plain comes on top, tokens without a client are dead
		t.Errorf("credentials of %d kinds, want %d", len(kinds), want)
	}
}
