// Package ports finds loopback addresses for processes that must know each other's address before they start.
package ports

import (
	"context"
	"fmt"
	"net"
)

// Free returns n addresses 127.0.0.1:port that nothing listened on a moment ago. Another process can take one before
// it is used; the start of the server then fails with a clear error and can be tried again.
func Free(ctx context.Context, n int) ([]string, error) {
	listeners := make([]net.Listener, 0, n)
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	addresses := make([]string, 0, n)
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		listeners = append(listeners, l)
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
