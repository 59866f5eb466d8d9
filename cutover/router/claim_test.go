package router

import (
	"net/http"
	"testing"
)

func TestClientBehindProxies(t *testing.T) {
	t.Parallel()
	r := &Router{config: Config{TrustedProxies: proxies(t, "10.0.0.0/8,fd00::/8")}}
	for _, tt := range []struct {
		peer   string
		header http.Header
		want   string
	}{
		{"9.9.9.9:1", http.Header{"X-Forwarded-For": {"6.6.6.6"}}, "9.9.9.9"},
		{"10.0.0.1:1", http.Header{"X-Forwarded-For": {"6.6.6.6"}}, "6.6.6.6"},
		{"[::ffff:10.0.0.1]:1", http.Header{"X-Forwarded-For": {"6.6.6.6"}}, "6.6.6.6"},
		{"10.0.0.1:1", http.Header{"X-Forwarded-For": {"6.6.6.6, 7.7.7.7,10.0.0.2"}}, "7.7.7.7"},
		{"10.0.0.1:1", http.Header{"X-Forwarded-For": {"6.6.6.6", "7.7.7.7, 10.0.0.2", "10.0.0.3"}}, "7.7.7.7"},
		{"10.0.0.1:1", http.Header{"X-Forwarded-For": {"6.6.6.6, rubbish"}}, "10.0.0.1"},
		{"10.0.0.1:1", http.Header{"X-Forwarded-For": {"10.0.0.9"}}, "10.0.0.1"},
		{"10.0.0.1:1", http.Header{"X-Forwarded-For": {"6.6.6.6:443"}}, "6.6.6.6"},
		{"10.0.0.1:1", http.Header{"X-Forwarded-For": {"[2001:db8::1]:443"}}, "2001:db8::1"},
		{"10.0.0.1:1", http.Header{"X-Forwarded-For": {"[2001:db8::1]"}}, "2001:db8::1"},
		{"[fd00::1%eth0]:1", http.Header{"X-Real-Ip": {"6.6.6.6"}}, "6.6.6.6"},
		{"10.0.0.1:1", http.Header{"X-Real-Ip": {"6.6.6.6"}, "X-Forwarded-For": {"7.7.7.7"}}, "7.7.7.7"},
		{"10.0.0.1:1", http.Header{}, "10.0.0.1"},
		{"nonsense", http.Header{}, "invalid IP"},
	} {
		addr, _ := r.client(&http.Request{RemoteAddr: tt.peer, Header: tt.header})
		if got := addr.String(); got != tt.want {
			t.Errorf("%s %v: %s, want %s", tt.peer, tt.header, got, tt.want)
		}
	}
}
