package authserver_test

import (
	"errors"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

func (s running) sweep(t *testing.T, change func(*authserver.JanitorOptions)) (map[string]int64, []string, error) {
	t.Helper()
	opts := authserver.JanitorOptions{Expired: time.Hour, Unfinished: 24 * time.Hour, RetiredKeys: 24 * time.Hour, Batch: 2, Most: 1000}
	if change != nil {
		change(&opts)
	}
	rows, left := map[string]int64{}, []string(nil)
	err := s.operator(t, "", "").Sweep(t.Context(), opts, func(w authserver.Swept) {
		if w.Rows > 0 {
			rows[w.Kind] = w.Rows
		}
		if w.Left {
			left = append(left, w.Kind)
		}
	})
	return rows, left, err
}

// TestJanitor deletes what serves nobody, and nothing that serves somebody.
func TestJanitor(t *testing.T) {
	t.Parallel()
	for _, generation := range quick.First(t, 1, []string{"2.0", "1.1", "1.0"}) {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			s := serve(t, generation, nil)
			app := s.register(t, nil)
			begin := func() { // a login that nobody finishes, and a consent
				if _, err := thirdparty.NewBrowser(s.Target).Get(t.Context(), s.authURL(app, nil)); err != nil {
					t.Fatal(err)
				}
				b := thirdparty.NewBrowser(s.Target)
				at, err := b.Get(t.Context(), s.authURL(app, nil))
				if err != nil {
					t.Fatal(err)
				}
				var to struct {
					RedirectTo string `json:"redirect_to"`
				}
				s.call(t, 200, http.MethodPut, "/oauth2/auth/requests/login/accept?login_challenge="+at[len("http://127.0.0.1:2/login?login_challenge="):], map[string]any{"subject": "ann"}, &to)
				if _, err := b.Get(t.Context(), to.RedirectTo); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				old, _ := s.tokens(t, app, thirdparty.Answers{})
				s.refresh(t, app, old.Refresh)
				begin()
				if generation == "2.0" {
					s.askDevice(t, s.register(t, map[string]any{"grant_types": []string{deviceGrant}}), nil)
				}
			}
			if generation == "2.0" {
				s.exec(t, `INSERT INTO oauth_assertion VALUES ('a', now()), ('b', now()), ('c', now())`)
			}
			s.exec(t, `INSERT INTO oauth_jwk (kid, use, alg, keydata, created_at) SELECT 'old', use, alg, keydata, now() - interval '9 d' FROM oauth_jwk`)
			s.exec(t, `UPDATE oauth_jwk SET created_at = created_at - interval '2 d' WHERE kid <> 'old'`)
			tables := []string{"code", "access", "refresh"}
			asked := map[string]string{"1.0": "oauth_login_request", "1.1": "oauth_login_request", "2.0": "oauth_flow"}[generation]
			if generation == "2.0" {
				tables = append(tables, "device", "assertion")
			}
			for _, table := range tables {
				s.exec(t, `UPDATE oauth_`+table+` SET expires_at = now() - interval '2 h'`)
			}
			s.exec(t, `UPDATE `+asked+` SET requested_at = now() - interval '2 d'`)
			if generation != "2.0" {
				s.exec(t, `UPDATE oauth_consent_request SET requested_at = now() - interval '2 d'`)
			}
			want := map[string]int64{"codes": 3, "access tokens": 3, "refresh tokens": 6, "signing keys": 1}
			switch generation {
			case "1.1":
				maps.Copy(want, map[string]int64{"unfinished consents": 3, "unfinished logins": 6})
			case "2.0":
				maps.Copy(want, map[string]int64{"devices": 3, "client assertions": 3, "unfinished flows": 6})
			}
			living, _ := s.tokens(t, app, thirdparty.Answers{Subject: "bob"})
			pending := s.authorize(t, app, thirdparty.Answers{Subject: "bob"}).Code
			begin()
			before := dump(t, s.dsn)
			if rows, _, err := s.sweep(t, func(o *authserver.JanitorOptions) { o.DryRun = true }); err != nil || cmp.Diff(want, rows) != "" || dump(t, s.dsn) != before {
				t.Errorf("a dry run: %v\n%s", err, cmp.Diff(want, rows))
			}
			if rows, left, err := s.sweep(t, func(o *authserver.JanitorOptions) { o.Most = 4 }); err != nil || rows["codes"] != 3 || rows["access tokens"] != 1 || len(left) == 0 || left[0] != "access tokens" {
				t.Errorf("four at most: %v %v %v", rows, left, err)
			}
			want["access tokens"] = 2
			delete(want, "codes")
			delete(want, "signing keys")
			rows, left, err := s.sweep(t, nil)
			if err != nil || cmp.Diff(want, rows) != "" || left != nil {
				t.Errorf("%v, left %v\n%s", err, left, cmp.Diff(want, rows))
			}
			if rows, _, err := s.sweep(t, nil); err != nil || len(rows) != 0 {
				t.Errorf("swept again: %v %v", rows, err)
			}
			if r := s.refresh(t, app, living.Refresh); !s.active(t, r.Access) || s.exchange(t, app, pending).Status != 200 {
				t.Error("a living session was swept away")
			}
			var consents []any
			s.call(t, 200, http.MethodGet, "/oauth2/auth/sessions/consent?subject=ann", nil, &consents)
			if len(consents) != 3 {
				t.Errorf("%d consents of 3 are left", len(consents))
			}
			if n := s.number(t, `SELECT count(*) FROM `+asked); n < 5 {
				t.Errorf("%d logins are left, of which a used one belongs to each consent, and two are new", n)
			}
		})
	}
}

// TestJanitorWaitsForNobody: a row that a request holds is left, and writes that are refused are an error.
func TestJanitorWaitsForNobody(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", nil)
	s.exec(t, `INSERT INTO oauth_assertion SELECT 'a' || n, now() - interval '1 d' FROM generate_series(1, 5) n`)
	conn, err := pgx.Connect(t.Context(), s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	tx, err := conn.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), `SELECT 1 FROM oauth_assertion WHERE signature = 'a2' FOR UPDATE`)
	}
	if err != nil {
		t.Fatal(err)
	}
	if rows, _, err := s.sweep(t, nil); err != nil || rows["client assertions"] != 4 {
		t.Errorf("%v %v", rows, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.exec(t, `CREATE FUNCTION fence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE 'TD001'; END $$;
		CREATE TRIGGER fence BEFORE DELETE ON oauth_assertion FOR EACH STATEMENT EXECUTE FUNCTION fence()`)
	if _, _, err := s.sweep(t, nil); err == nil || errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("a fenced database: %v", err)
	}
}
