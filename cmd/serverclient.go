package cmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/authserver"
)

func newServerClientCmd(std *IO) *cobra.Command {
	c := &cobra.Command{Use: "client", Short: "List clients and rotate their secrets",
		Long: "Client lists the clients of a database and rotates their secrets. The admin API does the same, and registers and\n" +
			"deletes clients.\n\nENVIRONMENT\n  TIDEOVER_SERVER_DSN  the database, where --dsn would show its password in the process list"}
	c.AddCommand(newClientListCmd(std), newClientRotateCmd(std), newClientEndCmd(std))
	return c
}

func newClientListCmd(std *IO) *cobra.Command {
	o, owner, asJSON := &serverOptions{}, "", false
	c := &cobra.Command{Use: "list", Short: "List clients by id", Args: cobra.NoArgs,
		Long: "List clients by id: id, authentication, owner, name, and until when a secret before the last works.",
		RunE: func(c *cobra.Command, _ []string) error {
			op, err := o.operator(c, std, false)
			if err != nil {
				return err
			}
			defer op.Close()
			lines, table := json.NewEncoder(std.Out), tabwriter.NewWriter(std.Out, 0, 8, 2, ' ', 0)
			err = op.Clients(c.Context(), owner, func(a authserver.App) error {
				if asJSON {
					return lines.Encode(a)
				}
				until := ""
				if !a.OldSecret.IsZero() {
					until = "old secret until " + a.OldSecret.UTC().Format(time.RFC3339)
				}
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", printable(a.ID), a.AuthMethod, printable(a.Owner), printable(a.Name), until)
				return nil
			})
			if err != nil {
				return err
			}
			return table.Flush()
		}}
	o.database(c)
	c.Flags().StringVar(&owner, "owner", "", "only the clients of one owner")
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	return c
}

// printable keeps what a stranger wrote from moving a terminal's cursor or a table's columns.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func newClientRotateCmd(std *IO) *cobra.Command {
	o := &serverOptions{}
	var keep time.Duration
	c := &cobra.Command{Use: "rotate-secret ID", Short: "Give a client a new secret, and print it", Args: exactArgs(1, "one client id"),
		Long: "Give a client a new secret and print it on stdout, this once. The old one works on for a while, in which whoever runs\n" +
			"the client changes it; one before that ends.",
		RunE: func(c *cobra.Command, args []string) error {
			op, err := o.operator(c, std, false)
			if err != nil {
				return err
			}
			defer op.Close()
			secret, err := op.RotateSecret(c.Context(), args[0], keep)
			if err != nil {
				return err
			}
			fmt.Fprintln(std.Out, secret)
			return nil
		}}
	o.database(c)
	c.Flags().DurationVar(&keep, "keep", 24*time.Hour, "how long the old secret works on, at most 90 days; 0 ends it at once")
	return c
}

func newClientEndCmd(std *IO) *cobra.Command {
	o := &serverOptions{}
	c := &cobra.Command{Use: "end-old-secret ID", Short: "End the secret before the last at once", Args: exactArgs(1, "one client id"),
		RunE: func(c *cobra.Command, args []string) error {
			op, err := o.operator(c, std, false)
			if err != nil {
				return err
			}
			defer op.Close()
			return op.EndOldSecret(c.Context(), args[0])
		}}
	o.database(c)
	return c
}
