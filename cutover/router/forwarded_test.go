package router

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// hearsay are headers in which proxies speak of their clients.
var hearsay = map[string]string{
	"Forwarded": "for=6.6.6.6;proto=https", "X-Forwarded-Port": "443", "X-Forwarded-Prefix": "/id", "X-Forwarded-Server": "evil", "X-Forwarded-Ssl": "on",
	"X-Real-Ip": "6.6.6.6", "X-Client-Ip": "6.6.6.6", "X-Cluster-Client-Ip": "6.6.6.6", "True-Client-Ip": "6.6.6.6", "Cf-Connecting-Ip": "6.6.6.6",
	"Front-End-Https": "on", "X-Scheme": "https", "X-Url-Scheme": "https", "X-Original-Url": "/clients", "X-Rewrite-Url": "/clients", "X-Original-Host": "evil",
	"X-Ssl-Client-Cert": "c", "X-Ssl-Client-Verify": "0", "X-Ssl-Client-S-Dn": "CN=admin", "X-Ssl": "1", "Ssl-Client-Cert": "c", "Ssl-Client-Verify": "SUCCESS",
	"X-Forwarded-Client-Cert": "Hash=1", "X-Forwarded-Tls-Client-Cert": "c", "X-Client-Cert": "c", "X-Client-Certificate": "c", "X-Client-Dn": "CN=admin", "X-Client-Verify": "SUCCESS",
	"Client-Cert": ":AA==:", "Client-Cert-Chain": ":AA==:", "X-Amzn-Mtls-Clientcert": "c", "X-Amzn-Mtls-Clientcert-Subject": "CN=admin", "X-Arr-Clientcert": "c",
	"X-Tls-Client-Cert": "c", "Tls-Client-Cert": "c", "X-Mtls-Client-Cert": "c",
	"X_forwarded_for": "6.6.6.6", "X_forwarded_proto": "https", "Ssl_client_cert": "c", "X_ssl_client_verify": "0", "X-Forwarded_for": "6.6.6.6",
}

// others are headers that pass whoever sends them.
var others = map[string]string{
	"X-Client-Id": "app", "X-Client-Version": "1", "X-Client-Data": "d", "X-Request-Id": "1", "X-Requested-With": "x", "Sec-Fetch-Site": "none", "Cookie": "a=b",
	"Client-Version": "1", "Traceparent": "00", "Forward": "1", "X-Custom": "1", "Dpop": "p", "Oauth-Client-Attestation": "a", "Cf-Ray": "1", "Te-Nt": "1",
}

func TestOnlyTrustedProxiesAreBelieved(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, proxies string
		proto         string // configured
		kept          bool
	}{
		{"nobody is trusted", "", "", false},
		{"the peer is", "10.0.0.0/8,127.0.0.0/8", "", true},
		{"another is", "10.0.0.0/8,127.0.0.2,::1", "", false},
		{"the peer is, the scheme is configured", "127.0.0.1", "https", true},
		{"the peer is, written as IPv6", "::ffff:127.0.0.1", "", true},
	} {
		for protocol, set := range map[string]func(*http.Protocols){
			"h1":  func(p *http.Protocols) { p.SetHTTP1(true) },
			"h2c": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
		} {
			t.Run(tt.name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				b := setup(t, func(c *Config) { c.TrustedProxies, c.ForwardedProto = proxies(t, tt.proxies), tt.proto })
				c := speaking(set)
				t.Cleanup(c.CloseIdleConnections)
				for _, path := range []string{"/oauth2/token", "/.well-known/x"} {
					req, err := http.NewRequest("GET", b.public+path, nil)
					if err != nil {
						t.Fatal(err)
					}
					for _, set := range []map[string]string{hearsay, others} {
						for name, value := range set {
							req.Header[name] = []string{value}
						}
					}
					req.Header["X-Forwarded-For"] = []string{"6.6.6.6, 7.7.7.7", "8.8.8.8"}
					req.Header["X-Forwarded-Host"] = []string{"told.example"}
					req.Header["X-Forwarded-Proto"] = []string{"gopher"}
					if protocol == "h1" { // a client's try to have the router forget what its proxy has said of it
						req.Header["Connection"] = []string{"X-Ssl-Client-Verify, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Real-Ip"}
					}
					resp, err := c.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					var raw bytes.Buffer
					_, _ = raw.ReadFrom(resp.Body)
					resp.Body.Close()
					s := answered{body: raw.String()}.seen(t)
					for name, value := range hearsay {
						if got, there := s.Header[http.CanonicalHeaderKey(name)]; there != tt.kept || there && got[0] != value {
							t.Errorf("%s: %s: %q, want kept: %t", path, name, got, tt.kept)
						}
					}
					for name, value := range others {
						if got := s.Header.Get(name); got != value {
							t.Errorf("%s: %s: %q, want %q", path, name, got, value)
						}
					}
					want := map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": strings.TrimPrefix(b.public, "http://"), "X-Forwarded-Proto": "http"}
					if tt.kept {
						want = map[string]string{"X-Forwarded-For": "6.6.6.6, 7.7.7.7, 8.8.8.8, 127.0.0.1", "X-Forwarded-Host": "told.example", "X-Forwarded-Proto": "gopher"}
					}
					if tt.proto != "" {
						want["X-Forwarded-Proto"] = tt.proto
					}
					for name, value := range want {
						if got := fmt.Sprint(s.Header[name]); got != "["+value+"]" {
							t.Errorf("%s: %s: %s, want %s", path, name, got, value)
						}
					}
				}
			})
		}
	}
}

// A configured URL stands also where a trusted proxy passes on what its client said.
func TestConfiguredHostStandsBehindProxies(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) {
		c.PublicURL, c.TrustedProxies = "https://id.example.com", proxies(t, "127.0.0.1")
	})
	s := ask(t, plainClient, "GET", b.public+"/oauth2/token", "evil.example").seen(t)
	if s.Host != "id.example.com" || strings.Join(s.Header["X-Forwarded-Host"], ",") != "id.example.com" {
		t.Errorf("the server is told %s and %s", s.Host, s.Header["X-Forwarded-Host"])
	}
}

func proxies(t *testing.T, list string) (all []netip.Prefix) {
	t.Helper()
	for s := range strings.SplitSeq(list, ",") {
		if s == "" {
			continue
		}
		p, err := ParseProxy(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestParseProxy(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"10.1.2.3/8": "10.0.0.0/8", "10.1.2.3": "10.1.2.3/32", "::1": "::1/128", "2001:db8::/32": "2001:db8::/32", "::ffff:10.1.2.3": "10.1.2.3/32",
		"": "", "balancer": "", "10.0.0.0/33": "", "fe80::1%eth0": "", "::ffff:10.0.0.0/104": "", "10.0.0.0-10.0.0.9": "",
	} {
		p, err := ParseProxy(s)
		if got := p.String(); want == "" && err == nil || want != "" && got != want {
			t.Errorf("%q: %s, %v; want %q", s, got, err, want)
		}
	}
}
