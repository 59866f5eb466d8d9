package router

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/quick"
)

// newPair writes a certificate for 127.0.0.1 with a serial number.
func newPair(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "router"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// speaking is a client that speaks one protocol, and trusts anybody.
func speaking(set func(*http.Protocols)) *http.Client {
	p := &http.Protocols{}
	set(p)
	return &http.Client{Transport: &http.Transport{Protocols: p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 20 * time.Second}
}

func TestProtocols(t *testing.T) {
	t.Parallel()
	secure := setup(t, func(c *Config) { c.Certificate, c.Key = newPair(t, t.TempDir(), 7) })
	plain := setup(t, nil)
	for name, tt := range map[string]struct {
		b      *bundle
		scheme string
		set    func(*http.Protocols)
		major  int
	}{
		"http/1.1":         {plain, "http", func(p *http.Protocols) { p.SetHTTP1(true) }, 1},
		"h2c":              {plain, "http", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }, 2},
		"https, http/1.1":  {secure, "https", func(p *http.Protocols) { p.SetHTTP1(true) }, 1},
		"https, http/2":    {secure, "https", func(p *http.Protocols) { p.SetHTTP2(true) }, 2},
		"https, what fits": {secure, "https", func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }, 2},
		"http, what fits":  {plain, "http", func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := speaking(tt.set)
			base := strings.Replace(tt.b.public, "http", tt.scheme, 1)
			req, err := http.NewRequest(http.MethodPost, base+"/oauth2/token", strings.NewReader("a=b"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Forwarded-Proto", "gopher")
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			got := answered{body: string(raw)}.seen(t)
			if resp.ProtoMajor != tt.major || got.Body != "a=b" || got.Header.Get("X-Forwarded-Proto") != tt.scheme {
				t.Errorf("%s, the server got %+v", resp.Proto, got)
			}
			resp, err = c.Get(base + "//clients")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("an admin path: %d", resp.StatusCode)
			}
		})
	}
}

// One connection of a balancer carries everything: what is held must not use up its streams.
func TestHeldStreamsLeaveRoomForReads(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	c := speaking(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	warm, err := c.Get(b.public + "/health/alive")
	if err != nil {
		t.Fatal(err)
	}
	warm.Body.Close()
	b.hold(run1, 20*time.Second)
	const held = 600 // above the 250 streams that net/http allows by itself
	done := make(chan error, held)
	for range held {
		go func() {
			resp, err := c.Post(b.public+"/oauth2/token", formType, strings.NewReader("a=b"))
			if err == nil {
				resp.Body.Close()
			}
			done <- err
		}()
	}
	b.heldNow(held)
	resp, err := c.Get(b.public + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	b.release(run1)
	for range held {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A profile and a certificate are replaced under clients that never stop. None of them notices; new connections get the
// new certificate, and what is wrong with a new one changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := setup(t, func(c *Config) { c.Certificate, c.Key = newPair(t, dir, 1) })
	base := strings.Replace(b.public, "http", "https", 1)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 8 {
		c := speaking(func(p *http.Protocols) {
			p.SetHTTP1(i%2 == 0)
			p.SetHTTP2(i%2 == 1)
		})
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if n%5 == 0 {
					c.CloseIdleConnections()
				}
				resp, err := c.Post(base+"/oauth2/token", formType, strings.NewReader("a=b"))
				if err != nil {
					t.Error(err)
					return
				}
				if resp.Body.Close(); resp.StatusCode != http.StatusOK {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
		})
	}
	serial := func() int64 {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(b.public, "http://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	b.hold(run1, 10*time.Second)
	b.heldNow(8)
	for n := int64(2); n <= 5; n++ {
		newPair(t, dir, n)
		changed := profile
		changed.Public.Routes = append(routes("/new"), changed.Public.Routes...)
		if err := b.router.Reload(changed); err != nil {
			t.Fatal(err)
		}
		if got := serial(); got != n {
			t.Errorf("certificate %d, want %d", got, n)
		}
	}
	b.release(run1)
	if err := os.WriteFile(b.config.Key, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := profile
	wrong.Public.Routes = append(wrong.Public.Routes, routes("no-slash")...)
	if err := b.router.Reload(wrong); err == nil || serial() != 5 || len(b.router.fronts.get("public").spec.Routes) != len(profile.Public.Routes)+1 {
		t.Errorf("a wrong profile and key: %v, certificate %d", err, serial())
	}
	close(stop)
	clients.Wait()
}

// A router that is to stop says so, ends connections by its answers, and cuts off nobody: clients that are told to go
// elsewhere go to the second router. Held requests come to their end, too.
func TestStoppingFailsNobody(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	first, second := setup(t, func(c *Config) { c.Stopping = 400 * time.Millisecond }), setup(t, nil)
	health := func() int {
		return do(t.Context(), "GET", "http://"+first.router.Addresses().Control+"/health", "").status
	}
	var inUse sync.Map
	inUse.Store("base", first.public)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		c := speaking(func(p *http.Protocols) { p.SetHTTP1(true) })
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				base, _ := inUse.Load("base")
				resp, err := c.Post(base.(string)+"/oauth2/token", formType, strings.NewReader("a=b"))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if resp.Body.Close(); resp.StatusCode != http.StatusOK {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
		})
	}
	if got := health(); got != http.StatusOK {
		t.Fatalf("health %d", got)
	}
	first.hold(run1, 2*time.Second)
	first.heldNow(8)
	stopped := make(chan struct{})
	go func() { first.stop(); close(stopped) }()
	await.That(t, "health says that it stops", func() bool { return health() == http.StatusServiceUnavailable })
	inUse.Store("base", second.public) // as a balancer does that has asked for its health
	<-stopped
	close(stop)
	clients.Wait()
}
