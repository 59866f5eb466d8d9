package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/sqlrewrite"
)

const sqlRewriteLong = `Rewrite writes a folder of migrations as goose files that don't block live traffic: each holds a lock that blocks
somebody for a moment only, and the end is the same schema and the same rows. With --target offline, for a database that
nobody uses, only the format changes. What can't be made safe is refused unless --allow names it.

OUT is made; a folder that has files in it is refused. --diff prints what changes, and writes only with -o.

EXIT STATUS
  0 written  1 it can't be written  2 a hazard is not allowed, or a file can't be read as Postgres' SQL`

type sqlRewriteOptions struct {
	dir, out, target, from string
	input                  inputOptions
	diff                   bool
	allow                  []string
}

// NewSQLRewriteCmd is tideover sql rewrite.
func NewSQLRewriteCmd(std *IO) *cobra.Command {
	var o sqlRewriteOptions
	c := &cobra.Command{
		Use:   "rewrite DIR -o OUT",
		Short: "Write a folder of migrations as lock-safe goose files",
		Long:  sqlRewriteLong,
		Args:  exactArgs(1, "one folder of migrations"),
		RunE: func(c *cobra.Command, args []string) error {
			o.dir = args[0]
			return sqlRewrite(std, o)
		},
	}
	c.Flags().StringVarP(&o.out, "out", "o", "", "the folder to write")
	c.Flags().StringVar(&o.target, "target", "live", "live: a database in use; offline: one that nobody uses")
	c.Flags().BoolVar(&o.diff, "diff", false, "print each file that changes, before and after")
	c.Flags().StringVar(&o.from, "from", "", "leave out the files up to this version (goose's, or the vendor's own)")
	addInput(c, &o.input)
	addAllow(c, &o.allow)
	return c
}

func sqlRewrite(std *IO, o sqlRewriteOptions) error {
	if o.out == "" && !o.diff {
		return usageErrorf("name a folder with -o, or ask for --diff")
	}
	if o.target != "live" && o.target != "offline" {
		return usageErrorf("--target %s: live or offline", o.target)
	}
	if err := checkHazards(o.allow); err != nil {
		return err
	}
	source, err := readMigrations(std, o.dir, o.input)
	if err != nil {
		return err
	}
	scripts, err := source.Above(o.from)
	if err != nil {
		return usageError{err}
	}
	rewritten, hazards, err := rewriteAll(scripts, o.target == "live", o.allow)
	if err != nil {
		return err
	}
	files, err := sqlrewrite.Folder(rewritten)
	if err != nil {
		return err
	}
	if o.diff {
		for i, r := range rewritten {
			if r.Changed {
				fmt.Fprint(std.Out, difference(scripts[i], r))
			}
		}
	}
	if err := migrate.Refused(hazards, o.allow); err != nil {
		return &allowError{err}
	}
	if o.out == "" {
		return nil
	}
	if err := writeFiles(o.out, files); err != nil {
		return err
	}
	fmt.Fprintf(std.Err, "%d files of %s became %d in %s\n", len(scripts), o.dir, len(files), o.out)
	return nil
}

// allowError is a hazard that nobody has allowed, with the command line's way of allowing it.
type allowError struct{ error }

func (e *allowError) Unwrap() error { return e.error }
func (*allowError) ExitCode() int   { return ExitUsage }
func (e *allowError) Hint() string {
	var refused *migrate.HazardError
	if !errors.As(e.error, &refused) {
		return ""
	}
	return "if you accept them: --allow " + strings.Join(refused.Names(), ",")
}

func rewriteAll(scripts []*sqlrewrite.Script, live bool, allowed []string) (list []sqlrewrite.Rewritten, hazards []sqlrewrite.Hazard, err error) {
	turn := sqlrewrite.Offline
	if live {
		turn = func(s *sqlrewrite.Script) (sqlrewrite.Rewritten, error) {
			return sqlrewrite.LiveWith(s, sqlrewrite.Given{Allowed: allowed})
		}
	}
	for _, s := range scripts {
		r, err := turn(s)
		if err != nil {
			return nil, nil, err
		}
		list, hazards = append(list, r), append(hazards, r.Hazards...)
	}
	return list, hazards, nil
}

// difference shows a script's statements with "-", and those that take their place with "+".
func difference(s *sqlrewrite.Script, r sqlrewrite.Rewritten) string {
	var b strings.Builder
	lines := func(sign, text string) {
		for line := range strings.Lines(text) {
			b.WriteString(sign + strings.TrimRight(line, "\r\n") + "\n")
		}
	}
	b.WriteString("--- " + s.Name + "\n")
	for _, f := range r.Files {
		b.WriteString("+++ " + f.Name + "\n")
	}
	for _, st := range s.Up {
		lines("-", st.SQL+";")
	}
	for _, f := range r.Files {
		b.WriteString("@@ " + f.Name + "\n")
		lines("+", f.SQL)
	}
	return b.String()
}

func writeFiles(dir string, files []sqlrewrite.File) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	switch there, err := os.ReadDir(dir); {
	case err != nil:
		return err
	case len(there) > 0:
		return usageErrorf("%s is not empty: name a new folder, or empty it", dir)
	}
	for _, f := range files {
		err := os.WriteFile(filepath.Join(dir, filepath.Base(f.Name)), []byte(f.SQL), 0o644)
		var path *fs.PathError
		if errors.As(err, &path) {
			return fmt.Errorf("write %s: %w", path.Path, path.Err)
		} else if err != nil {
			return err
		}
	}
	return nil
}
