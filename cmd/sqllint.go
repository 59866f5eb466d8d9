package cmd

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/lint"
)

const sqlLintLong = `Lint says of each statement of a folder of migrations what it would do to live traffic: whom it locks out and for how
long, what it breaks, and whether tideover sql rewrite takes that away. --format json also lists every statement with its
locks; sarif and github are for CI.

EXIT STATUS
  0 nothing must be allowed  1 some hazard is neither taken away nor allowed  2 a file can't be read as Postgres' SQL`

// NewSQLLintCmd is tideover sql lint.
func NewSQLLintCmd(std *IO) *cobra.Command {
	var format, input string
	var allow []string
	c := &cobra.Command{
		Use:   "lint DIR",
		Short: "Say what each statement of a folder of migrations does to live traffic",
		Long:  sqlLintLong,
		Args:  exactArgs(1, "one folder of migrations"),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(lint.Formats(), format) {
				return usageErrorf("--format %s: one of %s", format, strings.Join(lint.Formats(), ", "))
			}
			if err := checkHazards(allow); err != nil {
				return err
			}
			source, err := readMigrations(std, args[0], input)
			if err != nil {
				return err
			}
			report, err := lint.New(args[0], source, allow)
			if err != nil {
				return err
			}
			if err := report.Write(std.Out, format); err != nil {
				return err
			}
			if report.Refused() > 0 {
				return &quietError{ExitFailed}
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "text", strings.Join(lint.Formats(), ", "))
	addInput(c, &input)
	addAllow(c, &allow)
	return c
}
