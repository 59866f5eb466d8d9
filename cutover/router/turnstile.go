package router

import (
	"net"
	"net/netip"
	"sync"
)

// turnstile is a listener that takes so many connections, and from one address half of them at most, so that who opens
// all that he can leaves others theirs. Trusted proxies have no limit of their own. What is too much is closed at once.
type turnstile struct {
	net.Listener
	most   int
	trusts func(netip.Addr) bool

	mu    sync.Mutex
	total int
	by    map[netip.Addr]int
}

func newTurnstile(l net.Listener, most int, trusts func(netip.Addr) bool) *turnstile {
	return &turnstile{Listener: l, most: most, trusts: trusts, by: map[netip.Addr]int{}}
}

func (t *turnstile) Accept() (net.Conn, error) {
	for {
		conn, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var addr netip.Addr
		if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			addr = tcp.AddrPort().Addr().Unmap().WithZone("")
		}
		whose := household(addr)
		if t.enter(whose, t.trusts(addr)) {
			return &passed{Conn: conn, leave: sync.OnceFunc(func() { t.leave(whose) })}, nil
		}
		conn.Close()
	}
}

func (t *turnstile) enter(whose netip.Addr, trusted bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total >= t.most || !trusted && t.by[whose] >= t.most/2 {
		return false
	}
	t.total++
	t.by[whose]++
	return true
}

func (t *turnstile) leave(whose netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total--
	if t.by[whose]--; t.by[whose] == 0 {
		delete(t.by, whose)
	}
}

// passed is a connection that has been counted.
type passed struct {
	net.Conn
	leave func()
}

func (p *passed) Close() error {
	p.leave()
	return p.Conn.Close()
}
