package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/lint"
	"github.com/tideover/tideover/sqlrewrite"
)

const sqlLintLong = `Lint says of each statement of migrations what it would do to live traffic: whom it locks out and for how
long, what it breaks, and whether tideover sql rewrite takes that away. A PATH is a folder of migrations, one of its files,
or - for standard input. A file is read among the others of its folder, which tell of types, tables and constraints.

--from and --changed-since leave files out that are not to be judged; they are read all the same. --changed-since
takes a revision of git's: files that were added or changed since this branch left it, committed or not.

A finding is accepted by its name, with --allow, or by a comment in the file:

  -- tideover:allow breaks-old-server,loses-data nobody reads it since release 4
  DROP TABLE sessions;

It counts for the statement that it stands before or in, or for the whole file if it stands at its top, apart from the
first statement: above an empty line, or above the tool's own line for what is run ("-- +goose Up"). The comment counts
here alone: rewrite wants --allow, a runbook allow:. One that accepts nothing is named by the note unused-silence.

--format json also lists every statement with its locks. github, gitlab (code quality), junit and sarif are for CI: the
first three leave out what is accepted (docs/ci).

EXIT STATUS
  0 nothing must be allowed (notes, unused-silence among them, don't count)  1 some hazard is neither taken away nor allowed
  2 a path, a version or a revision isn't there, or a file can't be read as Postgres' SQL`

type sqlLintOptions struct {
	paths                          []string
	format, from, since, stdinName string
	input                          inputOptions
	allow                          []string
}

// NewSQLLintCmd is tideover sql lint.
func NewSQLLintCmd(std *IO) *cobra.Command {
	var o sqlLintOptions
	c := &cobra.Command{
		Use:   "lint PATH...",
		Short: "Say what each statement of migrations does to live traffic",
		Long:  sqlLintLong,
		Args:  someArgs("a folder of migrations, files, or -"),
		RunE: func(c *cobra.Command, args []string) error {
			o.paths = args
			return sqlLint(c.Context(), std, o)
		},
	}
	c.Flags().StringVar(&o.format, "format", "text", strings.Join(lint.Formats(), ", "))
	c.Flags().StringVar(&o.from, "from", "", "judge only what is above this version (goose's, or the vendor's own)")
	c.Flags().StringVar(&o.since, "changed-since", "", "judge only files added or changed since this revision of git's")
	c.Flags().StringVar(&o.stdinName, "stdin-name", "stdin.sql", "what standard input is called, and by which name it is read")
	addInput(c, &o.input)
	c.Flags().StringSliceVar(&o.allow, "allow", nil, "a finding that you accept, by its name; may be repeated")
	return c
}

func sqlLint(ctx context.Context, std *IO, o sqlLintOptions) error {
	if !slices.Contains(lint.Formats(), o.format) {
		return usageErrorf("--format %s: one of %s", o.format, strings.Join(lint.Formats(), ", "))
	}
	if err := checkNames(o.allow, sqlrewrite.RuleNames()); err != nil {
		return err
	}
	source, err := o.input.source()
	if err != nil {
		return err
	}
	folders, err := lint.Read(ctx, lint.Options{Paths: o.paths, Stdin: std.In, StdinName: o.stdinName, Source: source, From: o.from, Since: o.since,
		Say: func(text string) { fmt.Fprintln(std.Err, text) }})
	if err != nil {
		return usageError{err}
	}
	report, err := lint.New(folders, o.allow)
	if e := new(sqlrewrite.Error); errors.As(err, &e) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if err := report.Write(std.Out, o.format); err != nil {
		return err
	}
	if o.from == "" && o.since == "" {
		for _, n := range report.Unused(o.allow) {
			fmt.Fprintf(std.Err, "--allow %s accepts nothing\n", n)
		}
	}
	if report.Refused() > 0 {
		return &quietError{ExitFailed}
	}
	return nil
}
