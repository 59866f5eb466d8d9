package router

import (
	"bytes"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// longestName is how much of a client_id is looked at.
const longestName = 256

// claim says whose place a request takes in a hold. Nothing of it is proved: it says whose waiting it counts for, and a
// client can invent names, but no addresses.
func (x *exchange) claim() claim {
	in := x.in
	addr, proxied := x.router.client(in)
	c := claim{address: household(addr).String(), size: int64(len(x.body) + len(in.RequestURI))}
	if !proxied {
		c.connection = in.RemoteAddr
	}
	for name, values := range in.Header {
		for _, v := range values {
			c.size += int64(len(name) + len(v))
		}
	}
	c.client = clientID(in, x.body)
	return c
}

func clientID(in *http.Request, body []byte) string {
	id, _, ok := in.BasicAuth()
	if !ok {
		id = in.URL.Query().Get("client_id")
	}
	if id == "" && strings.HasPrefix(in.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		for pair := range bytes.SplitSeq(body, []byte("&")) {
			if value, ok := bytes.CutPrefix(pair, []byte("client_id=")); ok {
				id = string(value[:min(len(value), longestName)])
				break
			}
		}
	}
	if plain, err := url.QueryUnescape(id); err == nil {
		id = plain
	}
	return strings.Clone(id[:min(len(id), longestName)])
}

// household is an address, or where it is of IPv6 the network that one customer gets at least.
func household(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	p, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return p.Addr()
}

// client is the address of the client: the peer's, or where that is a trusted proxy, the last one in X-Forwarded-For, or
// else in X-Real-Ip, that is none. Where a trusted proxy names nobody it is the client.
func (r *Router) client(in *http.Request) (addr netip.Addr, proxied bool) {
	direct := peer(in.RemoteAddr)
	if len(r.config.TrustedProxies) == 0 || !r.config.trusts(direct) {
		return direct, false
	}
	chain := in.Header["X-Forwarded-For"]
	if len(chain) == 0 {
		chain = in.Header["X-Real-Ip"]
	}
	for _, line := range slices.Backward(chain) {
		for line != "" {
			var last string
			if i := strings.LastIndexByte(line, ','); i >= 0 {
				line, last = line[:i], line[i+1:]
			} else {
				line, last = "", line
			}
			last = strings.TrimSpace(last)
			addr, err := netip.ParseAddr(strings.Trim(last, "[]"))
			if err != nil {
				addr = peer(last) // with a port
			}
			if addr = addr.Unmap().WithZone(""); !addr.IsValid() {
				return direct, true
			}
			if !r.config.trusts(addr) {
				return addr, true
			}
		}
	}
	return direct, true
}
