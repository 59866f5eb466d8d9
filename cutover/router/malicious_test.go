package router

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/quick"
)

// lenient is a server as careless as one can be: whatever a path could be read as, it reads as that. It notes when a
// request comes to its public listener that it would take for an admin's, and whatever comes in two framings.
type lenient struct {
	*httptest.Server
	breach atomic.Pointer[string]
	served atomic.Int64
}

func newLenient(t testing.TB) *lenient {
	l := &lenient{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.served.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		said := ""
		if isAdmin(r.RequestURI) {
			said = "an admin path: " + r.RequestURI
		}
		if r.Header.Get("X-Smuggled") != "" {
			said = "a request that was hidden in another's body: " + r.RequestURI
		}
		if len(r.TransferEncoding) > 0 && r.Header.Get("Content-Length") != "" {
			said = "two framings: " + r.RequestURI
		}
		if said != "" {
			l.breach.Store(&said)
		}
	}))
	t.Cleanup(l.Close)
	return l
}

// isAdmin reads a path as carelessly as one can, with other code than the router's.
func isAdmin(uri string) bool {
	uri, _, _ = strings.Cut(uri, "?")
	if _, rest, ok := strings.Cut(uri, "://"); ok {
		_, uri, _ = strings.Cut(rest, "/")
	}
	for range 5 {
		p := strings.ToLower(strings.ReplaceAll(uri, `\`, "/"))
		var kept []string
		for part := range strings.SplitSeq(p, "/") {
			part, _, _ = strings.Cut(part, ";")
			kept = append(kept, strings.TrimFunc(part, func(r rune) bool { return r <= ' ' }))
		}
		p = path.Clean("/" + strings.Join(kept, "/"))
		for _, admin := range []string{"/admin", "/clients", "/keys", "/trust", "/oauth2/auth/requests", "/oauth2/auth/sessions", "/oauth2/introspect", "/oauth2/tokens"} {
			if p == admin || strings.HasPrefix(p, admin+"/") {
				return true
			}
		}
		decoded, err := url.PathUnescape(uri)
		if err != nil || decoded == uri {
			return false
		}
		uri = decoded
	}
	return false
}

// besieged is a router whose public and admin targets are one lenient server: the worst that a person can set up.
func besieged(t testing.TB, change func(*Config)) (*bundle, *lenient) {
	l := newLenient(t)
	b := setup(t, func(c *Config) {
		c.Profile.Admin.Routes = append(c.Profile.Admin.Routes,
			routes("/keys", "/trust", "/oauth2/auth/sessions", "=/oauth2/tokens")...)
		c.Blue = Target{Public: l.URL, Admin: l.URL}
		c.Green = c.Blue
		c.Limits.Header, c.Limits.BodyTime = time.Second, time.Second
		if change != nil {
			change(c)
		}
	})
	return b, l
}

// send writes bytes as they are and reads what comes until the router closes the connection.
func send(t testing.TB, base string, raw []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = conn.Write(raw)
	_ = conn.(*net.TCPConn).CloseWrite()
	got, _ := io.ReadAll(conn)
	return got
}

// Nothing that a client can send makes one request into two, or an admin's.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	b, l := besieged(t, nil)
	const hidden = "GET /clients HTTP/1.1\r\nHost: h\r\nX-Smuggled: 1\r\n\r\n"
	post := func(headers, body string) string {
		return "POST /oauth2/token HTTP/1.1\r\nHost: h\r\n" + headers + "\r\n" + body
	}
	chunk := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	for name, attack := range map[string]string{
		"CL.TE":             post(fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", 5+len(hidden)), "0\r\n\r\n"+hidden),
		"TE.CL":             post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", chunk(hidden)+"0\r\n\r\n"),
		"TE.TE":             post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"+hidden),
		"TE list":           post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"+hidden),
		"TE space":          post("Transfer-Encoding : chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"+hidden),
		"TE tab":            post("Transfer-Encoding:\tchunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"+hidden),
		"TE x":              post("Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"+hidden),
		"TE folded":         post("Transfer-Encoding:\r\n chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"+hidden),
		"TE newline":        post("X: a\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"+hidden),
		"TE old":            "POST /oauth2/token HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + hidden,
		"two CL":            post(fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n", len(hidden)), hidden),
		"CL list":           post(fmt.Sprintf("Content-Length: 0, %d\r\n", len(hidden)), hidden),
		"CL sign":           post(fmt.Sprintf("Content-Length: +%d\r\n", len(hidden)), hidden),
		"CL negative":       post("Content-Length: -1\r\n", hidden),
		"CL hex":            post("Content-Length: 0x0\r\n", hidden),
		"CL of GET":         fmt.Sprintf("GET /.well-known/jwks.json HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", len(hidden)) + hidden,
		"CL.0":              post("Content-Length: 0\r\n", hidden),
		"chunk extension":   post("Transfer-Encoding: chunked\r\n", "0;\n\r\n\r\n"+hidden),
		"chunk size":        post("Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n"+hidden),
		"chunk size huge":   post("Transfer-Encoding: chunked\r\n", "ffffffffffffffff0\r\n\r\n"+hidden),
		"trailer":           post("Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n", "0\r\nContent-Length: 50\r\n\r\n"+hidden),
		"connection header": post("Connection: close, Content-Length\r\nContent-Length: 3\r\n", "a=b"+hidden),
		"header name":       post("Content-Length\x00: 3\r\n", hidden),
		"header value":      post("X: a\rContent-Length: 3\r\n", hidden),
		"request line":      "GET /.well-known/x HTTP/1.1\r\n X: GET /clients HTTP/1.1\r\nHost: h\r\n\r\n",
		"space in path":     "GET /.well-known/x HTTP/1.1 /clients HTTP/1.1\r\nHost: h\r\n\r\n",
		"newline in path":   "GET /.well-known/x%0d%0aX-Smuggled:%201%0d%0a/ HTTP/1.1\r\nHost: h\r\n\r\n",
		"two hosts":         "GET /clients HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
		"upgrade":           "GET /.well-known/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n" + hidden,
		"expect":            post("Expect: 100-continue\r\nContent-Length: 3\r\n", "a=b"+hidden),
		"override":          "POST /oauth2/token HTTP/1.1\r\nHost: h\r\nX-Original-URL: /clients\r\nX-Rewrite-URL: /clients\r\nX-Http-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n",
		"old protocol":      "GET /clients\r\n",
		"absolute":          "GET http://h/clients HTTP/1.1\r\nHost: h\r\n\r\n",
		"no path":           "GET clients HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		got := send(t, b.public, []byte(attack))
		if said := l.breach.Swap(nil); said != nil {
			t.Errorf("%s: the server got %s", name, *said)
		}
		// What was hidden is a request like any other, refused, or no request at all.
		for _, line := range bytes.Split(got, []byte("\n")) {
			if bytes.HasPrefix(line, []byte("HTTP/1.1 2")) && bytes.Contains(got, []byte("clients")) {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	if a := do(t.Context(), "POST", b.public+"/oauth2/token", "a=b"); a.status != http.StatusOK {
		t.Errorf("after it all: %+v", a)
	}
}

func TestPathTricks(t *testing.T) {
	t.Parallel()
	b, l := besieged(t, nil)
	tricks := []string{}
	for _, p := range []string{"/clients", "/admin/clients", "/oauth2/auth/requests/login/accept", "/oauth2/introspect", "/oauth2/tokens", "/keys/a", "/trust/grants"} {
		tricks = append(tricks, p, "/"+p, "//"+p, "/."+p, "/x/.."+p, "/.well-known/.."+p, "/oauth2/auth/../.."+p, p+"/", p+"//", p+"/.", p+"%00",
			p+"%20", p+"%09", p+";v=1", strings.ToUpper(p), strings.Replace(p, "/", `/\`, 1), strings.Replace(p, "/", `\`, 1),
			strings.ReplaceAll(p, "/", "%2f"), "/"+strings.ReplaceAll(p, "/", "%2F"), strings.ReplaceAll(p, "/", "%252f"), "/"+strings.ReplaceAll(p, "/", "%5c"),
			"/%2e"+p, "/x/%2e%2e"+p, "/x/%252e%252e"+p, "/.well-known/..;"+p, "/.well-known/..;/"+p, "/.well-known/%2e%2e%2f"+p[1:],
			"/%"+fmt.Sprintf("%x", p[1])+p[2:], "/%25"+fmt.Sprintf("%x", p[1])+p[2:], p+"?x=/oauth2/token", p+"%3fx", p+"%23x", "/;"+p, p[:1]+";x/"+p[1:])
	}
	for _, trick := range tricks {
		for _, method := range []string{"GET", "PUT"} {
			send(t, b.public, []byte(method+" "+trick+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
			if said := l.breach.Swap(nil); said != nil {
				t.Errorf("%s %s: the server got %s", method, trick, *said)
			}
		}
	}
	for _, fine := range []string{"/oauth2/token", "/.well-known/openid-configuration", "/oauth2/auth", "/oauth2/auth?x=/clients", "/clientsecrets", "/oauth2/authors"} {
		before := l.served.Load()
		if a := do(t.Context(), "GET", b.public+fine, ""); a.status != http.StatusOK || l.served.Load() != before+1 {
			t.Errorf("%s: %+v", fine, a)
		}
	}
	t.Logf("%d forms", 2*len(tricks))
}

// Oversized requests are refused, and cost nobody anything.
func TestOversized(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	b, l := besieged(t, func(c *Config) { c.Limits.Body, c.Limits.Large = 256<<10, 2 })
	many := strings.Repeat("X: y\r\n", 100_000)
	for name, tt := range map[string]struct{ request, status string }{
		"long header":   {"GET /x HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", "431"},
		"many headers":  {"GET /x HTTP/1.1\r\nHost: h\r\n" + many + "\r\n", "431"},
		"long path":     {"GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: h\r\n\r\n", "431"},
		"long body":     {"POST /oauth2/token HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999999\r\n\r\nabc", "413"},
		"endless body":  {"POST /oauth2/token HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10000\r\n"+strings.Repeat("a", 0x10000)+"\r\n", 8), "413"},
		"long body GET": {"POST /userinfo HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999999\r\n\r\nabc", "413"},
	} {
		// The router may close before it has read all: what it said can be lost, an answer of 200 can't be.
		got := send(t, b.public, []byte(tt.request))
		if len(got) > 0 && !bytes.HasPrefix(got, []byte("HTTP/1.1 "+tt.status)) && !bytes.HasPrefix(got, []byte("HTTP/1.1 502")) {
			t.Errorf("%s: %.80q, want %s", name, got, tt.status)
		}
	}
	if n := l.served.Load(); n > 1 { // a body that is passed on as it comes has begun before it is found too long
		t.Errorf("%d of them reached the server", n)
	}
	// Large bodies have a few places; small ones always come through.
	var conns []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.public, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /oauth2/token HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", 200<<10, strings.Repeat("a", 100<<10))
		conns = append(conns, conn)
	}
	await.That(t, "both places taken", func() bool { return len(b.router.large) == 2 })
	if a := do(t.Context(), "POST", b.public+"/oauth2/token", strings.Repeat("a", 100<<10)); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("a third large body: %d", a.status)
	}
	if a := do(t.Context(), "POST", b.public+"/oauth2/token", strings.Repeat("a", 10<<10)); a.status != http.StatusOK {
		t.Errorf("a small body: %d", a.status)
	}
	for _, conn := range conns { // they do not finish: their places are given back
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && resp.StatusCode == http.StatusOK {
			t.Error("half a body was passed on")
		}
	}
	await.That(t, "places given back", func() bool { return len(b.router.large) == 0 })
}

// Hundreds of clients send a byte now and then, or read none: everybody else is served, also through a hold, and the
// slow ones are gone after their time.
func TestSlowLoris(t *testing.T) {
	t.Parallel()
	b, _ := besieged(t, nil)
	const each = 100
	var slow []net.Conn
	for _, beginning := range []string{
		"GET /x HTTP/1.1\r\nHost: h\r\nX-",
		"POST /oauth2/token HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\na",
		"POST /oauth2/token HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1",
		"",
	} {
		for range each {
			conn, err := net.Dial("tcp", strings.TrimPrefix(b.public, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, beginning); err != nil {
				t.Fatal(err)
			}
			slow = append(slow, conn)
		}
	}
	gone := make(chan error, len(slow))
	for _, conn := range slow {
		go func() {
			// A byte now and then, until the router has had enough.
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			ended := make(chan struct{})
			go func() { _, _ = io.Copy(io.Discard, conn); close(ended) }()
			limit := time.After(30 * time.Second)
			for {
				select {
				case <-ended:
					gone <- nil
					return
				case <-tick.C:
					_, _ = io.WriteString(conn, "a")
				case <-limit:
					gone <- fmt.Errorf("a slow client is still connected")
					return
				}
			}
		}()
	}
	for range 20 {
		if a := do(t.Context(), "POST", b.public+"/oauth2/token", "a=b"); a.status != http.StatusOK {
			t.Errorf("somebody else: %+v", a)
		}
	}
	held := later(t.Context(), "POST", b.public+"/oauth2/token", "a=b")
	if a := <-held; a.status != http.StatusOK {
		t.Errorf("before the hold: %+v", a)
	}
	b.hold(run1, 10*time.Second) // returns: none of the slow ones counts as forwarded
	b.release(run1)
	for range slow {
		if err := <-gone; err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzPublicListener sends anything. No request that a careless server would take for an admin's comes through, and the
// router goes on.
func FuzzPublicListener(f *testing.F) {
	for _, seed := range []string{
		"GET /clients HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET //admin/clients HTTP/1.1\r\nHost: h\r\n\r\n",
		"PUT /x/%2e%2e/oauth2/auth/requests/login/accept HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
		"POST /oauth2/token HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\nGET /keys HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /oauth2/token HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET http://h/%2561dmin%252fclients HTTP/1.1\r\nHost: h\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"GET /oauth2/auth/..;/../clients?x#y HTTP/1.0\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	b, l := besieged(f, nil)
	f.Fuzz(func(t *testing.T, raw []byte) {
		send(t, b.public, raw)
		if said := l.breach.Swap(nil); said != nil {
			t.Fatalf("the server got %s", *said)
		}
		if a := do(t.Context(), "POST", b.public+"/oauth2/token", "a=b"); a.status != http.StatusOK {
			t.Fatalf("after it: %+v", a)
		}
	})
}
