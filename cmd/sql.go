package cmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/sqlrewrite"
)

const sqlLong = `Sql looks at a folder of migrations written for Postgres: those of goose, pop (as Ory's servers have them), dbmate, sql-migrate,
golang-migrate, diesel, Prisma, sqlx, Flyway, tern, node-pg-migrate, Drizzle, Atlas, sqitch and Liquibase's formatted SQL, or plain .sql files. It says what it took them for; what it can't be
sure of it refuses.

  tideover sql lint DIR              # what each statement does to live traffic; also of single files, and of what has changed
  tideover sql rewrite DIR -o OUT    # the same migrations as lock-safe goose files
  tideover sql prove DIR             # both on throw-away databases: same schema, same data, who waited how long`

// NewSQLCmd is tideover sql.
func NewSQLCmd(std *IO) *cobra.Command {
	c := &cobra.Command{Use: "sql", Short: "Make a vendor's migrations lock-safe, and prove it", Long: sqlLong}
	c.AddCommand(NewSQLLintCmd(std), NewSQLRewriteCmd(std), NewSQLProveCmd(std), NewSQLArrangeCmd(std))
	return c
}

// readMigrations reads a folder; a mistake in it is one of the command line's.
func readMigrations(std *IO, dir string, input inputOptions) (*sqlrewrite.Migrations, error) {
	source, err := input.source()
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, usageErrorf("%s is not a folder that can be read", dir)
	}
	s, err := source.Folder(os.DirFS(dir))
	if err != nil {
		if e := new(sqlrewrite.Error); errors.As(err, &e) {
			e.File = filepath.Join(dir, e.File)
		}
		return nil, usageError{err}
	}
	fmt.Fprintf(std.Err, "read as %s\n", s.Summary())
	return s, nil
}

// inputOptions say how files are read.
type inputOptions struct {
	format       string
	placeholders map[string]string
}

func (o inputOptions) source() (sqlrewrite.Source, error) {
	if o.format != "" && !slices.Contains(sqlrewrite.Formats(), o.format) {
		return sqlrewrite.Source{}, usageErrorf("--input %s: one of %s", o.format, strings.Join(sqlrewrite.Formats(), ", "))
	}
	return sqlrewrite.Source{Format: sqlrewrite.Format(o.format), Placeholders: o.placeholders}, nil
}

// checkHazards refuses a name that is no hazard's.
func checkHazards(names []string) error { return checkNames(names, sqlrewrite.HazardNames()) }

func checkNames(names, known []string) error {
	for _, n := range names {
		if !slices.Contains(known, n) {
			return usageErrorf("--allow %s: one of %s", n, strings.Join(known, ", "))
		}
	}
	return nil
}

func addInput(c *cobra.Command, o *inputOptions) {
	c.Flags().StringToStringVar(&o.placeholders, "placeholder", nil, "name=value: what Flyway's ${name} stands for; may be repeated")
	c.Flags().StringVar(&o.format, "input", "", "how the files are named: "+strings.Join(sqlrewrite.Formats(), ", ")+" (default: found out)")
}

func addAllow(c *cobra.Command, allow *[]string) {
	c.Flags().StringSliceVar(allow, "allow", nil, "a hazard that you accept, by its name; may be repeated")
}
