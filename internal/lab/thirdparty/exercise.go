// Package thirdparty holds the OAuth server against libraries that know nothing of it: golang.org/x/oauth2 and
// github.com/coreos/go-oidc. It takes base URLs, so that the same can be run on a server and through a router.
package thirdparty

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const redirectURI = "http://127.0.0.1:1/callback"

// Exercise registers a confidential and a public app and takes each through login with PKCE, verification of the ID
// token, user info, refresh and revocation.
func Exercise(ctx context.Context, t testing.TB, target Target) {
	t.Helper()
	for _, method := range []string{"client_secret_basic", "client_secret_post", "none"} {
		exercise(ctx, t, target, method)
	}
}

func exercise(ctx context.Context, t testing.TB, target Target, method string) {
	t.Helper()
	ctx = oidc.ClientContext(ctx, &http.Client{Transport: target.transport(), Timeout: 30 * time.Second})
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s, %s: %v", method, what, err)
		}
	}
	provider, err := oidc.NewProvider(ctx, target.Issuer)
	check("discovery", err)
	app := struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}{}
	check("registration", target.Call(ctx, http.MethodPost, "/clients", map[string]any{
		"client_name": "third party " + method, "owner": "tests", "redirect_uris": []string{redirectURI},
		"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid offline_access photos",
		"token_endpoint_auth_method": method, "post_logout_redirect_uris": []string{redirectURI},
	}, &app))
	config := oauth2.Config{ClientID: app.ID, ClientSecret: app.Secret, RedirectURL: redirectURI,
		Endpoint: provider.Endpoint(), Scopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess, "photos"}}
	config.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if method != "client_secret_basic" {
		config.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}

	subject, state, nonce, pkce := "person-"+rand.Text(), rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	visit, err := NewBrowser(target).Authorize(ctx,
		config.AuthCodeURL(state, oauth2.S256ChallengeOption(pkce), oidc.Nonce(nonce)), redirectURI,
		Answers{Subject: subject, RememberLogin: true, RememberConsent: true, IDToken: map[string]any{"locale": "en"}})
	check("login", err)
	if visit.Code == "" || visit.State != state {
		t.Fatalf("%s: the browser came back with %+v", method, visit)
	}
	token, err := config.Exchange(ctx, visit.Code, oauth2.VerifierOption(pkce))
	check("code exchange", err)

	raw, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: app.ID}).Verify(ctx, raw)
	check("ID token", err)
	if id.Subject != subject || id.Nonce != nonce {
		t.Fatalf("%s: the ID token is about %q with nonce %q", method, id.Subject, id.Nonce)
	}
	check("at_hash", id.VerifyAccessToken(token.AccessToken))

	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	check("user info", err)
	if info.Subject != subject {
		t.Fatalf("%s: user info is about %q", method, info.Subject)
	}

	expired := *token
	expired.Expiry = time.Now().Add(-time.Minute)
	fresh, err := config.TokenSource(ctx, &expired).Token()
	check("refresh", err)
	if fresh.AccessToken == token.AccessToken || fresh.RefreshToken == token.RefreshToken || fresh.RefreshToken == "" {
		t.Fatalf("%s: the refresh changed nothing", method)
	}
	refreshed, _ := fresh.Extra("id_token").(string)
	_, err = provider.Verifier(&oidc.Config{ClientID: app.ID}).Verify(ctx, refreshed)
	check("ID token of the refresh", err)
	alive(ctx, t, target, token.AccessToken, false)
	alive(ctx, t, target, fresh.AccessToken, true)

	check("revocation", revoke(ctx, target, config, method, fresh.RefreshToken))
	alive(ctx, t, target, fresh.AccessToken, false)
	alive(ctx, t, target, fresh.RefreshToken, false)
	gone := *fresh
	gone.Expiry = time.Now().Add(-time.Minute)
	if _, err := config.TokenSource(ctx, &gone).Token(); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Fatalf("%s: a refresh after the revocation gave %v", method, err)
	}
}

func alive(ctx context.Context, t testing.TB, target Target, token string, want bool) {
	t.Helper()
	got, err := target.Active(ctx, token)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("introspection says active = %v", got)
	}
}

// revoke is RFC 7009, which x/oauth2 does not have.
func revoke(ctx context.Context, target Target, c oauth2.Config, method, token string) error {
	form := url.Values{"token": {token}}
	if method != "client_secret_basic" {
		form.Set("client_id", c.ClientID)
	}
	if method == "client_secret_post" {
		form.Set("client_secret", c.ClientSecret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.Issuer+"/oauth2/revoke", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if method == "client_secret_basic" {
		req.SetBasicAuth(c.ClientID, c.ClientSecret)
	}
	res, err := (&http.Client{Transport: target.transport()}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return &StatusError{Status: res.StatusCode}
	}
	return nil
}
