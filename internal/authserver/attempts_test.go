package authserver

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"
)

func TestAttempts(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := newAttempts(1, 1)
	spend := func(who string) (n int) {
		for a.take(who, now) {
			n++
		}
		return n
	}
	if n := spend("ann"); n != triesInHand {
		t.Errorf("%d tries in hand, want %d", n, triesInHand)
	}
	if n := spend("bob"); n != triesInHand {
		t.Errorf("another has %d tries in hand", n)
	}
	now = now.Add(tryAgain - time.Millisecond)
	if n := spend("ann"); n != 0 {
		t.Errorf("%d tries came back too early", n)
	}
	now = now.Add(time.Millisecond)
	if n := spend("ann"); n != 1 {
		t.Errorf("%d tries came back", n)
	}
	a.giveBack("ann") // it was no wrong secret
	a.giveBack("nobody")
	if n := spend("ann"); n != 1 {
		t.Errorf("%d tries after one was given back", n)
	}
	now = now.Add(time.Hour)
	if n := spend("ann"); n != triesInHand {
		t.Errorf("%d tries after an hour", n)
	}
	for n := range 3 * mostBuckets {
		a.take(fmt.Sprint(n), now)
	}
	if len(a.tries) > mostBuckets {
		t.Errorf("%d are remembered", len(a.tries))
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		peer      string
		forwarded []string
		direct    string
		proxied   string
	}{
		{"192.0.2.1:1234", nil, "192.0.2.1", "192.0.2.1"},
		{"192.0.2.1:1234", []string{"203.0.113.7"}, "192.0.2.1", "203.0.113.7"},
		{"192.0.2.1:1234", []string{"198.51.100.1, 203.0.113.7"}, "192.0.2.1", "203.0.113.7"},
		{"192.0.2.1:1234", []string{"203.0.113.7", "198.51.100.1 , 203.0.113.8"}, "192.0.2.1", "203.0.113.8"},
		{"[2001:db8:1:2:3::4]:1", []string{"2001:db8:5:6:7::8"}, "2001:db8:1:2::/64", "2001:db8:5:6::/64"},
		{"[fe80::1%eth0]:1", nil, "fe80::/64", "fe80::/64"},
		{"pipe", nil, "pipe", "pipe"},
	} {
		r := httptest.NewRequest("POST", "/oauth2/token", nil)
		r.RemoteAddr = tt.peer
		for _, f := range tt.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		if got := (&Server{}).address(r); got != tt.direct {
			t.Errorf("%v: %s, want %s", tt, got, tt.direct)
		}
		if got := (&Server{config: Config{BehindProxy: true}}).address(r); got != tt.proxied {
			t.Errorf("%v behind a proxy: %s, want %s", tt, got, tt.proxied)
		}
	}
}
