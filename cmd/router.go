package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/plan"
)

const routerLong = `Router is the reverse proxy that stands in front of both servers. It holds requests for the moment of the switch
instead of letting them fail, and moves them to the other side when a run tells it to.

Clients use --public-listen and --admin-listen in place of the server's own addresses; runs give their commands at
--control-listen, with the token of the environment variable TIDEOVER_ROUTER_TOKEN. Any number of routers can stand
side by side, each with a state file of its own. The first line on stdout is a JSON object with the three addresses;
port 0 takes a free one. /metrics on the control address is for Prometheus.

--public-url and --admin-url say where clients reach the two listeners. Logins that the other side has begun begin anew
there, and servers are told that host. Without them no host that a client names is sent to anybody: browsers get a path.

What X-Forwarded-*, Forwarded, X-Real-Ip and headers with client certificates (X-SSL-Client-*, Client-Cert and the like)
say is passed on from a --trusted-proxy, with the proxy's own address appended to X-Forwarded-For. From all others it is
dropped, and the router says what it sees itself. Without the flag nobody is trusted.

SIGHUP reads the profile and the certificate again; no request notices, and what is wrong with them is logged and
changes nothing. SIGTERM stops it: no new connections, requests under way and held ones come to their end; with
--stopping /health first says 503 for a while, and answers end their connections, so that balancers go elsewhere.

With --tls-cert and --tls-key the public and admin listeners speak TLS, HTTP/1.1 and HTTP/2; without, HTTP/1.1 and
HTTP/2 in plain text (h2c) to clients that begin with it.

EXIT STATUS
  0 stopped  1 failed  2 usage`

// reloadOnHangup has a router reload at each SIGHUP, until ctx ends. What it returns gives the signal back.
func reloadOnHangup(ctx context.Context, r *router.Router, log *slog.Logger, profile func() (plan.HTTP, error)) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-hangup:
			case <-ctx.Done():
				return
			}
			p, err := profile()
			if err == nil {
				err = r.Reload(p)
			}
			if err != nil {
				log.Error("not reloaded: what was in force stays", "error", err)
				continue
			}
			log.Warn("reloaded")
		}
	}()
	return func() { signal.Stop(hangup) }
}

// NewRouterCmd is tideover router.
func NewRouterCmd(std *IO) *cobra.Command {
	var profile string
	var verbose bool
	var proxies []string
	config := router.Config{Coalesce: true}
	c := &cobra.Command{
		Use:   "router",
		Short: "Stand in front of both servers, and hold requests during the switch",
		Long:  routerLong,
		Args:  exactArgs(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := plan.LoadProfile(profile, ".")
			if err != nil {
				return usageError{err}
			}
			config.Profile = p.HTTP
			for _, s := range proxies {
				p, err := router.ParseProxy(s)
				if err != nil {
					return usageError{err}
				}
				config.TrustedProxies = append(config.TrustedProxies, p)
			}
			if config.Token = std.variable("TIDEOVER_ROUTER_TOKEN"); config.Token == "" {
				return usageErrorf("the environment variable TIDEOVER_ROUTER_TOKEN is empty: it holds the token of the control API")
			}
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelInfo
			}
			config.Log = slog.New(slog.NewJSONHandler(std.Err, &slog.HandlerOptions{Level: level}))
			// A proxy makes much short-lived garbage on a small heap: collecting it less often costs a few megabytes.
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(200)
			}
			r, err := router.New(config)
			if err != nil {
				return err
			}
			unhook := reloadOnHangup(c.Context(), r, config.Log, func() (plan.HTTP, error) {
				p, err := plan.LoadProfile(profile, ".")
				if err != nil {
					return plan.HTTP{}, err
				}
				return p.HTTP, nil
			})
			defer unhook()
			if err := json.NewEncoder(std.Out).Encode(r.Addresses()); err != nil {
				return fmt.Errorf("the router's addresses could not be written: %w", err)
			}
			return r.Run(c.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&profile, "profile", "", "profile of the OAuth server: a built-in one or a file")
	f.StringVar(&config.PublicListen, "public-listen", "127.0.0.1:4444", "address for clients and browsers")
	f.StringVar(&config.AdminListen, "admin-listen", "127.0.0.1:4445", "address for the login app and operators")
	f.StringVar(&config.ControlListen, "control-listen", "127.0.0.1:4446", "address for commands and metrics")
	f.StringVar(&config.Blue.Public, "blue-public", "", "base URL of the old server's public listener")
	f.StringVar(&config.Blue.Admin, "blue-admin", "", "base URL of the old server's admin listener")
	f.StringVar(&config.Green.Public, "green-public", "", "base URL of the new server's public listener")
	f.StringVar(&config.Green.Admin, "green-admin", "", "base URL of the new server's admin listener")
	f.StringVar(&config.PublicURL, "public-url", "", "where clients reach the public listener, such as https://id.example.com: logins begin anew there")
	f.StringVar(&config.AdminURL, "admin-url", "", "where the login app and operators reach the admin listener")
	f.StringVar(&config.StatePath, "state", "tideover-router.json", "file that keeps which side serves, over a restart")
	f.StringVar(&config.Certificate, "tls-cert", "", "certificate for the public and admin listeners, a PEM file")
	f.StringVar(&config.Key, "tls-key", "", "its key, a PEM file")
	f.BoolVar(&config.ControlTLS, "control-tls", false, "speak TLS on the control listener, too")
	f.DurationVar(&config.Stopping, "stopping", 0, "how long to go on serving after SIGTERM, with /health saying 503")
	f.StringSliceVar(&proxies, "trusted-proxy", nil, "`CIDR` of proxies before the router whose word about their clients is passed on; repeatable")
	f.StringVar(&config.ForwardedProto, "forwarded-proto", "", "X-Forwarded-Proto for the servers, where TLS ends before the router: https")
	f.BoolVar(&config.Coalesce, "coalesce", true, "answer equal refresh requests with one upstream request")
	f.DurationVar(&config.Limits.Window, "coalesce-window", 0, "how long a refresh answer is kept (default 10s)")
	f.DurationVar(&config.Limits.Wait, "max-wait", 0, "longest that one request is held (default 30s)")
	f.DurationVar(&config.Limits.Hold, "max-hold", 0, "longest deadline that a hold may ask for (default 1m)")
	f.DurationVar(&config.Limits.Upstream, "upstream-timeout", 0, "until a server begins its answer (default 30s)")
	f.IntVar(&config.Limits.Queue, "queue", 0, "requests that wait at once (default 10000)")
	f.IntVar(&config.Limits.Clients, "clients", 0, "connections of clients to each of the two listeners, half of them from one address (default 22000)")
	f.IntVar(&config.Limits.Connections, "connections", 0, "connections to each listener of each side (default 256)")
	f.BoolVarP(&verbose, "verbose", "v", false, "also log the commands that are carried out")
	for _, name := range []string{"profile", "blue-public", "blue-admin", "green-public", "green-admin"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return c
}
