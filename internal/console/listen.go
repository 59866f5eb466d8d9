package console

import (
	"context"

	"github.com/tideover/tideover/internal/httpserve"
)

// Serve listens on an address (host:port; port 0 takes a free one) and serves until ctx ends, then lets requests under
// way finish. An empty origin is that address. Ready is called once with it.
func Serve(ctx context.Context, c Config, address string, ready func(url string)) error {
	l, err := httpserve.Listen(ctx, "console", address)
	if err != nil {
		return err
	}
	defer l.Close()
	at := "http://" + l.Addr().String()
	if c.Origin == "" {
		c.Origin = at
	}
	pages, err := New(c)
	if err != nil {
		return err
	}
	ready(at)
	return httpserve.Until(ctx, l, pages.Handler())
}
