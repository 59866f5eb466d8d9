package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/prove"
)

const sqlProveLong = `Prove applies a folder of migrations, as they are and rewritten, to a throw-away database each, with the same sample
rows, and compares: the schemas as pg_dump writes them, and the rows. Beside each file it prints the longest time that a
reading and a writing probe of its tables had to wait: the more --rows, the clearer.

The migrations up to --from are what the database has already; without it all are proved, from an empty database on.
Generated rows are refused by some tables (a CHECK, an unusual type), and some migrations refuse generated rows: --seed
is a file of SQL with rows of your own. Hazards need no --allow here; with --allow column-order a type changes by way of a
second column, and the order of columns isn't compared. The server is a throw-away one of this machine unless --server names another,
on which databases of our own are made and dropped.

EXIT STATUS
  0 the same schema and rows  1 it can't be tried  2 a file can't be read as Postgres' SQL  5 they differ`

type sqlProveOptions struct {
	dir, from, server, seed string
	input                   inputOptions
	rows                    int
	json                    bool
	allow                   []string
}

// NewSQLProveCmd is tideover sql prove.
func NewSQLProveCmd(std *IO) *cobra.Command {
	var o sqlProveOptions
	c := &cobra.Command{
		Use:   "prove DIR",
		Short: "Apply original and rewritten migrations side by side, and compare",
		Long:  sqlProveLong,
		Args:  exactArgs(1, "one folder of migrations"),
		RunE: func(c *cobra.Command, args []string) error {
			o.dir = args[0]
			return sqlProve(c.Context(), std, o)
		},
	}
	c.Flags().StringVar(&o.from, "from", "", "the version that the database has already (goose's, or the vendor's own)")
	c.Flags().StringVar(&o.server, "server", "", "connection string of a Postgres server to use (default: a throw-away one)")
	c.Flags().StringVar(&o.seed, "seed", "", "a file of SQL that makes the sample rows, run behind --from")
	c.Flags().IntVar(&o.rows, "rows", 100, "sample rows in each table; 0: none")
	c.Flags().BoolVar(&o.json, "json", false, "print the report as JSON")
	addInput(c, &o.input)
	addAllow(c, &o.allow)
	return c
}

func sqlProve(ctx context.Context, std *IO, o sqlProveOptions) (err error) {
	if o.rows < 0 {
		return usageErrorf("--rows %d: at least 0", o.rows)
	}
	if err := checkHazards(o.allow); err != nil {
		return err
	}
	source, err := readMigrations(std, o.dir, o.input)
	if err != nil {
		return err
	}
	above, err := source.Above(o.from)
	if err != nil {
		return usageError{err}
	}
	seed := ""
	if o.seed != "" {
		b, err := os.ReadFile(o.seed)
		if err != nil {
			return usageErrorf("--seed: %v", err)
		}
		seed = string(b)
	}
	options := pgserver.Options{Name: "prove", Log: std.Err}
	if o.server != "" {
		options.Source, options.DSN = pgserver.DSN, o.server
	}
	server, err := pgserver.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	report, err := prove.Run(ctx, prove.Options{Server: server, Scripts: source.Scripts, Records: source.Records(), Base: len(source.Scripts) - len(above), Rows: o.rows, Seed: seed, Probe: true, Allow: o.allow,
		Tell: func(text string) {
			if std.IsTerminal {
				fmt.Fprintln(std.Err, text)
			}
		}})
	if err != nil {
		return err
	}
	if o.json {
		err = json.NewEncoder(std.Out).Encode(report.JSON())
	} else {
		err = printProof(std, report)
	}
	if err == nil && !report.Same() {
		return &quietError{ExitDiffer}
	}
	return err
}

func printProof(std *IO, r *prove.Report) error {
	w := tabwriter.NewWriter(std.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "longest wait of a probe\toriginal reads\twrites\trewritten reads\twrites\tfiles")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }
	total := r.Total()
	for _, s := range append(r.Scripts, total) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", s.Name, ms(s.OriginalRead), ms(s.OriginalWrite), ms(s.RewrittenRead), ms(s.RewrittenWrite), s.Files)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var rows int64
	var leftOut []string
	for _, t := range r.Tables {
		rows += t.Rows
		for _, c := range t.LeftOut {
			leftOut = append(leftOut, t.Name+"."+c)
		}
		if t.Difference != "" {
			fmt.Fprintf(std.Out, "rows of %s: %s\n", t.Name, t.Difference)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintln(std.Out, "note:", n)
	}
	if len(leftOut) > 0 {
		fmt.Fprintln(std.Out, "filled differently by each run of the original, so not compared:", strings.Join(leftOut, ", "))
	}
	if r.Schema != "" {
		fmt.Fprintf(std.Out, "the schemas differ (- original, + rewritten):\n%s", r.Schema)
	}
	if r.Same() {
		fmt.Fprintf(std.Out, "the same: schema by pg_dump, and %d rows in %d tables\n", rows, len(r.Tables))
	}
	return nil
}
