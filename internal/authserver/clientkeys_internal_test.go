package authserver

import (
	"net/url"
	"testing"
)

// TestAddressesOfKeys: no name and no address leads into the private network, unless the operator says so.
func TestAddressesOfKeys(t *testing.T) {
	t.Parallel()
	public, own := &url.URL{Scheme: "https", Host: "id.example"}, &url.URL{Scheme: "http", Host: "127.0.0.1:4444"}
	for _, tt := range []struct {
		address                string
		outside, home, private bool
	}{
		{"93.184.216.34:443", true, true, true}, {"[2606:2800:220:1::1]:443", true, true, true},
		{"127.0.0.1:80", false, true, true}, {"[::1]:80", false, true, true}, {"[::ffff:127.0.0.1]:80", false, true, true},
		{"10.0.0.1:443", false, false, true}, {"192.168.1.1:443", false, false, true}, {"[fd00::1]:443", false, false, true},
		{"169.254.169.254:80", false, false, true}, {"[fe80::1]:80", false, false, true}, {"[::ffff:10.0.0.1]:443", false, false, true},
		{"0.0.0.0:80", false, false, false}, {"[::]:80", false, false, false}, {"224.0.0.1:80", false, false, false}, {"nonsense", false, false, false},
	} {
		for name, k := range map[string]struct {
			*clientKeys
			want bool
		}{"outside": {newClientKeys(public, false), tt.outside}, "on this machine": {newClientKeys(own, false), tt.home}, "told so": {newClientKeys(public, true), tt.private}} {
			if got := k.may(tt.address) == nil; got != k.want {
				t.Errorf("%s, server %s: %v, want %v", tt.address, name, got, k.want)
			}
		}
	}
	for uri, want := range map[string]bool{"https://app.example/keys": true, "http://127.0.0.1:1/": false, "http://app.example/": false, "https://a@b.example/": false, "": false, "/keys": false} {
		if got := newClientKeys(public, false).fault(uri) == ""; got != want {
			t.Errorf("%q: %v, want %v", uri, got, want)
		}
	}
}
