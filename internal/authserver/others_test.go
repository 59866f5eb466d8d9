package authserver_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/client"
	"golang.org/x/oauth2"

	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// TestOtherPeoplesClients: a device by golang.org/x/oauth2, and a client with a key by zitadel/oidc, as they are.
func TestOtherPeoplesClients(t *testing.T) {
	t.Parallel()
	s := serve(t, "2.0", nil)
	app := s.register(t, map[string]any{"grant_types": []string{deviceGrant, "refresh_token"}, "token_endpoint_auth_method": "none"})
	tv := oauth2.Config{ClientID: app.ID, Scopes: []string{"openid", "offline_access"}, Endpoint: oauth2.Endpoint{DeviceAuthURL: s.Issuer + "/oauth2/device/auth",
		TokenURL: s.Issuer + "/oauth2/token", AuthStyle: oauth2.AuthStyleInParams}}
	d, err := tv.DeviceAuth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.grantDevice(t, device{At: d.VerificationURI, User: d.UserCode}, thirdparty.Answers{Subject: "dora"})
	d.Interval = 1
	token, err := tv.DeviceAccessToken(t.Context(), d)
	if err != nil || !s.active(t, token.AccessToken) || token.RefreshToken == "" {
		t.Errorf("%+v %v", token, err)
	}

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := client.NewSignerFromPrivateKeyByte(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), "one")
	if err != nil {
		t.Fatal(err)
	}
	signed := s.register(t, map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks": map[string]any{"keys": []jose.JSONWebKey{{Key: key.Public(), KeyID: "one"}}}})
	assertion, err := client.SignedJWTProfileAssertion(signed.ID, []string{s.Issuer, s.Issuer + "/oauth2/token"}, time.Hour, signer)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.send(t, "/oauth2/token", proof(assertion, url.Values{"grant_type": {"client_credentials"}, "scope": {"photos"}})); r.Status != 200 {
		t.Errorf("%+v", r)
	}
}
