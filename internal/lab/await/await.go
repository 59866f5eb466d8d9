// Package await lets a test wait for what another process or goroutine does: it asks for the event until it is there, so
// that no test depends on how long something takes on the machine that it runs on.
package await

import (
	"net"
	"testing"
	"time"
)

// limit is how long That asks before the test has failed. It is no measure of speed: a slow machine needs seconds.
const limit = time.Minute

// That returns when ok does, and ends the test with "never: " and what it waited for after a minute.
func That(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// Listens returns when addr (host:port) takes TCP connections.
func Listens(t testing.TB, addr string) {
	t.Helper()
	var d net.Dialer
	That(t, "connections are taken at "+addr, func() bool {
		conn, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}
