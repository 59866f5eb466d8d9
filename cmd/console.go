package cmd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/console"
)

const consoleLong = `The pages of an OAuth server: log-in and consent, and for who is logged in the apps that have access and the apps of
their own; administrators see all apps. It drives the bundled server, or Ory Hydra 1.x and 2.x, by the admin API.`

const consoleServeLong = `Serve the pages until SIGTERM or SIGINT.

The server is told of them by --login-url ORIGIN/login, --consent-url ORIGIN/consent and --device-url ORIGIN/device
(Hydra: URLS_LOGIN, URLS_CONSENT, URLS_LOGOUT=ORIGIN/logout, URLS_ERROR=ORIGIN/error), where ORIGIN is how browsers
reach the console. The address is printed on stdout as one line of JSON.

Users are lines "name:hash" of the --users file, which "tideover console hash" prints; a change of the file holds at
once. Who is logged in lies in memory: a restart of the console logs people out of it, and it runs once.

ENVIRONMENT
  TIDEOVER_ADMIN_TOKEN    the bearer token that the admin API wants, where it wants one`

// NewConsoleCmd is "tideover console".
func NewConsoleCmd(std *IO) *cobra.Command {
	c := &cobra.Command{Use: "console", Short: "Run the login, consent and account pages of an OAuth server", Long: consoleLong}
	c.AddCommand(newConsoleServeCmd(std), newConsoleHashCmd(std))
	return c
}

type consoleOptions struct {
	console.Config
	listen, users, scopes, audit string
}

func newConsoleServeCmd(std *IO) *cobra.Command {
	o := &consoleOptions{}
	c := &cobra.Command{Use: "serve", Short: "Serve the pages", Long: consoleServeLong, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return consoleServeRun(c, std, o) }}
	f := c.Flags()
	f.StringVar(&o.Admin, "admin", "", "base URL of the server's admin listener")
	f.StringVar(&o.Public, "public", "", "base URL under which browsers reach the server: its issuer")
	f.StringVar(&o.AdminPrefix, "admin-prefix", "/admin", `before the admin API's paths: /admin for 2.x, "" for 1.x`)
	f.StringVar(&o.listen, "listen", "127.0.0.1:4450", "address for browsers, or the proxy in front; port 0 takes a free one")
	f.StringVar(&o.Origin, "origin", "", "base URL under which browsers reach the console; https makes its cookies Secure (default the address of --listen)")
	f.StringVar(&o.users, "users", "", "file with the lines of tideover console hash")
	f.StringSliceVar(&o.Admins, "admins", nil, "users who see and verify all apps")
	f.StringVar(&o.scopes, "scopes", "", "YAML file that says what scopes mean (default those of OpenID Connect)")
	f.StringVar(&o.Title, "title", "Tideover", "what the pages call the service")
	f.StringVar(&o.audit, "audit", "", "file to which each action is appended as a line of JSON (default stderr)")
	f.DurationVar(&o.Young, "young", 0, "until when an app is pointed out as new (default 168h)")
	f.DurationVar(&o.Remember, "remember", 0, "how long a remembered login or consent lasts (default 720h)")
	f.BoolVar(&o.BehindProxy, "behind-proxy", false, "count wrong passwords by the last address of X-Forwarded-For, which your proxy sets")
	return c
}

func consoleServeRun(c *cobra.Command, std *IO, o *consoleOptions) error {
	for _, f := range []struct{ name, value string }{{"admin", o.Admin}, {"public", o.Public}, {"users", o.users}} {
		if f.value == "" {
			return usageErrorf("set --%s", f.name)
		}
	}
	o.AdminToken = std.variable("TIDEOVER_ADMIN_TOKEN")
	var err error
	if o.Users, err = console.OpenUsers(o.users); err != nil {
		return usageError{err}
	}
	if o.scopes != "" {
		if o.Catalogue, err = console.LoadCatalogue(o.scopes); err != nil {
			return usageError{err}
		}
	}
	to := std.Err
	if o.audit != "" {
		f, err := os.OpenFile(o.audit, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return usageError{fmt.Errorf("audit file: %w", err)}
		}
		defer f.Close()
		to = f
	}
	o.Audit = slog.New(slog.NewJSONHandler(to, nil))
	slog.SetDefault(slog.New(slog.NewTextHandler(std.Err, &slog.HandlerOptions{Level: slog.LevelError})))
	return console.Serve(c.Context(), o.Config, o.listen, func(url string) {
		_ = json.NewEncoder(std.Out).Encode(map[string]string{"console": url})
		fmt.Fprintf(std.Err, "ready console=%s\n", url)
	})
}

const mostPassword = 1024

func newConsoleHashCmd(std *IO) *cobra.Command {
	return &cobra.Command{Use: "hash NAME", Short: "Print a line for the users file, of the password on stdin",
		Long: "Print a line for the users file, of the password that is the first line of stdin.\n\n" +
			"  tideover console hash ann < password.txt >> users",
		Args: exactArgs(1, "one user name"),
		RunE: func(_ *cobra.Command, args []string) error {
			password, err := bufio.NewReader(io.LimitReader(std.In, mostPassword+1)).ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if password = strings.TrimRight(password, "\r\n"); len(password) > mostPassword {
				return usageErrorf("the password is longer than %d bytes", mostPassword)
			}
			line, err := console.UserLine(args[0], password)
			if err != nil {
				return usageError{err}
			}
			fmt.Fprintln(std.Out, line)
			return nil
		}}
}
