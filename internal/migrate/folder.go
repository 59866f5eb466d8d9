package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// FolderError is a folder of migrations that goose would not run as its author meant.
type FolderError struct {
	File string // "" where it is about the folder
	Text string
	Way  string
}

func (e *FolderError) Error() string {
	if e.File == "" {
		return "migrations: " + e.Text
	}
	return fmt.Sprintf("migrations: file %q: %s", e.File, e.Text)
}

// Hint says what to do.
func (e *FolderError) Hint() string { return e.Way }

type file struct {
	version int64
	name    string
	noTx    bool
	down    bool // has a way back
}

const nameHint = "name files <number>_<text>.sql, with a number of its own from 1 to 9223372036854775807, such as 00001_init.sql"

// folder lists the migrations in version order, or says why goose would not run all of them.
func folder(fsys fs.FS) ([]file, error) {
	if fsys == nil {
		return nil, &FolderError{Text: "there is no folder", Way: nameHint}
	}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	var files []file
	for _, e := range entries {
		if e.IsDir() || !slices.Contains([]string{".sql", ".go"}, path.Ext(e.Name())) || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := read(fsys, e.Name())
		if err != nil {
			// A Go package may stand beside its files; goose takes a .go file for a migration only if it has a number.
			if path.Ext(e.Name()) == ".go" && f.version == 0 {
				continue
			}
			return nil, err
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, &FolderError{Text: "the folder has none", Way: nameHint + "; folders below it are not looked at"}
	}
	slices.SortFunc(files, func(a, b file) int { return compare(a.version, b.version) })
	for i, f := range files[1:] {
		if f.version == files[i].version {
			return nil, &FolderError{File: f.name, Text: fmt.Sprintf("has the same version %d as %q", f.version, files[i].name), Way: nameHint}
		}
	}
	return files, nil
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func read(fsys fs.FS, name string) (file, error) {
	f := file{name: name}
	number, _, ok := strings.Cut(name, "_")
	version, err := strconv.ParseInt(number, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return f, &FolderError{File: name, Text: fmt.Sprintf("its number has %d digits and is too large; goose would pass over it without a word", len(number)),
			Way: "number the files anew, in the order in which they run: 00001_…, 00002_…"}
	case !ok || err != nil || version < 1:
		return f, &FolderError{File: name, Text: "has no version number; goose would pass over it without a word", Way: nameHint}
	}
	f.version = version
	if path.Ext(name) == ".go" {
		return f, &FolderError{File: name, Text: "is a migration in Go, which only a program that it is built into can run",
			Way: "use the vendor's own command instead (command: …)"}
	}
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return f, fmt.Errorf("migrations: %w", err)
	}
	if !annotated(text, "Up") {
		return f, &FolderError{File: name, Text: `has no "-- +goose Up"`, Way: "put that line before the statements"}
	}
	f.noTx, f.down = annotated(text, "NO TRANSACTION"), hasDown(text)
	return f, nil
}

// annotated says whether a line is "-- +goose <word>".
func annotated(text []byte, word string) bool {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("--"))
		if !ok {
			continue
		}
		rest, ok = bytes.CutPrefix(bytes.TrimSpace(rest), []byte("+goose"))
		if ok && strings.EqualFold(strings.Join(strings.Fields(string(rest)), " "), word) {
			return true
		}
	}
	return false
}

// hasDown says whether a statement follows "-- +goose Down". goose takes an empty one for success.
func hasDown(text []byte) bool {
	down := false
	for line := range bytes.Lines(text) {
		trimmed := string(bytes.TrimSpace(line))
		switch {
		case annotated(line, "Down"):
			down = true
		case annotated(line, "Up"):
			down = false
		case down && trimmed != "" && !strings.HasPrefix(trimmed, "--"):
			return true
		}
	}
	return false
}
