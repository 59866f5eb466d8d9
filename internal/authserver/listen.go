package authserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Addresses are where a server listens, as base URLs.
type Addresses struct {
	Public string `json:"public"`
	Admin  string `json:"admin"`
}

// shutdownTimeout bounds how long requests under way may take when the server is told to end.
const shutdownTimeout = 25 * time.Second

// Serve listens on two addresses (host:port; port 0 takes a free one) and serves until ctx ends, then lets requests under
// way finish. An empty issuer is the public address. Listening is called once with the addresses, before the database is
// looked at; ready once the server serves.
func Serve(ctx context.Context, c Config, public, admin string, listening func(Addresses), ready func(Addresses)) error {
	pl, err := listen(ctx, "public", public)
	if err != nil {
		return err
	}
	defer pl.Close()
	al, err := listen(ctx, "admin", admin)
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
		server := &http.Server{Handler: l.Handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
			WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
			ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug)}
		g.Go(func() error {
			if err := server.Serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
			defer cancel()
			if err := server.Shutdown(ctx); err != nil {
				return fmt.Errorf("requests were cut off: %w", err)
			}
			return nil
		})
	}
	return g.Wait()
}

func listen(ctx context.Context, name, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s listener: %w", name, err)
	}
	return l, nil
}
