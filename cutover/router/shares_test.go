package router

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
)

// from is a client at an address of its own.
func from(addr string, set func(*http.Protocols)) *http.Client {
	c := speaking(set)
	c.Timeout = time.Minute
	c.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}).DialContext
	return c
}

// answers sends requests that are to be held, and counts how they are answered.
type answers struct {
	mu     sync.Mutex
	status map[int]int
	all    sync.WaitGroup
}

// send posts a request, and again when it is refused, up to tries times.
func (a *answers) send(ctx context.Context, c *http.Client, target, body string, tries int, header ...string) {
	a.all.Go(func() {
		status := 0
		for range tries {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body))
			if err != nil {
				break
			}
			req.Header.Set("Content-Type", formType)
			for i := 0; i < len(header); i += 2 {
				req.Header.Set(header[i], header[i+1])
			}
			resp, err := c.Do(req)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if status = resp.StatusCode; status != http.StatusServiceUnavailable {
				break
			}
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.status == nil {
			a.status = map[int]int{}
		}
		a.status[status]++
	})
}

// in counts those who wait and whose claims are such.
func (b *bundle) in(such func(claim) bool) (n int) {
	g := b.router.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	var count func(*party)
	count = func(p *party) {
		if p.waiters != nil {
			for e := p.waiters.Front(); e != nil; e = e.Next() {
				if such(e.Value.(*waiter).claim) {
					n++
				}
			}
		}
		for _, c := range p.order {
			count(c)
		}
	}
	count(&g.shares.root)
	return n
}

