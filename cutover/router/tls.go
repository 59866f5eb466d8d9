package router

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"sync/atomic"
)

// certificate is the one that new connections get. It can be replaced while the router serves.
type certificate struct {
	cert, key string
	now       atomic.Pointer[tls.Certificate]
}

// newCertificate reads the files; without files it is nil.
func newCertificate(cert, key string) (*certificate, error) {
	if cert == "" {
		return nil, nil
	}
	c := &certificate{cert: cert, key: key}
	return c, c.reload()
}

// reload reads the files again. On error the former certificate stays.
func (c *certificate) reload() error {
	if c == nil {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("router: certificate %s with key %s: %w", c.cert, c.key, err)
	}
	c.now.Store(&pair)
	return nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}

// speak sets what a listener speaks: HTTP/1.1 and HTTP/2, over TLS where there is a certificate. One connection of a
// balancer may carry all requests of the world: those that are held must leave streams for those that are not.
func (r *Router) speak(s *http.Server, secure bool) {
	s.Protocols = &http.Protocols{}
	s.Protocols.SetHTTP1(true)
	s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: r.config.Limits.Queue + 1000}
	if secure {
		s.TLSConfig = r.certificate.config()
		s.Protocols.SetHTTP2(true)
		return
	}
	s.Protocols.SetUnencryptedHTTP2(true)
}
