package cmd

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/authserver"
)

const (
	secretVariable      = "TIDEOVER_SYSTEM_SECRET"
	otherSecretVariable = "TIDEOVER_SYSTEM_SECRET_OTHER"
)

const keysLong = `Keys looks after the keys that sign ID tokens. A server reads them every ten seconds: a new one is published on all of
them soon after it was made, signs from its time on, and those of before verify until the janitor deletes them.

To change the system secret, which seals the keys in the database and much that lives shortly:

  1. start each server again with the new one as ` + otherSecretVariable + `
  2. start each again with the new one as ` + secretVariable + ` and the old one as ` + otherSecretVariable + `
  3. tideover server keys reseal, with the same two
  4. once what the old one sealed has run out (a quarter of an hour), leave the old one out

ENVIRONMENT
  ` + secretVariable + `        that of the servers
  ` + otherSecretVariable + `  another one that opens what it has sealed, while the secret is being changed
  TIDEOVER_SERVER_DSN           the database, where --dsn would show its password in the process list`

func newServerKeysCmd(std *IO) *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "List, rotate and reseal the signing keys", Long: keysLong}
	c.AddCommand(newKeysListCmd(std), newKeysRotateCmd(std), newKeysResealCmd(std))
	return c
}

// operator opens the server's database, with the system secrets where the command has to do with keys.
func (o *serverOptions) operator(c *cobra.Command, std *IO, secret bool) (*authserver.Operator, error) {
	if err := o.check(std); err != nil {
		return nil, err
	}
	o.SystemSecret, o.OtherSecret = std.variable(secretVariable), std.variable(otherSecretVariable)
	if secret && o.SystemSecret == "" {
		return nil, usageErrorf("no system secret: set %s", secretVariable)
	}
	return authserver.NewOperator(c.Context(), o.Config)
}

func newKeysListCmd(std *IO) *cobra.Command {
	o, asJSON := &serverOptions{}, false
	c := &cobra.Command{Use: "list", Short: "List the signing keys, the newest first", Args: cobra.NoArgs,
		Long: "List the signing keys, the newest first: id, algorithm, state and since when a key signs, or from when on.\n\n" +
			"A key is \"published\" before its time, \"signing\", or \"verifying\" after a newer one took over. With the system\n" +
			"secrets in the environment, a key that is sealed with the other one is marked.",
		RunE: func(c *cobra.Command, _ []string) error {
			op, err := o.operator(c, std, false)
			if err != nil {
				return err
			}
			defer op.Close()
			keys, err := op.Keys(c.Context())
			if err != nil {
				return err
			}
			return printKeys(std, keys, asJSON)
		}}
	o.database(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	return c
}

func printKeys(std *IO, keys []authserver.SigningKey, asJSON bool) error {
	lines, table := json.NewEncoder(std.Out), tabwriter.NewWriter(std.Out, 0, 8, 2, ' ', 0)
	for _, k := range keys {
		if asJSON {
			if err := lines.Encode(k); err != nil {
				return err
			}
			continue
		}
		note := ""
		if k.OldSecret {
			note = "  sealed with the other secret"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s%s\n", k.ID, k.Algorithm, k.State, k.Signs.UTC().Format(time.RFC3339), note)
	}
	return table.Flush()
}

func newKeysRotateCmd(std *IO) *cobra.Command {
	o, asJSON := &serverOptions{}, false
	var after time.Duration
	c := &cobra.Command{Use: "rotate", Short: "Make a new signing key", Args: cobra.NoArgs,
		Long: "Make a new signing key, which is published at once and signs later, when every app has read the keys again. The old\n" +
			"ones go on verifying. Where an old one is known to others, delete it: --after 0 first, then the janitor with\n" +
			"--retired-keys 1m.",
		RunE: func(c *cobra.Command, _ []string) error {
			if after < 0 || after > 365*24*time.Hour {
				return usageErrorf("--after is not between 0 and a year")
			}
			op, err := o.operator(c, std, true)
			if err != nil {
				return err
			}
			defer op.Close()
			key, err := op.RotateKeys(c.Context(), after)
			if err != nil {
				return err
			}
			return printKeys(std, []authserver.SigningKey{key}, asJSON)
		}}
	o.database(c)
	c.Flags().DurationVar(&after, "after", 24*time.Hour, "how long the key is published before it signs")
	c.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return c
}

func newKeysResealCmd(std *IO) *cobra.Command {
	o := &serverOptions{}
	c := &cobra.Command{Use: "reseal", Short: "Seal the keys anew with the first system secret", Args: cobra.NoArgs,
		Long: "Seal with " + secretVariable + " each key that " + otherSecretVariable + " has sealed. It may be run again.",
		RunE: func(c *cobra.Command, _ []string) error {
			op, err := o.operator(c, std, true)
			if err != nil {
				return err
			}
			defer op.Close()
			n, err := op.ResealKeys(c.Context())
			fmt.Fprintf(std.Err, "resealed keys: %d\n", n)
			return err
		}}
	o.database(c)
	return c
}
