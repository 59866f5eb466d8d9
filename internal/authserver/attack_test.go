package authserver_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// TestRevocationBeatsRotation revokes a chain while its client rotates as fast as it can. Once the revocation has been
// answered nothing of the chain may live, whichever rotation was under way.
func TestRevocationBeatsRotation(t *testing.T) {
	t.Parallel()
	for _, generation := range quick.First(t, 1, []string{"1.0", "1.1", "2.0"}) {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			s := serve(t, generation, nil)
			app := s.register(t, nil)
			for i := range 12 {
				first, v := s.tokens(t, app, thirdparty.Answers{Subject: "rosa"})
				var wg sync.WaitGroup
				under := make(chan struct{})
				wg.Go(func() {
					token := first.Refresh
					for n := 0; ; n++ {
						r := s.refresh(t, app, token)
						if n == 1 {
							close(under)
						}
						if r.Status != 200 {
							if n < 1 {
								close(under)
							}
							return
						}
						token = r.Refresh
					}
				})
				<-under
				switch i % 3 {
				case 0: // any token of the chain will do, the first one is known in 1.1 and 2.0
					if r := s.revoke(t, app, first.Refresh); r.Status != 200 {
						t.Errorf("%+v", r)
					}
				case 1:
					s.call(t, 204, http.MethodDelete, "/oauth2/auth/sessions/consent?subject=rosa&client="+app.ID, nil, nil)
				case 2:
					s.call(t, 204, http.MethodDelete, "/clients/"+app.ID, nil, nil)
					app = s.register(t, nil)
				}
				living := s.number(t, chainLiving, v.ConsentChallenge) + s.number(t, chainAccess, v.ConsentChallenge)
				wg.Wait()
				living += s.number(t, chainLiving, v.ConsentChallenge) + s.number(t, chainAccess, v.ConsentChallenge)
				if living != 0 {
					t.Fatalf("round %d: %d rows of a revoked chain live", i, living)
				}
			}
		})
	}
}

const fence = `CREATE FUNCTION fence() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN RAISE EXCEPTION 'writes have moved to the other side' USING ERRCODE = 'TD001'; END $$;
	DO $$ DECLARE t text; BEGIN
		FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'oauth%' LOOP
			EXECUTE format('CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT EXECUTE FUNCTION fence()', t);
		END LOOP; END $$`

// TestFencedWritesAreUnavailable: a fenced database takes no write, and nobody's token is spoilt by trying.
func TestFencedWritesAreUnavailable(t *testing.T) {
	t.Parallel()
	for _, generation := range quick.First(t, 1, []string{"1.0", "1.1", "2.0"}) {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			s := serve(t, generation, nil)
			app := s.register(t, nil)
			tokens, _ := s.tokens(t, app, thirdparty.Answers{})
			code := s.authorize(t, app, thirdparty.Answers{}).Code
			s.exec(t, fence)
			for _, r := range []reply{s.refresh(t, app, tokens.Refresh), s.revoke(t, app, tokens.Access), s.exchange(t, app, code)} {
				wantError(t, r, 503, "temporarily_unavailable")
				if r.Header.Get("Retry-After") != "1" {
					t.Errorf("Retry-After is %q", r.Header.Get("Retry-After"))
				}
			}
			s.call(t, 503, http.MethodPost, "/clients", map[string]any{}, nil)
			s.call(t, 503, http.MethodDelete, "/clients/"+app.ID, nil, nil)
			_, err := thirdparty.NewBrowser(s.Target).Get(t.Context(), s.authURL(app, nil))
			if e := new(thirdparty.StatusError); !errors.As(err, &e) || e.Status != 503 || !strings.Contains(e.Body, "temporarily_unavailable") {
				t.Errorf("a new login: %v", err)
			}
			if !s.active(t, tokens.Access) {
				t.Error("introspection goes on")
			}
			s.exec(t, `DROP FUNCTION fence CASCADE`)
			if r := s.refresh(t, app, tokens.Refresh); r.Status != 200 {
				t.Errorf("after the fence: %+v", r)
			}
			if r := s.exchange(t, app, code); r.Status != 200 {
				t.Errorf("after the fence: %+v", r)
			}
		})
	}
}

