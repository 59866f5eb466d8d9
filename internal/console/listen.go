package console

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

// shutdownTimeout bounds how long requests under way may take when the console is told to end.
const shutdownTimeout = 25 * time.Second

// Serve listens on an address (host:port; port 0 takes a free one) and serves until ctx ends, then lets requests under
// way finish. An empty origin is that address. Ready is called once with it.
func Serve(ctx context.Context, c Config, address string, ready func(url string)) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("console listener: %w", err)
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
	server := &http.Server{Handler: pages.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug)}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		ready(at)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
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
	return g.Wait()
}
