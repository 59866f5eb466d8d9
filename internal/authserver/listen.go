package authserver

import (
	"context"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/httpserve"
)

// Addresses are where a server listens, as base URLs.
type Addresses struct {
	Public string `json:"public"`
	Admin  string `json:"admin"`
}

// Serve listens on two addresses (host:port; port 0 takes a free one) and serves until ctx ends, then lets requests under
// way finish. An empty issuer is the public address. Listening is called once with the addresses, before the database is
// looked at; ready once the server serves.
func Serve(ctx context.Context, c Config, public, admin string, listening func(Addresses), ready func(Addresses)) error {
	pl, err := httpserve.Listen(ctx, "public", public)
	if err != nil {
		return err
	}
	defer pl.Close()
	al, err := httpserve.Listen(ctx, "admin", admin)
	if err != nil {
		return err
	}
	defer al.Close()
	at := Addresses{Public: "http://" + pl.Addr().String(), Admin: "http://" + al.Addr().String()}
	if c.Issuer == "" {
		c.Issuer = at.Public
	}
	s, err := New(ctx, c)
	if err != nil {
		return err
	}
	defer s.Close()
	listening(at)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx, func() { ready(at) }) })
	for _, l := range []struct {
		net.Listener
		http.Handler
	}{{pl, s.Public()}, {al, s.Admin()}} {
		g.Go(func() error { return httpserve.Until(ctx, l.Listener, l.Handler) })
	}
	return g.Wait()
}
