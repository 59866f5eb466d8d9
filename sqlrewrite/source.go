package sqlrewrite

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Format is how a folder of migrations is named and annotated.
type Format string

// The formats.
const (
	GooseFormat Format = "goose" // 00001_name.sql with "-- +goose Up"
	PlainFormat Format = "plain" // .sql files, also as pairs name.up.sql and name.down.sql
	PopFormat   Format = "pop"   // 20 digits, a dialect, up and down: pop's, and ory/x popx's
)

// Formats lists them for a message.
func Formats() []string { return []string{string(GooseFormat), string(PlainFormat), string(PopFormat)} }

// Source is a folder of migrations, in the order in which they run.
type Source struct {
	Format  Format
	Scripts []*Script
}

// ReadFolder reads the migrations in fsys's top folder; format "" finds out which they are. The error of a file that
// can't be read as Postgres' SQL is an [*Error].
func ReadFolder(fsys fs.FS, format Format) (*Source, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	files := map[string]string{}
	for _, e := range entries {
		if ext := path.Ext(e.Name()); e.IsDir() || ext != ".sql" && ext != ".fizz" {
			continue
		}
		b, err := fs.ReadFile(fsys, e.Name())
		if err != nil {
			return nil, fmt.Errorf("migrations: %w", err)
		}
		files[e.Name()] = strings.TrimPrefix(string(b), "\ufeff") // a byte order mark means nothing in UTF-8
	}
	if len(files) == 0 {
		return nil, &Error{File: ".", Msg: "the folder has no .sql file", Try: "folders below it are not looked at"}
	}
	if format == "" {
		format = guess(files)
	}
	s := &Source{Format: format}
	switch format {
	case GooseFormat:
		s.Scripts, err = gooseFolder(files)
	case PlainFormat:
		s.Scripts, err = plainFolder(files)
	case PopFormat:
		s.Scripts, err = popFolder(files)
	default:
		return nil, fmt.Errorf("there is no format %q; one of %s", format, strings.Join(Formats(), ", "))
	}
	if err != nil {
		return nil, err
	}
	learn(s.Scripts)
	return s, nil
}

var popVersion = regexp.MustCompile(`^\d{14}(\d{6})?_`)

// guess: goose has annotations; pop has dialects or versions of 14 or 20 digits; anything else is plain.
func guess(files map[string]string) Format {
	pop := false
	for name, text := range files {
		for line := range strings.Lines(text) {
			if _, is := annotation(line); is {
				return GooseFormat
			}
		}
		pop = pop || IsPopName(name)
	}
	if pop {
		return PopFormat
	}
	return PlainFormat
}

// IsPopName: the name is one that only pop gives: with a dialect, .autocommit or fizz, or a version of 14 or 20 digits, and a
// direction.
func IsPopName(name string) bool {
	m := popName.FindStringSubmatch(name)
	return m != nil && (m[3] != "" || m[5] == "fizz" || popVersion.MatchString(name))
}

func sorted(files map[string]string) []string {
	var names []string
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func gooseFolder(files map[string]string) ([]*Script, error) {
	var scripts []*Script
	for _, n := range sorted(files) {
		s, err := Parse(n, files[n])
		switch {
		case err != nil:
			return nil, err
		case !s.Goose:
			return nil, &Error{File: n, Line: 1, Column: 1, Msg: `there is no "-- +goose Up", though other files have one`, Try: "put that line before the statements"}
		case version(n) == 0:
			return nil, &Error{File: n, Line: 1, Column: 1, Msg: "its name has no version that goose understands; goose would pass over it without a word",
				Try: "name files <number>_<text>.sql"}
		}
		scripts = append(scripts, s)
	}
	slices.SortStableFunc(scripts, func(a, b *Script) int { return int(max(-1, min(1, version(a.Name)-version(b.Name)))) })
	for i := 1; i < len(scripts); i++ {
		if version(scripts[i].Name) == version(scripts[i-1].Name) {
			return nil, &Error{File: scripts[i].Name, Line: 1, Column: 1, Msg: "it has the same version as " + scripts[i-1].Name, Try: "give it a number of its own"}
		}
	}
	return scripts, nil
}

var plainNumber = regexp.MustCompile(`^([A-Za-z]*)(\d+)`)

// plainFolder takes files in the order of their numbers, where all have one, else in the order of their names. BEGIN and
// COMMIT around a whole file are taken off: goose brings its own.
func plainFolder(files map[string]string) ([]*Script, error) {
	downs := map[string]string{}
	var names []string
	numbered := true
	for _, n := range sorted(files) {
		if path.Ext(n) != ".sql" {
			return nil, fizz(n)
		}
		if stem, is := strings.CutSuffix(n, ".down.sql"); is {
			downs[stem] = n
			continue
		}
		names = append(names, n)
		numbered = numbered && plainNumber.MatchString(n)
	}
	number := func(n string) int64 {
		v, _ := strconv.ParseInt(plainNumber.FindStringSubmatch(n)[2], 10, 64)
		return v
	}
	if numbered {
		slices.SortStableFunc(names, func(a, b string) int { return int(max(-1, min(1, number(a)-number(b)))) })
	}
	var scripts []*Script
	for i, n := range names {
		stem := strings.TrimSuffix(strings.TrimSuffix(n, ".sql"), ".up")
		s, err := parsePair(n, files[n], downs[stem], files[downs[stem]])
		if err != nil {
			return nil, err
		}
		s.unwrap()
		s.as = fmt.Sprintf("%05d_%s.sql", i+1, strings.Trim(plainNumber.ReplaceAllString(stem, ""), "_-. "))
		if strings.HasSuffix(s.as, "_.sql") {
			s.as = fmt.Sprintf("%05d_migration.sql", i+1)
		}
		scripts = append(scripts, s)
	}
	return scripts, nil
}

// parsePair parses the two directions of a migration that stand in two files.
func parsePair(upName, up, downName, down string) (*Script, error) {
	s, err := Parse(upName, up)
	if err != nil {
		return nil, err
	}
	if s.Goose {
		return nil, &Error{File: upName, Line: 1, Column: 1, Msg: "it has goose's annotations, though its name is another format's", Try: "say --input goose"}
	}
	if downName != "" {
		d, err := Parse(downName, down)
		if err != nil {
			return nil, err
		}
		s.Down = d.Up
	}
	return s, nil
}

func fizz(name string) error {
	return &Error{File: name, Line: 1, Column: 1, Msg: "fizz is a language of pop's own, not SQL", Try: "let soda translate it: soda fizz translate"}
}

// unwrap takes off a BEGIN at the beginning and a COMMIT at the end.
func (s *Script) unwrap() {
	n := len(s.Up)
	if n < 2 {
		return
	}
	first, last := s.Up[0].node.GetTransactionStmt(), s.Up[n-1].node.GetTransactionStmt()
	if first != nil && last != nil && isBegin(first) && isCommit(last) {
		s.Up = s.Up[1 : n-1]
		setScopes(s.Up)
	}
}

// Above is the scripts behind a version: goose's number, or the vendor's own; "" is all. The version must be one of them.
func (s *Source) Above(from string) ([]*Script, error) {
	if from == "" {
		return s.Scripts, nil
	}
	for i, script := range s.Scripts {
		v := version(script.Target())
		if script.vendor == from || script.vendor == "" && v > 0 && strconv.FormatInt(v, 10) == strings.TrimLeft(from, "0") {
			return s.Scripts[i+1:], nil
		}
	}
	return nil, fmt.Errorf("no migration has version %s", from)
}