// TestDatabaseCrash kills Postgres under the server: 503 while it is away, and then all is as before.
func TestDatabaseCrash(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	db := pgtest.NewServer(t, pgserver.Options{Name: "crash"})
	dsn, err := db.CreateDatabase(t.Context(), "auth")
	if err != nil {
		t.Fatal(err)
	}
	if err := authserver.Migrate(t.Context(), dsn, "1.1"); err != nil {
		t.Fatal(err)
	}
	s := serveOn(t, dsn, "1.1", nil)
	app := s.register(t, nil)
	tokens, _ := s.tokens(t, app, thirdparty.Answers{})
	if err := db.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		wantError(t, s.refresh(t, app, tokens.Refresh), 503, "temporarily_unavailable")
	}
	s.call(t, 503, http.MethodPost, "/oauth2/introspect", url.Values{"token": {tokens.Access}}, nil)
	status(t, s.Public+"/health/ready", 503)
	status(t, s.Public+"/health/alive", 200)
	if err := db.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := s.refresh(t, app, tokens.Refresh)
	for try := 0; r.Status == 503 && try < 50; try++ { // connections that died are found one by one
		r = s.refresh(t, app, tokens.Refresh)
	}
	if r.Status != 200 || !s.active(t, r.Access) {
		t.Errorf("after the crash: %d %s", r.Status, r.Error)
	}
}

// TestReadiness: a server waits for its own schema, and takes neither an older nor a newer one for it.
func TestReadiness(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	ready := map[string]chan struct{}{"1.1": make(chan struct{}), "2.0": make(chan struct{})}
	at := map[string]authserver.Addresses{}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer func() { stop(); wg.Wait() }()
	for generation, done := range ready {
		listening := make(chan authserver.Addresses, 1)
		wg.Go(func() {
			err := authserver.Serve(ctx, authserver.Config{Generation: generation, DSN: dsn, SystemSecret: "a secret of the tests",
				LoginURL: "http://127.0.0.1:2/", ConsentURL: "http://127.0.0.1:2/"}, "127.0.0.1:0", "127.0.0.1:0",
				func(a authserver.Addresses) { listening <- a }, func(authserver.Addresses) { close(done) })
			if err != nil {
				t.Error(err)
			}
		})
		at[generation] = <-listening
	}
	check := func(generation string, want int) {
		t.Helper()
		status(t, at[generation].Public+"/health/alive", 200)
		status(t, at[generation].Admin+"/version", 200)
		status(t, at[generation].Public+"/health/ready", want)
		status(t, at[generation].Public+"/.well-known/jwks.json", want)
	}
	for _, step := range []struct{ schema, server, other string }{{"1.1", "1.1", "2.0"}, {"2.0", "2.0", ""}} {
		check(step.server, 503)
		if err := authserver.Migrate(t.Context(), dsn, step.schema); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ready[step.server]:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s does not get ready", step.server)
		}
		check(step.server, 200)
		if step.other != "" {
			check(step.other, 503)
		}
	}
	// A 1.1 server that starts now finds a newer schema.
	late, err := authserver.New(t.Context(), authserver.Config{Generation: "1.1", DSN: dsn, Issuer: "http://127.0.0.1:2", SystemSecret: "a secret of the tests",
		LoginURL: "http://127.0.0.1:2/", ConsentURL: "http://127.0.0.1:2/"})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := late.Run(short, func() { t.Error("1.1 is ready on 2.0's schema") }); err != nil {
		t.Error(err)
	}
	if err := authserver.Migrate(t.Context(), dsn, "1.1"); err == nil {
		t.Error("migrating backwards is no error")
	}
}

// TestSigningKey: servers that start at once make one key; another secret cannot open it.
func TestSigningKey(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	if err := authserver.Migrate(t.Context(), dsn, "2.0"); err != nil {
		t.Fatal(err)
	}
	config := authserver.Config{Generation: "2.0", DSN: dsn, Issuer: "http://127.0.0.1:2", SystemSecret: "a secret of the tests",
		LoginURL: "http://127.0.0.1:2/", ConsentURL: "http://127.0.0.1:2/", MaxConns: 2}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := authserver.New(t.Context(), config)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
			defer stop()
			if err := s.Run(ctx, stop); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := (running{dsn: dsn}).number(t, `SELECT count(*) FROM oauth_jwk`); n != 1 {
		t.Errorf("%d keys", n)
	}
	config.SystemSecret = "another secret of the tests"
	s, err := authserver.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var key *authserver.KeyError
	if err := s.Run(t.Context(), func() { t.Error("ready with the wrong secret") }); !errors.As(err, &key) || key.Hint() == "" {
		t.Errorf("the wrong secret gave %v", err)
	}
}

