package router

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// fickle is a server that answers the first request of each connection, and ends the connection when the second has come.
type fickle struct {
	net.Listener
	mu   sync.Mutex
	seen map[string]int // requests by their bodies
	keys []string       // their idempotency keys
}

func newFickle(t *testing.T) *fickle {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fickle{Listener: l, seen: map[string]int{}}
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(func() { l.Close() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { f.serve(conn) })
		}
	})
	return f
}

func (f *fickle) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for n := range 2 {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.seen[string(body)+r.URL.RawQuery]++
		f.keys = append(f.keys, r.Header.Values("Idempotency-Key")...)
		f.keys = append(f.keys, r.Header.Values("X-Idempotency-Key")...)
		f.mu.Unlock()
		if n == 0 {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
		}
	}
}

// A server that ends a kept connection fails no request that may be sent twice, and gets no other twice.
func TestServersEndKeptConnections(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, path string
		header             []string
		again              bool
	}{
		{"introspection", "POST", "/oauth2/introspect", nil, true},
		{"introspection with a key", "POST", "/oauth2/introspect", []string{"Idempotency-Key", "k"}, true},
		{"keys", "GET", "/clients?q", nil, true},
		{"a write", "POST", "/clients", nil, false},
		{"a write with a key", "POST", "/clients", []string{"Idempotency-Key", "k"}, false},
		{"a write with the other key", "PUT", "/clients/a", []string{"X-Idempotency-Key", "k"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFickle(t)
			b := setup(t, func(c *Config) {
				c.Blue.Admin = "http://" + f.Addr().String()
			})
			body := map[bool]string{true: "q", false: "x"}[tt.method == "GET"]
			send := func(body string) answered {
				if tt.method == "GET" {
					body = ""
				}
				return do(t.Context(), tt.method, b.admin+tt.path, body, tt.header...)
			}
			if a := send("first"); a.status != http.StatusOK {
				t.Fatalf("the first: %+v", a)
			}
			before := f.seen[body]
			a := send(body)
			want, times := http.StatusBadGateway, 1
			if tt.again {
				want, times = http.StatusOK, 2
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if a.status != want || f.seen[body]-before != times {
				t.Errorf("status %d, sent %d times; want %d and %d", a.status, f.seen[body]-before, want, times)
			}
			for _, k := range f.keys {
				if k != "k" {
					t.Errorf("the server got a key %q", k)
				}
			}
			if len(tt.header) > 0 && len(f.keys) != times+1 {
				t.Errorf("the server got the client's key %d times, want %d", len(f.keys), times+1)
			}
		})
	}
}
