package authserver_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

func (s running) operator(t *testing.T, secret, other string) *authserver.Operator {
	t.Helper()
	o, err := authserver.NewOperator(t.Context(), authserver.Config{Generation: s.generation, DSN: s.dsn, SystemSecret: secret, OtherSecret: other})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

const (
	oldSecret = "a secret of the tests"
	newSecret = "another secret of the tests"
)

// published are the ids of the keys that apps see, without duplicates.
func (s running) published(t *testing.T) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	keys, _ := document(t, s.Public+"/.well-known/jwks.json")["keys"].([]any)
	for _, k := range keys {
		fields, _ := k.(map[string]any)
		id, _ := fields["kid"].(string)
		ids[id] = true
		if fields["d"] != nil {
			t.Error("a private key is published")
		}
	}
	return ids
}

func keyOf(t *testing.T, token string) string {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	return jws.Signatures[0].Header.KeyID
}

// TestKeysRotate: a new key is seen before it signs, and an old one verifies after that, on a server that runs.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	for _, generation := range quick.First(t, 1, []string{"2.0", "1.0"}) {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			s := serve(t, generation, func(c *authserver.Config) { c.KeysEvery = 20 * time.Millisecond })
			o, app := s.operator(t, oldSecret, ""), s.register(t, nil)
			first, _ := s.tokens(t, app, thirdparty.Answers{})
			made, err := o.RotateKeys(t.Context(), time.Hour)
			if err != nil || made.State != "published" {
				t.Fatalf("%+v %v", made, err)
			}
			await.That(t, "the key is published", func() bool { return s.published(t)[made.ID] })
			if second, _ := s.tokens(t, app, thirdparty.Answers{}); keyOf(t, second.ID) == made.ID || len(s.published(t)) != 2 {
				t.Error("the new key signs before its time")
			}
			if _, err := o.RotateKeys(t.Context(), time.Hour); err == nil {
				t.Error("a second key is made while the first waits")
			}
			s.exec(t, `UPDATE oauth_jwk SET created_at = now() WHERE created_at > now()`) // its time has come
			await.That(t, "the key signs", func() bool { r, _ := s.tokens(t, app, thirdparty.Answers{}); return keyOf(t, r.ID) == made.ID })
			keys := oidc.NewRemoteKeySet(t.Context(), s.Public+"/.well-known/jwks.json")
			if _, err := oidc.NewVerifier(s.Issuer, keys, &oidc.Config{ClientID: app.ID}).Verify(t.Context(), first.ID); err != nil {
				t.Errorf("a token of the old key: %v", err)
			}
			if list, err := o.Keys(t.Context()); err != nil || len(list) != 2 || list[0].State != "signing" || list[1].State != "verifying" {
				t.Errorf("%+v %v", list, err)
			}
		})
	}
}

// TestSystemSecretChanges: with both secrets everything of the old one holds; once the keys are resealed it can be left out.
func TestSystemSecretChanges(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", nil)
	app := s.register(t, nil)
	tokens, _ := s.tokens(t, app, thirdparty.Answers{})
	used := s.refresh(t, app, tokens.Refresh)
	uri, _ := s.push(t, app, nil)
	d, _ := s.askDevice(t, s.register(t, map[string]any{"grant_types": []string{deviceGrant}}), nil)
	for name, o := range map[string]*authserver.Operator{"another": s.operator(t, newSecret, ""), "none": s.operator(t, "", "")} {
		if _, err := o.RotateKeys(t.Context(), 0); err == nil {
			t.Errorf("%s secret made a key", name)
		}
	}
	next := serveOn(t, s.dsn, "2.0", func(c *authserver.Config) {
		c.Issuer, c.SystemSecret, c.OtherSecret = s.Issuer, newSecret, oldSecret
	})
	// A retry of a refresh that the old secret answered, a request that it sealed, a code that it hashed.
	if again := next.refresh(t, app, tokens.Refresh); again.Status != 200 || again.Refresh != used.Refresh {
		t.Errorf("a retry: %+v", again)
	}
	if a := next.ask(t, next.Public+"/oauth2/auth?client_id="+app.ID+"&request_uri="+uri); a.status >= 400 {
		t.Errorf("a pushed request: %+v", a)
	}
	next.typeCode(t, thirdparty.NewBrowser(next.Target), d.At, d.User, 200)
	o := s.operator(t, newSecret, oldSecret)
	if list, err := o.Keys(t.Context()); err != nil || !list[0].OldSecret {
		t.Errorf("%+v %v", list, err)
	}
	for _, want := range []int{1, 0} {
		if n, err := o.ResealKeys(t.Context()); err != nil || n != want {
			t.Errorf("%d keys are resealed, want %d: %v", n, want, err)
		}
	}
	alone := serveOn(t, s.dsn, "2.0", func(c *authserver.Config) { c.Issuer, c.SystemSecret = s.Issuer, newSecret })
	if r := alone.refresh(t, app, used.Refresh); r.Status != 200 || keyOf(t, r.ID) != keyOf(t, tokens.ID) {
		t.Errorf("with the new secret alone: %+v", r)
	}
	var key *authserver.KeyError
	if _, err := s.operator(t, oldSecret, "").Keys(t.Context()); !errors.As(err, &key) {
		t.Errorf("with the old secret alone: %v", err)
	}
}

// TestOperatorWantsItsSchema: what is done to a database is done in the words of its generation.
func TestOperatorWantsItsSchema(t *testing.T) {
	t.Parallel()
	s := serve(t, "1.1", nil)
	for name, c := range map[string]authserver.Config{"another generation": {Generation: "2.0", DSN: s.dsn}, "none": {Generation: "3.0", DSN: s.dsn}, "no DSN": {Generation: "1.1", DSN: "postgres://%zz"}} {
		if o, err := authserver.NewOperator(context.WithoutCancel(t.Context()), c); err == nil {
			o.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
