package router

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
)

// What a request says of the client's address, of the host and scheme that it was sent to, and of the client's
// certificate, servers believe. The router passes such headers on when a trusted proxy is the peer, and drops them
// else: anybody can write them.

// ParseProxy reads a CIDR, or an address, of trusted proxies.
func ParseProxy(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("trusted proxy %q: want an address or a CIDR such as 10.0.0.0/8", s)
	}
	return p.Masked(), nil
}

// trusts reports whether an address is that of a trusted proxy.
func (c *Config) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(c.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// peer is the address at the other end of a connection, without port and zone.
func peer(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// proxied reports whether a request comes from a trusted proxy.
func (r *Router) proxied(in *http.Request) bool {
	return len(r.config.TrustedProxies) > 0 && r.config.trusts(peer(in.RemoteAddr))
}

// introduce sets what the server is told of the client and of the address that it has used.
func (x *exchange) introduce(p *httputil.ProxyRequest) {
	out, proxied := p.Out.Header, x.router.proxied(p.In)
	for name, values := range p.In.Header {
		switch {
		case !ofClient(name):
		case proxied: // also where the client has named it in Connection, for the proxy's word to be lost
			out[name] = values
		default:
			delete(out, name)
		}
	}
	host, proto := out["X-Forwarded-Host"], out["X-Forwarded-Proto"]
	p.SetXForwarded() // appends to X-Forwarded-For
	if len(host) > 0 {
		out["X-Forwarded-Host"] = host
	}
	switch configured := x.router.config.ForwardedProto; {
	case configured != "":
		out.Set("X-Forwarded-Proto", configured)
	case len(proto) > 0:
		out["X-Forwarded-Proto"] = proto
	}
	p.Out.Host = p.In.Host
	if u := x.listener.reached; u != nil {
		p.Out.Host = u.Host
		out.Set("X-Forwarded-Host", u.Host)
	}
}

// ofClient reports whether a header is one in which proxies speak of their client. Servers may read _ as -.
func ofClient(name string) bool {
	if len(name) < len("x-ssl") || len(name) > 64 {
		return len(name) > 64 && ofClient(name[:64])
	}
	switch name[0] | 0x20 {
	case 'x', 'f', 's', 'c', 't':
	default:
		return false
	}
	var buf [64]byte
	for i := range len(name) {
		switch c := name[i]; {
		case c == '_':
			buf[i] = '-'
		case c >= 'A' && c <= 'Z':
			buf[i] = c | 0x20
		default:
			buf[i] = c
		}
	}
	plain := buf[:len(name)]
	for _, prefix := range spoken {
		if len(plain) >= len(prefix) && string(plain[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

// spoken are the beginnings of the names of such headers, in small letters.
var spoken = []string{
	// Addresses, hosts, schemes and paths.
	"forwarded", "x-forwarded", "x-real-", "x-original-", "x-rewrite-", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "client-ip",
	"cf-connecting-ip", "fastly-client-ip", "x-azure-clientip", "x-azure-socketip", "x-envoy-external-address", "x-host", "x-scheme", "x-url-scheme", "front-end-https",
	"x-http-host",
	// Certificates (RFC 9440 and the habits of nginx, HAProxy, Envoy, Traefik, Azure and AWS).
	"client-cert", "x-client-cert", "x-clientcert", "x-client-verify", "x-client-dn", "x-client-s-dn", "x-client-i-dn", "x-client-subject", "x-client-issuer",
	"x-client-serial", "x-client-fingerprint", "x-client-sha", "x-ssl", "ssl-", "x-tls-", "tls-client", "x-mtls-", "x-amzn-mtls-", "x-arr-clientcert", "x-certificate", "x-cert-",
	"x-peer-cert",
}
