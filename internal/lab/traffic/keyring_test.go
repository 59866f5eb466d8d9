package traffic

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// TestIDTokens reads ID tokens of every kind that a broken or a new server may give.
func TestIDTokens(t *testing.T) {
	t.Parallel()
	old, next, never := key(t, "old"), key(t, "next"), key(t, "never")
	nameless := key(t, "")
	stolen := jose.JSONWebKey{Key: never.Key, KeyID: "old"}
	right := map[string]any{"iss": "http://issuer/", "sub": "u1", "aud": "c1", "nonce": "nonce-s1", "exp": time.Now().Add(time.Hour).Unix()}
	with := func(name string, value any) map[string]any {
		claims := map[string]any{}
		for k, v := range right {
			claims[k] = v
		}
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
		return claims
	}
	good := Issued{IDSubject: "u1", IDClient: "c1", IDIssuer: "http://issuer/", IDKey: "old"}
	but := func(f func(*Issued)) Issued {
		i := good
		f(&i)
		return i
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"old"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"u1"}`)) + "."
	tests := []struct {
		name    string
		token   string
		kind    Kind
		want    Issued
		expired bool
	}{
		{"good", sign(t, old, right), Exchange, good, false},
		{"signed by a key that the server shows only now", sign(t, next, right), Exchange, but(func(i *Issued) { i.IDKey = "next" }), false},
		{"signed by a key that the server never shows", sign(t, never, right), Exchange, but(func(i *Issued) { i.IDKey, i.IDForged = "never", true }), false},
		{"signed by another key under the same id", sign(t, stolen, right), Exchange, but(func(i *Issued) { i.IDForged = true }), false},
		{"signed by a key without an id", sign(t, nameless, right), Exchange, but(func(i *Issued) { i.IDKey, i.IDForged = "", true }), false},
		{"not signed", none, Exchange, Issued{IDKey: "none", IDForged: true}, true},
		{"no JWT", "opaque", Exchange, Issued{IDKey: "none", IDForged: true}, true},
		{"claims that are no claims", sign(t, old, "text"), Exchange, Issued{IDKey: "old", IDForged: true}, true},
		{"another nonce", sign(t, old, with("nonce", "nonce-s2")), Exchange, but(func(i *Issued) { i.IDWrongNonce = true }), false},
		{"no nonce", sign(t, old, with("nonce", nil)), Exchange, but(func(i *Issued) { i.IDWrongNonce = true }), false},
		{"no nonce after a refresh", sign(t, old, with("nonce", nil)), Refresh, good, false},
		{"another nonce after a refresh", sign(t, old, with("nonce", "x")), Refresh, but(func(i *Issued) { i.IDWrongNonce = true }), false},
		{"audience as a list", sign(t, old, with("aud", []string{"c1"})), Exchange, good, false},
		{"another audience", sign(t, old, with("aud", "c2")), Exchange, but(func(i *Issued) { i.IDClient = "c2" }), false},
		{"expired", sign(t, old, with("exp", time.Now().Add(-time.Minute).Unix())), Exchange, good, true},
		{"without an end", sign(t, old, with("exp", nil)), Exchange, good, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{old.Public(), next.Public()}})
			}))
			defer server.Close()
			c := &caller{config: Config{Public: server.URL, Timeout: 10 * time.Second}, rec: NewRecorder(Expect{NoSwitch: true}), http: server.Client()}
			c.keys.learn(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{old.Public()}})
			var got Issued
			c.identify(t.Context(), Request{Kind: tt.kind, Target: Router}, &got, tt.token, "nonce-s1")
			if expired := got.IDExpiresIn <= 0; expired != tt.expired {
				t.Errorf("expires in %d s", got.IDExpiresIn)
			}
			got.IDExpiresIn = 0
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
		})
	}
}

func key(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: private, KeyID: id, Algorithm: string(jose.ES256)}
}

func sign(t *testing.T, key jose.JSONWebKey, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
