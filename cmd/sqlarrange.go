package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/sqlrewrite"
)

const sqlArrangeLong = `Arrange prints what the step migrate with target: offline would run on a database, and what was made of which statement:
columns that come with their value, updates that became one, indexes and foreign keys that wait for the end. It is worked out by
what the step itself calls; the database is only read. Blue will do: green is its copy. docs/offline.md says what is arranged.

EXIT STATUS
  0 printed  1 the database can't be read  2 a file can't be read`

type sqlArrangeOptions struct {
	dir, database, schema string
	input                 inputOptions
	json                  bool
}

// NewSQLArrangeCmd is tideover sql arrange.
func NewSQLArrangeCmd(std *IO) *cobra.Command {
	var o sqlArrangeOptions
	c := &cobra.Command{
		Use:   "arrange DIR",
		Short: "Print what an offline migration would run",
		Long:  sqlArrangeLong,
		Args:  exactArgs(1, "one folder of migrations"),
		RunE: func(c *cobra.Command, args []string) error {
			o.dir = args[0]
			return sqlArrange(c.Context(), std, o)
		},
	}
	c.Flags().StringVar(&o.database, "database", "", "connection string of the database (needed)")
	c.Flags().StringVar(&o.schema, "schema", "public", "the schema that the migrations' names mean")
	c.Flags().BoolVar(&o.json, "json", false, "print the tasks as JSON")
	addInput(c, &o.input)
	return c
}

func sqlArrange(ctx context.Context, std *IO, o sqlArrangeOptions) error {
	if o.database == "" {
		return usageErrorf("--database: name the database whose tables count")
	}
	if _, err := readMigrations(std, o.dir, o.input); err != nil {
		return err
	}
	a, err := migrate.NewGoose(os.DirFS(o.dir), 0, migrate.InFormat(o.input.format), migrate.Placeholders(o.input.placeholders), migrate.InSchema(o.schema)).Arrange(ctx, o.database)
	if err != nil {
		return err
	}
	if o.json {
		e := json.NewEncoder(std.Out)
		e.SetIndent("", "  ")
		return e.Encode(a)
	}
	for i, t := range a.Tasks {
		if t.Late && (i == 0 || !a.Tasks[i-1].Late) {
			fmt.Fprint(std.Out, "-- at the end, side by side\n\n")
		}
		for _, c := range t.Commands {
			fmt.Fprint(std.Out, arranged(c))
		}
	}
	for _, name := range a.Alone {
		fmt.Fprintf(std.Out, "-- %s: as written\n", name)
	}
	if len(a.Later) > 0 {
		fmt.Fprintf(std.Out, "-- %d more files, from %s on: arranged when those before them are done\n", len(a.Later), a.Later[0])
	}
	return nil
}

// arranged is a command as SQL with a comment on where it comes from.
func arranged(c sqlrewrite.Command) string {
	note := ""
	if c.Note != "" {
		note = ": " + c.Note
	}
	return fmt.Sprintf("-- %s:%d%s\n%s;\n\n", c.Source, c.Line, note, strings.TrimSuffix(c.SQL, ";"))
}
