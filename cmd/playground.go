package cmd

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/playground"
	"github.com/tideover/tideover/internal/report"
)

const playgroundLong = `Playground is the demo's upgrade to be done by hand, in a browser: the bundled OAuth server 1.1 on blue and 2.0 on green, each
with a throw-away Postgres, the router, the console with its login and consent pages, an app of a third party to log in to, and a page
on which you start the upgrade, hold it open, and roll back. Everything listens on 127.0.0.1 alone, on free ports.

The addresses, and two users with passwords made up for the occasion, are printed on stdout: as lines, or with --json as one line of
JSON. The run's events go to stderr. It stays up until Ctrl-C, SIGTERM or the end of --for; then everything is removed.

EXIT STATUS
  0 ended by Ctrl-C or --for  1 failed  2 usage  130 interrupted before it was ready`

type playgroundFlags struct {
	postgres string
	network  string
	stay     time.Duration
	json     bool
}

// NewPlaygroundCmd is tideover playground.
func NewPlaygroundCmd(std *IO) *cobra.Command {
	var f playgroundFlags
	c := &cobra.Command{
		Use:   "playground",
		Short: "Do an upgrade by hand in a browser, on throw-away Postgres, with a console and an app to log in to",
		Long:  playgroundLong,
		Args:  exactArgs(0, "no argument"),
		RunE:  func(c *cobra.Command, _ []string) error { return runPlayground(c, std, f) },
	}
	addPostgres(c, &f.postgres, &f.network)
	c.Flags().DurationVar(&f.stay, "for", 0, "how long it stays up, such as 10m (default until Ctrl-C)")
	c.Flags().BoolVar(&f.json, "json", false, "print addresses and users as one line of JSON")
	return c
}

func runPlayground(c *cobra.Command, std *IO, f playgroundFlags) error {
	if f.stay < 0 {
		return usageErrorf("--for is %s; it can be 0, for ever, or more", f.stay)
	}
	if err := checkPostgres(f.postgres, f.network); err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(std.Err, &slog.HandlerOptions{Level: slog.LevelError})))
	inbox := report.NewInbox(report.Lines(std.Err))
	defer inbox.Close(lastWords)
	return playground.Run(c.Context(), playground.Options{Load: demoRunbook, Version: version, Postgres: pgserver.Origin(f.postgres), Network: f.network,
		For: f.stay, Sink: inbox.Put, Log: std.Err, Ready: func(p playground.Place) {
			if f.json {
				_ = json.NewEncoder(std.Out).Encode(p)
				return
			}
			fmt.Fprintf(std.Out, "playground  %s\nconsole     %s\napp         %s\nserver      %s\n", p.Playground, p.Console, p.App, p.Issuer)
			for _, u := range p.Users {
				role := "user       "
				if u.Admin {
					role = "admin      "
				}
				fmt.Fprintf(std.Out, "%s %s, password %s\n", role, u.Name, u.Password)
			}
		}})
}
