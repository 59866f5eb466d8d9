package sqlrewrite

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// File is one goose file of a rewritten script.
type File struct {
	Name          string
	Version       int64 // of the script that it comes from; 0 if its name has none
	Part, Parts   int   // which of the script's files it is, from 1; after the last the script's version is reached
	NoTransaction bool  // wait long for locks here: CREATE INDEX CONCURRENTLY waits for transactions, and blocks nobody
	SQL           string
	Hazards       []string `json:",omitempty"` // the names of those that this file has, each once
}

// render writes the files. Down goes into the first: goose takes it back last.
func (s *Script) render(parts []part) ([]File, error) {
	if len(parts) > 999 {
		return nil, &Error{File: s.Name, Msg: fmt.Sprintf("it would become %d files; 999 is the most", len(parts)), Try: "split the script"}
	}
	var files []File
	if len(parts) == 0 {
		parts = []part{{nil, s.NoTransaction}}
	}
	name := s.Target()
	for i, p := range parts {
		if i == 0 && s.NoTransaction && len(p.list) == 1 {
			p.noTx = true // Down needs it
		}
		var b strings.Builder
		if p.noTx {
			b.WriteString("-- +goose NO TRANSACTION\n")
		}
		b.WriteString(section("Up", p.list))
		if i == 0 && len(s.Down) > 0 {
			b.WriteString("\n" + s.downSection(p.noTx))
		}
		f := File{Name: name, Version: version(name), Part: i + 1, Parts: len(parts), NoTransaction: p.noTx, SQL: b.String()}
		if len(parts) > 1 {
			f.Name = partName(name, i+1)
		}
		if _, err := Parse(f.Name, f.SQL); err != nil {
			return nil, fmt.Errorf("%s was rewritten into something that is not SQL: %w", s.Name, err)
		}
		files = append(files, f)
	}
	return files, nil
}

// downSection is Down as it was. In a file without a transaction it becomes one block, which Postgres runs as one.
func (s *Script) downSection(noTx bool) string {
	if noTx && !s.NoTransaction {
		var b strings.Builder
		for _, st := range s.Down {
			b.WriteString(st.SQL + ";\n")
		}
		return "-- +goose Down\n-- +goose StatementBegin\n" + b.String() + "-- +goose StatementEnd\n"
	}
	return section("Down", s.Down)
}

// Version is the version that goose reads out of a file's name.
func Version(file string) (int64, error) {
	if v := version(file); v > 0 {
		return v, nil
	}
	return 0, &Error{File: file, Msg: "its name has no version that goose understands", Try: "name files <number>_<text>.sql"}
}

// version is goose's: the number before the first underscore.
func version(file string) int64 {
	digits, _, ok := strings.Cut(path.Base(file), "_")
	v, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || v < 1 {
		return 0
	}
	return v
}

// maxVersion leaves room for the part's three digits.
const maxVersion = int64(1e15)

// partName puts the part behind the version, so that 11001_a.sql becomes 11001001_a.sql, 11001002_a.sql …
func partName(file string, number int) string {
	dir, base := path.Split(file)
	if v := version(file); v > 0 && v < maxVersion {
		_, rest, _ := strings.Cut(base, "_")
		return fmt.Sprintf("%s%d%03d_%s", dir, v, number, rest)
	}
	stem, ext := strings.TrimSuffix(base, path.Ext(base)), path.Ext(base)
	return fmt.Sprintf("%s%s.%03d%s", dir, stem, number, ext)
}

// Folder gives the files of several scripts names that sort as they are to be run: if one script has become several
// files, the files of all get the part's number behind their version. Scripts that have not changed keep their names.
func Folder(scripts []Rewritten) ([]File, error) {
	var files []File
	several := false
	for _, r := range scripts {
		several = several || len(r.Files) > 1
		files = append(files, r.Files...)
	}
	if !several {
		return files, nil
	}
	for i, f := range files {
		if f.Version == 0 || f.Version >= maxVersion {
			return nil, &Error{File: f.Name, Msg: "its name has no version, or one of more than 15 digits, so that its files can't be numbered",
				Try: "number the migrations anew: 00001_name.sql, 00002_name.sql, …"}
		}
		if f.Parts == 1 {
			files[i].Name = partName(f.Name, 1)
		}
	}
	return files, nil
}
