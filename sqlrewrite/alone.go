package sqlrewrite

import (
	"errors"
	"path"
	"testing/fstest"
)

// File reads one file by itself, as the tool of its format would; "": found out, by the file alone. Nothing is known of what other
// files have made.
func (r Source) File(name, text string) (*Migrations, error) {
	// A name that begins with 1 has a version for those tools that want one, and is the first for those that want that.
	as := "1_" + trimUp(path.Base(name))
	if r.Format != "" || flywayShape.MatchString(path.Base(name)) {
		as = path.Base(name)
	}
	s, err := r.Folder(fstest.MapFS{as: &fstest.MapFile{Data: []byte(text)}})
	if err != nil {
		if e := new(Error); errors.As(err, &e) && e.File == as {
			e.File = name
		}
		return nil, err
	}
	for _, script := range s.Scripts {
		if script.keep {
			continue
		}
		script.Name = name
		for _, list := range [][]*Statement{script.Up, script.Down} {
			for _, st := range list {
				st.File = name
			}
		}
	}
	return s, nil
}

// trimUp takes ".up" out of a name, by which alone nobody can tell whose a file is.
func trimUp(base string) string {
	ext := path.Ext(base)
	stem := base[:len(base)-len(ext)]
	if path.Ext(stem) == ".up" {
		stem = stem[:len(stem)-len(".up")]
	}
	if ext != ".sql" && !flywayShape.MatchString(base) {
		ext += ".sql"
	}
	return stem + ext
}

// Back says whether a file, named by its path in the folder, holds nothing but a way back.
func (s *Migrations) Back(name string) bool {
	base := path.Base(name)
	return base == "down.sql" || path.Ext(base[:len(base)-len(path.Ext(base))]) == ".down" || s.Format == FlywayFormat && len(base) > 1 && base[0] == 'U'
}
