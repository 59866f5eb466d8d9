package cmd

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/authserver"
)

const serverLong = `The bundled OAuth server: authorization code with PKCE, refresh, client credentials and devices, with login and
consent pages of your own behind the same admin API as Ory Hydra's. It exists in three generations, so that upgrades can be
rehearsed: 1.0 to 1.1 in place, 1.1 to 2.0 with two databases. 1.0 reads with SELECT *.`

const serveLong = `Serve one generation until SIGTERM or SIGINT.

Both listeners answer at once: /health/alive with 200, everything else with 503 until the database has the
generation's schema ("tideover server migrate" makes it). The addresses are printed on stdout as one line of JSON; the
line "ready public=… admin=…" follows on stderr.

The admin API asks for no credentials, unless TIDEOVER_ADMIN_TOKEN is set: keep it on a private address. It answers to
addresses, to names without a domain and to those of --admin-host, and to no page of another origin.

ENVIRONMENT
  TIDEOVER_SYSTEM_SECRET  seals the signing keys in the database; the same for every server of it (16 characters or more)
  TIDEOVER_SYSTEM_SECRET_OTHER
                          another one that opens what it has sealed; "tideover server keys" says how to change the secret
  TIDEOVER_SERVER_DSN     the database, where --dsn would show its password in the process list
  TIDEOVER_ADMIN_TOKEN    the bearer token that the admin API wants (16 characters or more); a run and its rehearsal send none`

// NewServerCmd is "tideover server".
func NewServerCmd(std *IO) *cobra.Command {
	server := &cobra.Command{Use: "server", Short: "Run the bundled OAuth server", Long: serverLong}
	server.AddCommand(newServerServeCmd(std), newServerMigrateCmd(std), newServerKeysCmd(std), newServerClientCmd(std), newServerJanitorCmd(std))
	return server
}

type serverOptions struct {
	authserver.Config
	public, admin string
}

// database adds the flags that both commands have.
func (o *serverOptions) database(c *cobra.Command) {
	c.Flags().StringVar(&o.Generation, "generation", "2.0", "generation of server and schema: 1.0, 1.1 or 2.0")
	c.Flags().StringVar(&o.DSN, "dsn", "", "Postgres connection string (default $TIDEOVER_SERVER_DSN)")
}

func (o *serverOptions) check(std *IO) error {
	if o.DSN == "" {
		o.DSN = std.variable("TIDEOVER_SERVER_DSN")
	}
	if o.DSN == "" {
		return usageErrorf("no database: set --dsn or TIDEOVER_SERVER_DSN")
	}
	return nil
}

func newServerServeCmd(std *IO) *cobra.Command {
	o := &serverOptions{}
	c := &cobra.Command{Use: "serve", Short: "Serve one generation", Long: serveLong, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return serveRun(c, std, o) }}
	o.database(c)
	f := c.Flags()
	f.StringVar(&o.public, "public", "127.0.0.1:4444", "address for apps and browsers; port 0 takes a free one")
	f.StringVar(&o.admin, "admin", "127.0.0.1:4445", "address for operators and the login and consent pages")
	f.StringSliceVar(&o.AdminHosts, "admin-host", nil, "name with a domain under which the admin API is reached; may be given more than once")
	f.StringVar(&o.Issuer, "issuer", "", "public URL, such as the router's (default the public address)")
	f.StringVar(&o.LoginURL, "login-url", "", "login page, gets ?login_challenge=")
	f.StringVar(&o.ConsentURL, "consent-url", "", "consent page, gets ?consent_challenge=")
	f.StringVar(&o.DeviceURL, "device-url", "", "2.0: page on which people type the codes of devices, gets ?device_challenge= (default: no devices)")
	f.DurationVar(&o.AccessLifetime, "access-lifetime", time.Hour, "lifetime of access tokens")
	f.DurationVar(&o.RefreshLifetime, "refresh-lifetime", 30*24*time.Hour, "lifetime of refresh tokens")
	f.DurationVar(&o.Grace, "refresh-grace", 10*time.Second, "2.0: how long a used refresh token gives its successor again; negative for not at all")
	f.IntVar(&o.BcryptCost, "bcrypt-cost", 10, "cost of hashing new client secrets, 4 to 31")
	f.BoolVar(&o.PrivateJWKS, "private-jwks", false, "2.0: fetch the keys of clients (jwks_uri) from private addresses, too")
	f.BoolVar(&o.BehindProxy, "behind-proxy", false, "count wrong secrets by the last address of X-Forwarded-For, which your proxy or router sets")
	f.Int32Var(&o.MaxConns, "max-conns", 16, "connections to Postgres, where the DSN has no pool_max_conns")
	return c
}

func serveRun(c *cobra.Command, std *IO, o *serverOptions) error {
	if err := o.check(std); err != nil {
		return err
	}
	if o.SystemSecret = std.variable(secretVariable); o.SystemSecret == "" {
		return usageErrorf("no system secret: set %s", secretVariable)
	}
	o.OtherSecret = std.variable(otherSecretVariable)
	o.AdminToken = std.variable("TIDEOVER_ADMIN_TOKEN")
	if o.LoginURL == "" || o.ConsentURL == "" {
		return usageErrorf("no login or consent page: set --login-url and --consent-url")
	}
	// The protocol library logs every refused request; what is unexpected is enough.
	slog.SetDefault(slog.New(slog.NewTextHandler(std.Err, &slog.HandlerOptions{Level: slog.LevelError})))
	return authserver.Serve(c.Context(), o.Config, o.public, o.admin,
		func(at authserver.Addresses) { _ = json.NewEncoder(std.Out).Encode(at) },
		func(at authserver.Addresses) { fmt.Fprintf(std.Err, "ready public=%s admin=%s\n", at.Public, at.Admin) })
}

func newServerMigrateCmd(std *IO) *cobra.Command {
	o := &serverOptions{}
	c := &cobra.Command{Use: "migrate", Short: "Bring a database to a generation's schema", Args: cobra.NoArgs,
		Long: "Apply the stock migrations up to a generation. They lock tables and rewrite rows, as a vendor's would;\n" +
			"\"tideover run\" applies them to a live database without that.",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(std); err != nil {
				return err
			}
			if err := authserver.Migrate(c.Context(), o.DSN, o.Generation); err != nil {
				return err
			}
			fmt.Fprintf(std.Err, "the schema is of generation %s\n", o.Generation)
			return nil
		}}
	o.database(c)
	return c
}
