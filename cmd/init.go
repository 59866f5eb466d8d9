package cmd

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/plan"
)

const initLong = `Init writes a commented runbook to start from, on stdout or into a new file. Secrets are ${ENV} references, so
that the file can be kept with the rest of your configuration.

With --schema it prints the JSON Schema of runbooks (or of profiles) for your editor:
  tideover init --schema runbook > runbook.schema.json`

// NewInitCmd is tideover init.
func NewInitCmd(std *IO) *cobra.Command {
	var options plan.InitOptions
	var schema string
	c := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a runbook to start from",
		Long:  initLong,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			out, err := initOutput(options, schema)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				_, err = std.Out.Write(out)
				return err
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return fmt.Errorf("%w; it is not overwritten", err)
			}
			if _, err := f.Write(out); err != nil {
				f.Close()
				return err
			}
			return f.Close()
		},
	}
	c.Flags().StringVar(&options.Name, "name", "", "the runbook's name")
	c.Flags().StringVar(&options.Profile, "profile", "", "bundled, hydra, or a profile's path")
	c.Flags().StringVar(&schema, "schema", "", "print the JSON Schema of a \"runbook\" or a \"profile\" instead")
	return c
}

func initOutput(options plan.InitOptions, schema string) ([]byte, error) {
	switch schema {
	case "":
		return plan.Init(options), nil
	case "runbook":
		return plan.RunbookSchema()
	case "profile":
		return plan.ProfileSchema()
	}
	return nil, usageErrorf("--schema is %q; it can be runbook or profile", schema)
}