// Whoever fills a hold, in whatever way, makes room for others: of 100 honest requests none is refused.
func TestHostileClientsLeaveRoom(t *testing.T) {
	t.Parallel()
	const queue, honest = 240, 100
	h1 := func(p *http.Protocols) { p.SetHTTP1(true) }
	h2c := func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }
	h2 := func(p *http.Protocols) { p.SetHTTP2(true) }
	plain := func(int) string { return "grant_type=client_credentials" }
	app := func(int) string { return "grant_type=client_credentials&client_id=app" }
	elsewhere := func(i int) string { return fmt.Sprintf("127.0.3.%d", 1+i) }
	type attack struct {
		name        string
		set         func(*http.Protocols)
		connections int
		from        func(connection int) string
		body        func(request int) string
		honestFrom  func(int) string
		honestBody  string
		proxied     bool
	}
	for _, tt := range slice.Pick(t, 3, []attack{
		{name: "h1, 300 connections", set: h1, connections: 300},
		{name: "h2c, 1 connection", set: h2c, connections: 1},
		{name: "h2, 100 connections", set: h2, connections: 100},
		{name: "h1, 1 connection", set: h1, connections: 1},
		{name: "h1, 100 connections", set: h1, connections: 100},
		{name: "h2c, 100 connections", set: h2c, connections: 100},
		{name: "h2, 1 connection", set: h2, connections: 1},
		{name: "a name for each", set: h2c, connections: 10, body: func(i int) string { return fmt.Sprintf("client_id=%d", i) }, honestBody: "client_id=app"},
		{name: "in the name of the honest", set: h2c, connections: 10, body: app, honestBody: "client_id=app"},
		{name: "large bodies", set: h2c, connections: 2, body: func(int) string { return strings.Repeat("a", 40<<10) }},
		{name: "from ten addresses", set: h2c, connections: 10, from: func(c int) string { return fmt.Sprintf("127.0.2.%d", c+1) }},
		{name: "one connection of the honest's address", set: h2c, connections: 1, honestFrom: func(int) string { return "127.0.2.1" }},
		{name: "one client's many addresses", set: h1, connections: 250, from: elsewhere, body: func(int) string { return "client_id=loop" },
			honestFrom: func(i int) string { return fmt.Sprintf("127.0.4.%d", 1+i) }, honestBody: "client_id=app"},
		{name: "behind a proxy", set: h2c, connections: 1, proxied: true},
	}) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(c *Config) {
				c.Limits.Queue, c.Limits.QueueBytes, c.Limits.Wait = queue, 4<<20, time.Minute
				if tt.name[:3] == "h2," {
					c.Certificate, c.Key = newPair(t, t.TempDir(), 1)
				}
				if tt.proxied {
					c.TrustedProxies = proxies(t, "127.0.2.1")
				}
			})
			base := b.public
			if tt.name[:3] == "h2," {
				base = strings.Replace(base, "http", "https", 1)
			}
			if tt.from == nil {
				tt.from = func(int) string { return "127.0.2.1" }
			}
			if tt.body == nil {
				tt.body = plain
			}
			if tt.honestFrom == nil {
				tt.honestFrom = func(i int) string { return fmt.Sprintf("127.0.4.%d", 1+i%20) }
			}
			if tt.proxied {
				tt.honestFrom = tt.from
			}
			ctx, stop := context.WithCancel(t.Context())
			var hostile, good answers
			defer func() { stop(); hostile.all.Wait() }()
			b.hold(run1, time.Minute)

			var attackers []*http.Client
			for i := range tt.connections {
				c := from(tt.from(i), tt.set)
				c.Transport.(*http.Transport).MaxConnsPerHost = 1
				t.Cleanup(c.CloseIdleConnections)
				attackers = append(attackers, c)
			}
			mark := []string{"X-Mark", "hostile"}
			if tt.proxied {
				mark = []string{"X-Forwarded-For", "6.6.6.6"}
			}
			flood := func(n int) {
				for i := range n {
					hostile.send(ctx, attackers[i%len(attackers)], base+"/oauth2/token", tt.body(i), 3, mark...)
				}
			}
			flood(queue + 60)
			full := min(queue, (4<<20)/(len(tt.body(0))+200))
			if tt.name[:3] == "h1," {
				full = min(full, tt.connections)
			}
			await.That(t, "filled", func() bool { return b.router.State().Held >= full*9/10 })

			honestClient := from(tt.honestFrom(0), h2c)
			for i := range honest {
				c := honestClient
				var header []string
				if tt.proxied {
					header = []string{"X-Forwarded-For", fmt.Sprintf("7.7.7.%d", i)}
				} else {
					c = from(tt.honestFrom(i), func(p *http.Protocols) { p.SetHTTP1(tt.name[:3] != "h2,"); p.SetHTTP2(tt.name[:3] == "h2,") })
				}
				t.Cleanup(c.CloseIdleConnections)
				good.send(t.Context(), c, base+"/oauth2/token", tt.honestBody+"&honest=1", 1, header...)
			}
			await.That(t, "the honest wait", func() bool {
				good.mu.Lock()
				defer good.mu.Unlock()
				return len(good.status) > 0 || b.in(func(c claim) bool {
					addresses := strings.HasPrefix(c.address, "127.0.4.") || strings.HasPrefix(c.address, "7.7.7.")
					return addresses || tt.name == "one connection of the honest's address" && b.isHTTP1(c)
				}) == honest
			})
			flood(queue) // once more, now that they are in
			await.That(t, "flooded again", func() bool { return b.router.State().Held >= full*9/10 })
			b.release(run1)
			good.all.Wait()
			if good.status[http.StatusOK] != honest {
				t.Errorf("the honest were answered %v", good.status)
			}
			if st := b.router.State(); st.Held != 0 {
				t.Errorf("%d are held after the release", st.Held)
			}
		})
	}
}

// isHTTP1 tells the many connections of the honest from the hostile's one: none has a second request.
func (b *bundle) isHTTP1(c claim) bool {
	for _, p := range b.router.gate.shares.root.children {
		if own := p.children[c.connection]; own != nil && own.count > 1 {
			return false
		}
	}
	return true
}

