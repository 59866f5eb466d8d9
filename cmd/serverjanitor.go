package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/authserver"
)

const janitorLong = `Janitor deletes rows that serve nobody any more: codes and tokens that ran out, codes of devices and proofs of clients that
ran out, logins and consents that nobody finished, signing keys that a newer one took over from long ago. It never
deletes a consent that was given, a session, or a used refresh token before that runs out: by it reuse is found.
In generation 1.0 it deletes tokens and keys alone.

It goes through each table once, by its primary key, in small transactions that wait for no row lock, with a pause between.
A line a kind is printed: how many rows, and whether there may be more than --most let it delete. It may be stopped at
any time, run again, and run beside servers and an upgrade, which brings the deletions to the other side; where a
database refuses writes, in an upgrade's hold, it ends with an error.

Run it each hour or day, such as from cron.

ENVIRONMENT
  TIDEOVER_SERVER_DSN  the database, where --dsn would show its password in the process list

EXIT STATUS
  0  done, also where --most was reached
  1  ended before it was through; what it printed is deleted`

func newServerJanitorCmd(std *IO) *cobra.Command {
	o, j, asJSON := &serverOptions{}, authserver.JanitorOptions{}, false
	var within time.Duration
	c := &cobra.Command{Use: "janitor", Short: "Delete rows that serve nobody any more", Long: janitorLong, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case j.Batch < 1 || j.Batch > 10_000:
				return usageErrorf("--batch is not between 1 and 10000")
			case j.Most < 1:
				return usageErrorf("--most is not above 0")
			case j.Expired < 0 || j.Pause < 0 || within < 0:
				return usageErrorf("--expired, --pause and --within are not below 0")
			case j.Unfinished < time.Hour:
				return usageErrorf("--unfinished is not an hour or more: people may be at it")
			case j.RetiredKeys < time.Minute:
				return usageErrorf("--retired-keys is not a minute or more: servers read the keys every ten seconds")
			}
			ctx := c.Context()
			if within > 0 {
				var stop context.CancelFunc
				ctx, stop = context.WithTimeout(ctx, within)
				defer stop()
			}
			op, err := o.operator(c, std, false)
			if err != nil {
				return err
			}
			defer op.Close()
			lines := json.NewEncoder(std.Out)
			return op.Sweep(ctx, j, func(s authserver.Swept) {
				if asJSON {
					_ = lines.Encode(s) // a reader that went has had enough
					return
				}
				more := ""
				if s.Left {
					more = ", and there may be more"
				}
				fmt.Fprintf(std.Out, "%s: %d%s\n", s.Kind, s.Rows, more)
			})
		}}
	o.database(c)
	f := c.Flags()
	f.DurationVar(&j.Expired, "expired", time.Hour, "delete what ran out so long ago")
	f.DurationVar(&j.Unfinished, "unfinished", 7*24*time.Hour, "delete logins and consents that were asked for so long ago and not finished")
	f.DurationVar(&j.RetiredKeys, "retired-keys", 30*24*time.Hour, "delete signing keys that have not signed for so long; longer than ID tokens are shown as hints")
	f.IntVar(&j.Batch, "batch", 500, "rows a transaction")
	f.Int64Var(&j.Most, "most", 1_000_000, "rows of all kinds together, signing keys left out")
	f.DurationVar(&j.Pause, "pause", 50*time.Millisecond, "wait between two transactions")
	f.DurationVar(&within, "within", 0, "end after so long, with an error (default: when it is through)")
	f.BoolVar(&j.DryRun, "dry-run", false, "count, and delete nothing")
	f.BoolVar(&asJSON, "json", false, "print an object a line")
	return c
}
