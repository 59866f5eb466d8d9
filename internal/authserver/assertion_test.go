package authserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// signing is a client's own key.
type signing struct {
	private any
	public  jose.JSONWebKey
	alg     jose.SignatureAlgorithm
}

func newSigning(t *testing.T, id string) signing {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signing{key, jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig"}, jose.ES256}
}

func jwks(keys ...signing) map[string]any {
	list := []jose.JSONWebKey{}
	for _, k := range keys {
		list = append(list, k.public)
	}
	return map[string]any{"keys": list}
}

// sign makes an assertion, with some claims changed; nil takes one away.
func (k signing) sign(t *testing.T, s running, client string, change map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": client, "sub": client, "aud": s.Issuer + "/oauth2/token", "jti": rand.Text(), "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix()}
	for name, v := range change {
		claims[name] = v
		if v == nil {
			delete(claims, name)
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: jose.JSONWebKey{Key: k.private, KeyID: k.public.KeyID}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func proof(assertion string, form url.Values) url.Values {
	out := url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}
	for k, v := range form {
		out[k] = v
	}
	return out
}

func (s running) send(t *testing.T, path string, form url.Values) reply {
	t.Helper()
	return raw(t, http.MethodPost, s.Public+path, nil, form.Encode())
}

var machine = url.Values{"grant_type": {"client_credentials"}, "scope": {"photos"}}

// TestClientKeys: RFC 7523, section 3, and OpenID Connect Core, section 9.
func TestClientKeys(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", nil)
	key, other := newSigning(t, "one"), newSigning(t, "one")
	with := map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks(key)}
	app := s.register(t, with)
	if app.Secret != "" {
		t.Error("a client with keys got a secret")
	}
	plain := s.register(t, nil)
	// Wherever a client says who it is.
	if r := s.send(t, "/oauth2/token", proof(key.sign(t, s, app.ID, nil), machine)); r.Status != 200 || r.Access == "" {
		t.Fatalf("%+v", r)
	} else if got := s.send(t, "/oauth2/introspection", proof(key.sign(t, s, app.ID, map[string]any{"aud": s.Issuer}), url.Values{"token": {r.Access}})); got.Status != 200 {
		t.Errorf("introspection: %+v", got)
	} else if got := s.send(t, "/oauth2/revoke", proof(key.sign(t, s, app.ID, nil), url.Values{"token": {r.Access}, "client_id": {app.ID}})); got.Status != 200 || s.active(t, r.Access) {
		t.Errorf("revocation: %+v", got)
	}
	code := s.authorize(t, app, thirdparty.Answers{}).Code
	if r := s.send(t, "/oauth2/token", proof(key.sign(t, s, app.ID, map[string]any{"aud": []string{s.Issuer, s.Issuer + "/oauth2/token"}}),
		url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {pkce}})); r.Status != 200 || r.Refresh == "" {
		t.Errorf("code: %+v", r)
	}
	if r := s.send(t, "/oauth2/par", proof(key.sign(t, s, app.ID, map[string]any{"aud": s.Issuer + "/oauth2/par"}), url.Values{"redirect_uri": {redirectURI},
		"response_type": {"code"}, "scope": {"openid"}, "state": {"a-state-of-mine"}})); r.Status != http.StatusCreated {
		t.Errorf("pushed request: %+v", r)
	}
	secretKey := func(public []byte) string { // a public key taken for a secret
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: public}, (&jose.SignerOptions{}).WithHeader("kid", "one"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := jwt.Signed(signer).Claims(map[string]any{"iss": app.ID, "sub": app.ID, "aud": s.Issuer, "jti": rand.Text(), "exp": time.Now().Add(time.Minute).Unix()}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	published, err := json.Marshal(key.public)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	unsigned := b64([]byte(`{"alg":"none"}`)) + "." + b64(fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":%q,"jti":"x","exp":%d}`, app.ID, app.ID, s.Issuer, time.Now().Add(time.Minute).Unix())) + "."
	right := key.sign(t, s, app.ID, nil)
	now := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, assertion := range map[string]string{
		"nonsense": "x", "no signature": unsigned, "public key as secret": secretKey(published), "cut": right[:len(right)-8], "another key": other.sign(t, s, app.ID, nil),
		"another issuer": key.sign(t, s, app.ID, map[string]any{"iss": "x"}), "another's name": key.sign(t, s, plain.ID, nil), "nobody's name": key.sign(t, s, "nobody", nil),
		"for another": key.sign(t, s, app.ID, map[string]any{"aud": "https://other.example/token"}), "for another, too": key.sign(t, s, app.ID, map[string]any{"aud": []string{s.Issuer, "https://other.example"}}),
		"for nobody": key.sign(t, s, app.ID, map[string]any{"aud": nil}), "for ever": key.sign(t, s, app.ID, map[string]any{"exp": nil}), "for long": key.sign(t, s, app.ID, map[string]any{"exp": now(2 * time.Hour)}),
		"too old": key.sign(t, s, app.ID, map[string]any{"exp": now(-time.Minute)}), "not yet": key.sign(t, s, app.ID, map[string]any{"nbf": now(5 * time.Minute)}),
		"of tomorrow": key.sign(t, s, app.ID, map[string]any{"iat": now(5 * time.Minute)}), "without an id": key.sign(t, s, app.ID, map[string]any{"jti": nil}),
		"long": key.sign(t, s, app.ID, map[string]any{"x": strings.Repeat("x", 10_000)}),
	} {
		if r := s.send(t, "/oauth2/token", proof(assertion, machine)); r.Status != 401 || r.Error != "invalid_client" {
			t.Errorf("%s: %d %q", name, r.Status, r.Error)
		}
	}
	if r := s.send(t, "/oauth2/token", proof(key.sign(t, s, app.ID, nil), url.Values{"grant_type": {"client_credentials"}, "client_id": {plain.ID}})); r.Status != 401 {
		t.Errorf("with another's client_id: %+v", r)
	}
	if r := s.send(t, "/oauth2/token", proof(key.sign(t, s, app.ID, nil), url.Values{"grant_type": {"client_credentials"}, "client_secret": {"x"}, "client_id": {app.ID}})); r.Status != 400 {
		t.Errorf("with a secret, too: %+v", r)
	}
	wrongType := proof(key.sign(t, s, app.ID, nil), machine)
	wrongType.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer")
	if r := s.send(t, "/oauth2/token", wrongType); r.Status != 400 && r.Status != 401 {
		t.Errorf("another type: %+v", r)
	}
	wantError(t, s.refresh(t, registered{ID: app.ID, Secret: "x"}, "x"), 401, "invalid_client")
	wantError(t, s.refresh(t, registered{ID: app.ID}, "x"), 401, "invalid_client")
	// One proof serves once, of many at once, too.
	var wg sync.WaitGroup
	var through atomic.Int32
	for range 8 {
		wg.Go(func() {
			if r := s.send(t, "/oauth2/token", proof(right, machine)); r.Status == 200 {
				through.Add(1)
			}
		})
	}
	wg.Wait()
	if through.Load() != 1 {
		t.Errorf("one proof served %d times", through.Load())
	}
	if n := s.number(t, `SELECT count(*) FROM oauth_assertion WHERE expires_at > now() AND expires_at < now() + interval '65 min'`); n == 0 {
		t.Error("no proof is remembered")
	}
	// A client that loses its keys loses its access with them.
	s.call(t, 200, http.MethodPut, "/clients/"+app.ID, map[string]any{"owner": "team", "redirect_uris": []string{redirectURI}, "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks(other),
		"grant_types": []string{"client_credentials"}, "scope": "photos"}, nil)
	if r := s.send(t, "/oauth2/token", proof(key.sign(t, s, app.ID, nil), machine)); r.Status != 401 {
		t.Errorf("a key that was taken away: %+v", r)
	}
	if r := s.send(t, "/oauth2/token", proof(other.sign(t, s, app.ID, nil), machine)); r.Status != 200 {
		t.Errorf("the key in its place: %+v", r)
	}
	doc := document(t, s.Public+"/.well-known/openid-configuration")
	if algs := list(doc, "token_endpoint_auth_signing_alg_values_supported"); !slices.Contains(algs, "ES256") || slices.ContainsFunc(algs, func(a string) bool { return a == "none" || strings.HasPrefix(a, "HS") }) {
		t.Errorf("algorithms: %v", algs)
	}
}

// TestClientKeysAreRegistered: what a client's keys may be, and who has some.
func TestClientKeysAreRegistered(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", nil)
	key := newSigning(t, "one")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	many := []signing{}
	for range 21 {
		many = append(many, key)
	}
	of := func(k any) map[string]any { return map[string]any{"keys": []jose.JSONWebKey{{Key: k, KeyID: "k"}}} }
	for name, fields := range map[string]map[string]any{
		"none": {}, "both": {"jwks": jwks(key), "jwks_uri": "https://app.example/keys"}, "a secret, too": {"jwks": jwks(key), "client_secret": "a secret"},
		"private": {"jwks": of(key.private)}, "shared": {"jwks": of([]byte("a secret of the client"))}, "small": {"jwks": of(small.Public())}, "empty": {"jwks": jwks()},
		"no set": {"jwks": "x"}, "many": {"jwks": jwks(many...)}, "http": {"jwks_uri": "http://app.example/keys"}, "file": {"jwks_uri": "file:///etc/passwd"},
		"with a user": {"jwks_uri": "https://me:too@app.example/keys"}, "not for it": {"token_endpoint_auth_method": "client_secret_basic", "jwks": jwks(key)},
		"not for public ones": {"token_endpoint_auth_method": "none", "jwks_uri": "https://app.example/keys"}, "secret JWT": {"token_endpoint_auth_method": "client_secret_jwt"},
	} {
		body := map[string]any{"owner": "team", "token_endpoint_auth_method": "private_key_jwt"}
		for k, v := range fields {
			body[k] = v
		}
		if r := raw(t, http.MethodPost, s.Admin+s.AdminPrefix+"/clients", map[string]string{"Content-Type": "application/json"}, string(mustJSON(t, body))); r.Status != 400 {
			t.Errorf("%s: %d", name, r.Status)
		}
	}
	// What is read is what may be written again, as the console does.
	for name, fields := range map[string]map[string]any{"jwks": {"jwks": jwks(key)}, "jwks_uri": {"jwks_uri": "https://app.example/keys"}} {
		fields["token_endpoint_auth_method"] = "private_key_jwt"
		app := s.register(t, fields)
		var all map[string]any
		s.call(t, 200, http.MethodGet, "/clients/"+app.ID, nil, &all)
		if (all["jwks"] == nil) == (name == "jwks") || (all["jwks_uri"] == nil) != (name == "jwks") {
			t.Errorf("%s: %v", name, all)
		}
		s.call(t, 200, http.MethodPut, "/clients/"+app.ID, all, nil)
		// One that gets a secret has no keys any more.
		all["token_endpoint_auth_method"], all["jwks"], all["jwks_uri"] = "client_secret_basic", nil, ""
		var secret registered
		s.call(t, 200, http.MethodPut, "/clients/"+app.ID, all, &secret)
		if n := s.number(t, `SELECT count(*) FROM oauth_client_keys WHERE client_id = $1`, app.ID); n != 0 || secret.Secret == "" {
			t.Errorf("%s: %d rows of keys", name, n)
		}
		// And the other way round.
		all["token_endpoint_auth_method"], all["jwks"] = "private_key_jwt", jwks(key)
		s.call(t, 200, http.MethodPut, "/clients/"+app.ID, all, nil)
		if n := s.number(t, `SELECT count(*) FROM oauth_client WHERE id = $1 AND secret_hash = ''`, app.ID); n != 1 {
			t.Errorf("%s: the secret lives on", name)
		}
		s.call(t, 204, http.MethodDelete, "/clients/"+app.ID, nil, nil)
	}
	old := serve(t, "1.1", nil)
	if r := raw(t, http.MethodPost, old.Admin+"/clients", map[string]string{"Content-Type": "application/json"}, string(mustJSON(t, map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks(key)}))); r.Status != 400 {
		t.Errorf("1.1: %d", r.Status)
	}
	app := old.register(t, nil)
	wantError(t, old.send(t, "/oauth2/token", proof(key.sign(t, old, app.ID, nil), machine)), 401, "invalid_client")
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestClientKeysElsewhere: keys at an address are fetched rarely, and only from where they may be.
func TestClientKeysElsewhere(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", nil)
	key := newSigning(t, "one")
	var fetches atomic.Int32
	var answer atomic.Value
	answer.Store(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(mustJSON(t, jwks(key))) })
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetches.Add(1)
		answer.Load().(func(http.ResponseWriter, *http.Request))(w, r)
	}))
	t.Cleanup(there.Close)
	app := s.register(t, map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": there.URL})
	for range 3 {
		if r := s.send(t, "/oauth2/token", proof(key.sign(t, s, app.ID, nil), machine)); r.Status != 200 {
			t.Fatalf("%+v", r)
		}
	}
	for range 3 {
		if r := s.send(t, "/oauth2/token", proof(newSigning(t, "two").sign(t, s, app.ID, nil), machine)); r.Status != 401 {
			t.Errorf("%+v", r)
		}
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	for name, f := range map[string]func(http.ResponseWriter, *http.Request){
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, there.URL+"/elsewhere", http.StatusFound)
		},
		"long": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(slices.Concat(mustJSON(t, jwks(key)), make([]byte, 70_000)))
		},
		"missing":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"cut off":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		answer.Store(f)
		before := fetches.Load()
		app := s.register(t, map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": there.URL + "/" + url.PathEscape(name)})
		for range 2 {
			if r := s.send(t, "/oauth2/token", proof(key.sign(t, s, app.ID, nil), machine)); r.Status != 401 {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if n := fetches.Load() - before; n < 1 || n > 2 { // a transport may ask again on a connection that was cut
			t.Errorf("%s: fetched %d times", name, n)
		}
	}
}