// One connection fills a whole hold, and everybody else is held and served.
func TestTenThousandOfOneConnection(t *testing.T) {
	slice.In(t, 4)
	t.Parallel()
	b := setup(t, func(c *Config) { c.Limits.Wait = time.Minute })
	b.hold(run1, time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	var hostile, good answers
	defer func() { stop(); hostile.all.Wait() }()
	c := from("127.0.2.1", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	t.Cleanup(c.CloseIdleConnections)
	for range 10_000 {
		hostile.send(ctx, c, b.public+"/oauth2/token", "a=b", 1)
	}
	b.heldNow(10_000)
	const honest = 200
	for i := range honest {
		c := from(fmt.Sprintf("127.0.4.%d", 1+i), func(p *http.Protocols) { p.SetHTTP1(true) })
		t.Cleanup(c.CloseIdleConnections)
		good.send(t.Context(), c, b.public+"/oauth2/token", "a=b", 1)
	}
	await.That(t, "the honest wait", func() bool {
		return b.in(func(c claim) bool { return strings.HasPrefix(c.address, "127.0.4.") }) == honest
	})
	b.release(run1)
	good.all.Wait()
	if good.status[http.StatusOK] != honest || b.router.State().Refused != honest {
		t.Errorf("the honest were answered %v, %d refused", good.status, b.router.State().Refused)
	}
}

// A balancer that nobody has named fills the hold to the last place: nobody else wants one.
func TestOneAddressMayHaveAll(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	b := setup(t, func(c *Config) { c.Limits.Queue = 50 })
	b.hold(run1, time.Minute)
	var all answers
	c := speaking(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	for range 50 {
		all.send(t.Context(), c, b.public+"/oauth2/token", "a=b", 1)
	}
	b.heldNow(50)
	b.release(run1)
	all.all.Wait()
	if all.status[http.StatusOK] != 50 {
		t.Errorf("answered %v", all.status)
	}
}

// Whatever comes and goes: the accounts are right, nobody gives a place up for one who would have as much, and when all
// have gone nothing is left.
func TestSharesKeepTheirAccounts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := newShares(Limits{Queue: 40, QueueBytes: 40_000})
		var in []*waiter
		has := func(address string) (n int64) {
			for _, w := range in {
				if !w.gone && w.address == address {
					n += w.weight
				}
			}
			return n
		}
		for step := range 2000 {
			if len(in) > 0 && r.IntN(3) == 0 {
				i := r.IntN(len(in))
				s.give(in[i])
				s.give(in[i]) // once
				in = append(in[:i], in[i+1:]...)
			} else {
				c := claim{fmt.Sprint(r.IntN(1 + r.IntN(12))), fmt.Sprint(r.IntN(3)), []string{"", "a", "b"}[r.IntN(3)], int64(r.IntN(300 + 3000*r.IntN(2)))}
				before := map[string]int64{}
				for i := range 12 {
					before[fmt.Sprint(i)] = has(fmt.Sprint(i))
				}
				w := s.take(c)
				if w != nil {
					in = append(in, w)
				}
				would := has(c.address) // it may have lost some of its own before
				if w == nil {
					would += s.each + c.size
				}
				for address, had := range before {
					if now := has(address); now < had && address != c.address && had < would {
						t.Fatalf("seed %d, step %d: %s with %d gave way to %s with %d", seed, step, address, had, c.address, would)
					}
				}
			}
			places, bytes := 0, int64(0)
			for _, w := range in {
				select {
				case <-w.out:
					if !w.gone {
						t.Fatal("told to go, and still in")
					}
				default:
					places, bytes = places+1, bytes+w.size
				}
			}
			if places != s.taken || bytes != s.kept || places != s.root.count || places > s.places || bytes > s.bytes {
				t.Fatalf("seed %d, step %d: %d places of %d, %d bytes; counted %d, %d, %d", seed, step, places, s.places, bytes, s.taken, s.kept, s.root.count)
			}
		}
		for _, w := range in {
			s.give(w)
		}
		if s.taken != 0 || s.kept != 0 || s.root.weight != 0 || len(s.root.order) != 0 || len(s.root.children) != 0 || len(s.clients) != 0 {
			t.Errorf("seed %d: left: %+v", seed, s)
		}
	}
}
