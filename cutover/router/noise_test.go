package router

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/plan"
)

// scroll is a log that tests read.
type scroll struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *scroll) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *scroll) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSpace(s.buf.String()), "\n")
}

// What a client can do again and again writes a few lines at most, and tells nobody that a server is ill.
func TestHostileClientsWriteFewLines(t *testing.T) {
	t.Parallel()
	const times = 60
	var said scroll
	b := setup(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&said, nil))
		c.Limits.Queue, c.Limits.BodyTime = 2, 300*time.Millisecond
	})
	let := make(chan struct{})
	b.blue.answers(func(_ http.ResponseWriter, r *http.Request, _ seen) {
		select {
		case <-let:
		case <-r.Context().Done():
		}
	})
	c := speaking(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	t.Cleanup(c.CloseIdleConnections)
	reset := func(n int, path string, arrived func() bool) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.public+path, strings.NewReader("a=b"))
				if err != nil {
					t.Error(err)
					return
				}
				if resp, err := c.Do(req); err == nil {
					resp.Body.Close()
				}
			})
		}
		await.That(t, "arrived at "+path, arrived)
		cancel()
		all.Wait()
	}
	// Reads that a server is asked, and that nobody waits for.
	reset(times, "/userinfo", func() bool { return len(b.blue.requests()) == times })
	await.That(t, "all gone", func() bool { return b.router.State().Gone == times })
	if st := b.router.State(); st.Errors != 0 || st.Sides[plan.Blue].Unreachable != 0 {
		t.Errorf("clients that left count as errors of the server: %+v", st)
	}
	// Requests that leave a hold, and those that it has no room for.
	b.hold(run1, 30*time.Second)
	for range 10 {
		gone := b.router.State().Gone
		reset(2, "/oauth2/token", func() bool { return b.router.State().Held == 2 })
		await.That(t, "gone", func() bool { return b.router.State().Gone == gone+2 })
	}
	reset(times, "/oauth2/token", func() bool { return b.router.State().Refused == times-2 })
	b.release(run1)
	close(let)
	// Bodies that come slowly or half, and no TLS.
	var all sync.WaitGroup
	for i := range times {
		all.Go(func() {
			conn, err := net.Dial("tcp", strings.TrimPrefix(b.public, "http://"))
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "POST /oauth2/token HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\na")
			if i%2 == 0 {
				_ = conn.(*net.TCPConn).CloseWrite()
			}
			_, _ = io.Copy(io.Discard, conn)
		})
	}
	all.Wait()
	if lines := said.lines(); len(lines) > 3*fewLines {
		t.Errorf("%d lines: %s", len(lines), strings.Join(lines[:20], "\n"))
	}
}

func TestBrokenHandshakesWriteFewLines(t *testing.T) {
	t.Parallel()
	var said scroll
	b := setup(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&said, nil))
		c.Certificate, c.Key = newPair(t, t.TempDir(), 1)
	})
	for range 50 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.public, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "this is no handshake at all\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
		if c, err := tls.Dial("tcp", strings.TrimPrefix(b.public, "http://"), &tls.Config{}); err == nil {
			c.Close()
			t.Fatal("a certificate that nobody knows was taken")
		}
	}
	await.That(t, "both are said", func() bool { return len(said.lines()) >= 2 })
	if lines := said.lines(); len(lines) > 2*fewLines {
		t.Errorf("%d lines: %s", len(lines), strings.Join(lines, "\n"))
	}
}

func TestFewLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f few
		count := func(kind string, n int) (said, left int) {
			for range n {
				yes, before := f.say(kind)
				if yes {
					said++
				}
				left += before
			}
			return said, left
		}
		if said, left := count("a", 100); said != fewLines || left != 0 {
			t.Errorf("%d said, %d left out", said, left)
		}
		if said, _ := count("b", 3); said != 3 {
			t.Errorf("another kind: %d said", said)
		}
		time.Sleep(fewEvery) // of a synctest bubble
		if said, left := count("a", 100); said != fewLines || left != 100-fewLines {
			t.Errorf("later: %d said, %d left out", said, left)
		}
		for i := range 1000 {
			f.say(fmt.Sprint(i))
		}
		if len(f.kinds) > fewKinds+1 {
			t.Errorf("%d kinds", len(f.kinds))
		}
	})
}

// One address opens all the connections that it can: others still come in, and what has been closed counts no more.
func TestConnectionsAreShared(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Limits.Clients, c.TrustedProxies = 20, proxies(t, "127.0.2.9") })
	dial := func(addr string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
		conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(b.public, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		return conn
	}
	taken := func(conn net.Conn) bool {
		fmt.Fprint(conn, "GET /health/ready HTTP/1.1\r\nHost: h\r\n\r\n")
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		return err == nil && bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200"))
	}
	var hostile []net.Conn
	in := 0
	for range 15 {
		conn := dial("127.0.2.1")
		if taken(conn) {
			in++
			hostile = append(hostile, conn)
		}
	}
	if in != 10 {
		t.Errorf("%d connections of one address are taken, want half of 20", in)
	}
	for i := range 4 {
		if !taken(dial(fmt.Sprintf("127.0.2.%d", 2+i))) {
			t.Error("another address is refused")
		}
	}
	for range 6 {
		if !taken(dial("127.0.2.9")) {
			t.Error("a trusted proxy is refused")
		}
	}
	if taken(dial("127.0.2.7")) {
		t.Error("one more than all is taken")
	}
	for _, conn := range hostile {
		conn.Close()
	}
	await.That(t, "room again", func() bool { return taken(dial("127.0.2.1")) && taken(dial("127.0.2.7")) })
}