// TestUpgradeByStockMigrations takes a living 1.1 to 2.0 as the vendor would, and shows both what carries over and what
// the vendor's migration breaks, which a run of ours must repair.
func TestUpgradeByStockMigrations(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	old := serve(t, "1.1", nil)
	app := old.register(t, nil)
	b := thirdparty.NewBrowser(old.Target)
	a := thirdparty.Answers{Subject: "uma", RememberLogin: true, RememberConsent: true}
	v, err := b.Authorize(t.Context(), old.authURL(app, nil), redirectURI, a)
	if err != nil {
		t.Fatal(err)
	}
	tokens := old.exchange(t, app, v.Code)
	pending := old.authorize(t, app, a).Code
	used, _ := old.tokens(t, app, a)
	old.refresh(t, app, used.Refresh)
	two := old.register(t, nil)
	var next rotated
	old.call(t, 200, http.MethodPost, "/clients/"+two.ID+"/secrets/rotate", nil, &next)
	if _, err := old.operator(t, oldSecret, "").RotateKeys(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	target, err := schema.Target("2.0")
	if err != nil || target != 20009 {
		t.Fatal(target, err)
	}
	if err := authserver.Migrate(t.Context(), old.dsn, "2.0"); err != nil {
		t.Fatal(err)
	}
	s := serveOn(t, old.dsn, "2.0", func(c *authserver.Config) { c.Issuer = old.Issuer })
	if !s.active(t, tokens.Access) || !s.active(t, tokens.Refresh) {
		t.Error("2.0 does not know tokens of 1.1")
	}
	for _, secret := range []string{two.Secret, next.Secret} { // 400: who it is was right
		wantError(t, s.refresh(t, registered{ID: two.ID, Secret: secret}, "x"), 400, "invalid_grant")
	}
	if n := len(s.published(t)); n != 2 {
		t.Errorf("%d keys are published, of which one does not sign yet", n)
	}
	wantError(t, s.refresh(t, app, tokens.Refresh), 400, "invalid_grant")
	if n := s.number(t, `SELECT count(*) FROM oauth_flow WHERE state = 128 AND login_error IS NULL`); n != 3 {
		t.Errorf("the stock migration marked %d valid flows as failed, want all 3", n)
	}
	s.exec(t, `UPDATE oauth_flow SET state = 6, subject = 'uma' WHERE consent_was_used`)
	fresh := s.refresh(t, app, tokens.Refresh)
	if fresh.Status != 200 || !strings.HasPrefix(fresh.Access, "to_at_") || !strings.HasPrefix(fresh.Refresh, "to_rt_") {
		t.Errorf("after the repair: %+v", fresh)
	}
	if r := s.exchange(t, app, pending); r.Status != 200 || !strings.HasPrefix(r.Access, "to_at_") {
		t.Errorf("a code of 1.1: %+v", r)
	}
	wantError(t, s.refresh(t, app, used.Refresh), 400, "invalid_grant") // no grace for what 1.1 used
	keys := oidc.NewRemoteKeySet(t.Context(), s.Public+"/.well-known/jwks.json")
	if _, err := oidc.NewVerifier(old.Issuer, keys, &oidc.Config{ClientID: app.ID}).Verify(t.Context(), tokens.ID); err != nil {
		t.Errorf("an ID token of 1.1 at 2.0's keys: %v", err)
	}
	if v, err := b.At(s.Target).Authorize(t.Context(), s.authURL(app, nil), redirectURI, a); err != nil || !v.LoginSkipped || !v.ConsentSkipped || v.Code == "" {
		t.Errorf("a login and a consent that 1.1 remembers: %+v %v", v, err)
	}
	// 1.1 reads none of 2.0's tokens, even where the row is there.
	back := serve(t, "1.1", nil)
	back.exec(t, `INSERT INTO oauth_client (id, secret_hash) VALUES ('x', '')`)
	conn, err := pgx.Connect(t.Context(), back.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ($1, 'r', 'x', now() + '1 h')`,
		authserver.Signature(fresh.Access)); err != nil {
		t.Fatal(err)
	}
	if back.active(t, fresh.Access) {
		t.Error("1.1 reads a token of 2.0")
	}
}

// TestOriginalBreaksOnNewColumns is why 1.0 needs views when its tables are migrated under it.
func TestOriginalBreaksOnNewColumns(t *testing.T) {
	t.Parallel()
	s := serve(t, "1.0", nil)
	app := s.register(t, nil)
	first, _ := s.tokens(t, app, thirdparty.Answers{})
	if r := s.refresh(t, app, first.Refresh); r.Status != 200 {
		t.Fatalf("%+v", r)
	}
	s.exec(t, `ALTER TABLE oauth_client ADD COLUMN tier text`)
	for range 3 { // at first a cached plan, then a column that nobody knows
		if r := s.post(t, "/oauth2/token", app, url.Values{"grant_type": {"client_credentials"}}); r.Status < 500 {
			t.Errorf("it goes on: %d", r.Status)
		}
	}
}
