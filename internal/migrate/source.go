package migrate

import (
	"fmt"
	"io/fs"
	"testing/fstest"

	"github.com/tideover/tideover/sqlrewrite"
)

// InFormat says how the folder is named and annotated; "" finds out whether it is goose's or pop's.
func InFormat(format string) Option {
	return func(g *Goose) { g.format = sqlrewrite.Format(format) }
}

// popTable is where pop and ory/x popx keep the versions that are in place.
const popTable = "schema_migration"

// source reads the folder, and gives it as goose would want it.
func (g *Goose) source() (*sqlrewrite.Source, fs.FS, error) {
	format := g.format
	if format == "" && !looksLikePop(g.fsys) {
		format = sqlrewrite.GooseFormat
	}
	if format == sqlrewrite.GooseFormat {
		return nil, g.fsys, nil
	}
	s, err := sqlrewrite.ReadFolder(g.fsys, format)
	if err != nil {
		return nil, nil, err
	}
	asGoose := fstest.MapFS{}
	for _, script := range s.Scripts {
		r, err := sqlrewrite.Offline(script)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range r.Files {
			asGoose[f.Name] = &fstest.MapFile{Data: []byte(f.SQL)}
		}
	}
	return s, asGoose, nil
}

func looksLikePop(fsys fs.FS) bool {
	if fsys == nil {
		return false
	}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return false
	}
	for _, e := range entries {
		if sqlrewrite.IsPopName(e.Name()) {
			return true
		}
	}
	return false
}

// vendorVersions maps the versions of the vendor's own table to goose's.
func vendorVersions(s *sqlrewrite.Source) (map[string]int64, error) {
	m := map[string]int64{}
	if s == nil {
		return m, nil
	}
	for _, script := range s.Scripts {
		v, err := sqlrewrite.Version(script.Target())
		if err != nil {
			return nil, fmt.Errorf("migrations: %w", err)
		}
		if script.Vendor() != "" {
			m[script.Vendor()] = v
		}
	}
	return m, nil
}
