package authserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

// clientKeys fetches the keys that clients publish themselves. A client names the address, and whoever registers clients may
// name one that only this server can reach; so it takes https alone, follows no redirect, reads little, waits shortly, and
// goes to no private address, unless the operator says so.
type clientKeys struct {
	private bool // goes to private addresses, too
	own     bool // to this machine's: where the server itself is one of this machine
	http    *http.Client
	now     func() time.Time
	flights singleflight.Group
	mu      sync.Mutex
	known   map[string]fetched
}

type fetched struct {
	set *jose.JSONWebKeySet
	err error
	at  time.Time
}

const (
	keysAge     = 5 * time.Minute  // how long fetched keys serve
	keysPause   = 30 * time.Second // how long no fetch follows another, whatever keys are missing
	keysTimeout = 5 * time.Second
	mostKeys    = 64 << 10 // bytes
	mostKnown   = 1000
)

func newClientKeys(issuer *url.URL, private bool) *clientKeys {
	k := &clientKeys{private: private, own: thisMachine(issuer.Hostname()), now: time.Now, known: map[string]fetched{}}
	dialer := &net.Dialer{Timeout: keysTimeout, Control: func(_, address string, _ syscall.RawConn) error { return k.may(address) }}
	k.http = &http.Client{Timeout: keysTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: keysTimeout,
			MaxResponseHeaderBytes: 16 << 10}}
	return k
}

func thisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// fault is what is wrong with an address of keys, or "".
func (k *clientKeys) fault(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(uri) > 2000:
		return "is no absolute URL without user and fragment"
	case u.Scheme == "https", u.Scheme == "http" && k.own && thisMachine(u.Hostname()):
		return ""
	}
	return "is not https"
}

// may judges an address once its name has been looked up, so that no name leads around it.
func (k *clientKeys) may(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	switch {
	case ip.IsLoopback() && k.own, k.private && !ip.IsUnspecified() && !ip.IsMulticast():
		return nil
	case !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback():
		return fmt.Errorf("%s is no public address", ip)
	}
	return nil
}

// of are the keys at an address. Fresh ones are fetched unless that has just been done.
func (k *clientKeys) of(ctx context.Context, uri string, fresh bool) (*jose.JSONWebKeySet, error) {
	k.mu.Lock()
	f, ok := k.known[uri]
	k.mu.Unlock()
	age := k.now().Sub(f.at)
	if ok && (age < keysPause || !fresh && f.err == nil && age < keysAge) {
		return f.set, f.err
	}
	answer := k.flights.DoChan(uri, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTimeout) // others wait for it, too
		defer cancel()
		set, err := k.fetch(ctx, uri)
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.known) >= mostKnown {
			clear(k.known)
		}
		k.known[uri] = fetched{set, err, k.now()}
		return set, err
	})
	select {
	case a := <-answer:
		set, _ := a.Val.(*jose.JSONWebKeySet)
		return set, a.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (k *clientKeys) fetch(ctx context.Context, uri string) (*jose.JSONWebKeySet, error) {
	if fault := k.fault(uri); fault != "" {
		return nil, errors.New("the address " + fault)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := k.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, mostKeys+1))
	if err != nil {
		return nil, err
	}
	if len(text) > mostKeys {
		return nil, errors.New("the keys are too long")
	}
	return readKeys(text)
}
