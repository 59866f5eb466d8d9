package router

import (
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tideover/tideover/plan"
)

// Target has the base URLs of one side's two listeners, such as http://127.0.0.1:4444.
type Target struct {
	Public, Admin string
}

// Config is what a router needs. The listen addresses are host:port; port 0 takes a free one (Router.Addresses).
type Config struct {
	PublicListen, AdminListen, ControlListen string

	Token     string // bearer token of the control API, at least 16 bytes
	StatePath string // file that keeps the side and the terms over a restart; one router a file

	Blue, Green Target
	Profile     plan.HTTP

	// PublicURL and AdminURL are where clients reach the two listeners, such as https://id.example.com; a path is what
	// comes before the paths that reach the router. Logins begin anew there, and servers are told that Host and no
	// other. Empty: the router sends browsers to paths of the host where they are, and servers are told the client's Host.
	PublicURL, AdminURL string

	// Certificate and Key are PEM files. With them the public and the admin listener speak TLS, with ControlTLS the
	// control listener, too. Without, they speak plain HTTP/1.1, and HTTP/2 to clients that begin with it (h2c).
	Certificate, Key string
	ControlTLS       bool

	// Stopping is how long a router that is to stop goes on serving: /health says so, and each answer ends its
	// connection, so that balancers and clients go elsewhere before the listeners close.
	Stopping time.Duration

	// TrustedProxies are those whose word about their clients is passed on to the servers (forwarded.go). Empty: nobody's.
	TrustedProxies []netip.Prefix

	// ForwardedProto is told to the servers as X-Forwarded-Proto, for a router that stands behind a TLS terminator.
	// Empty: what a trusted proxy says, or else the scheme of the connection to the router.
	ForwardedProto string

	Coalesce bool // answer equal refresh requests with one upstream request
	Limits   Limits
	Log      *slog.Logger // nil: no log
}

// Limits bound what the router keeps and how long it waits. A zero field takes the default.
type Limits struct {
	Queue       int           // requests that wait at once; default 10000
	QueueBytes  int64         // their headers and bodies together; default 64 MiB
	Body        int64         // one request's body; default 1 MiB
	Large       int           // bodies above 64 KiB that are read or wait at once; default 64
	Header      time.Duration // for a client to send its header; default 10s
	BodyTime    time.Duration // for a client to send the body of a request; default 30s
	Wait        time.Duration // longest that one request is held, all in all; default 30s
	Hold        time.Duration // longest deadline that a hold or drain may ask for; default 60s
	Fenced      time.Duration // how long a write refused by a fence is tried again while nothing is held; default 5s
	Upstream    time.Duration // until a server begins its answer; default 30s
	Clients     int           // connections of clients to each of the two listeners, half of them from one address; default twice Queue and 2000
	Connections int           // to each listener of each side; default 256
	Logins      int           // logins remembered; default 10000
	LoginIdle   time.Duration // a login without a request for so long is not under way any more; default 2m
	LoginTTL    time.Duration // how long the authorization request of a login is remembered; default 15m
	Coalesced   int           // refresh answers kept; default 10000
	Canary      time.Duration // how long replay may take to bring what the canary finds different; default 20s
	Window      time.Duration // how long a refresh answer is kept; default 10s
}

func (l Limits) withDefaults() Limits {
	set(&l.Queue, 10_000)
	set(&l.QueueBytes, 64<<20)
	set(&l.Body, 1<<20)
	set(&l.Large, 64)
	set(&l.Header, 10*time.Second)
	set(&l.BodyTime, 30*time.Second)
	set(&l.Wait, 30*time.Second)
	set(&l.Hold, time.Minute)
	set(&l.Fenced, 5*time.Second)
	set(&l.Upstream, 30*time.Second)
	set(&l.Clients, 2*l.Queue+2000)
	set(&l.Connections, 256)
	set(&l.Logins, 10_000)
	set(&l.LoginIdle, 2*time.Minute)
	set(&l.LoginTTL, 15*time.Minute)
	set(&l.Coalesced, 10_000)
	set(&l.Window, 10*time.Second)
	set(&l.Canary, 20*time.Second)
	return l
}

func set[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// minToken is the shortest control token in bytes: the control API moves all traffic.
const minToken = 16

func (c Config) check() error {
	if len(c.Token) < minToken {
		return fmt.Errorf("router: the control token has %d bytes, it needs at least %d", len(c.Token), minToken)
	}
	if c.StatePath == "" {
		return fmt.Errorf("router: no state path: without it a restart would forget which side serves")
	}
	if (c.Certificate == "") != (c.Key == "") {
		return fmt.Errorf("router: a certificate and its key come together: one of the two files is not named")
	}
	if c.ControlTLS && c.Certificate == "" {
		return fmt.Errorf("router: TLS on the control listener needs a certificate and a key")
	}
	switch c.ForwardedProto {
	case "", "http", "https":
	default:
		return fmt.Errorf("router: forwarded proto %q: want http or https", c.ForwardedProto)
	}
	return nil
}

// reached is the URL at which clients reach a listener; nil where it is not configured.
func (c Config) reached(listener string) (*url.URL, error) {
	raw := c.PublicURL
	if listener == "admin" {
		raw = c.AdminURL
	}
	if raw == "" {
		return nil, nil
	}
	return base(listener+" URL", strings.TrimSuffix(raw, "/"))
}

func base(name, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("router: %s: %w", name, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("router: %s: %q is no base URL: want http(s)://host:port", name, u.Redacted())
	}
	return u, nil
}
