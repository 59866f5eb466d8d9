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
	// DbmateFormat has "-- migrate:up", SQLMigrateFormat "-- +migrate Up"; GolangMigrateFormat is pairs <version>_<title>.up.sql and
	// .down.sql, which look like plain ones, and so are never guessed.
	DbmateFormat        Format = "dbmate"
	SQLMigrateFormat    Format = "sql-migrate"
	GolangMigrateFormat Format = "golang-migrate"
)

// Formats lists them for a message.
func Formats() []string {
	var names []string
	for _, f := range []Format{GooseFormat, PlainFormat, PopFormat, DbmateFormat, SQLMigrateFormat, GolangMigrateFormat} {
		names = append(names, string(f))
	}
	return names
}

// Migrations is a folder of migrations, in the order in which they run.
type Migrations struct {
	Format  Format
	Scripts []*Script
}

// ReadFolder reads the migrations in fsys's top folder; format "" finds out which they are. The error of a file that
// can't be read as Postgres' SQL is an [*Error].
func ReadFolder(fsys fs.FS, format Format) (*Migrations, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	files := map[string]string{}
	var dirs, others []string
	for _, e := range entries {
		if below, err := fs.Glob(fsys, e.Name()+"/*.sql"); e.IsDir() && err == nil && len(below) > 0 {
			dirs = append(dirs, below[0])
		} else if !e.IsDir() && path.Ext(e.Name()) != ".sql" {
			others = append(others, e.Name())
		}
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
		return nil, empty(dirs)
	}
	if format == "" {
		format = guess(files)
	}
	s := &Migrations{Format: format}
	switch format {
	case GooseFormat:
		s.Scripts, err = gooseFolder(files)
	case PlainFormat:
		if err = strangers(dirs, others, files); err == nil {
			s.Scripts, err = plainFolder(files)
		}
	case DbmateFormat:
		s.Scripts, err = vendorFolder(files, format, dbmateMarker, func(_, digits string) string { return digits })
	case SQLMigrateFormat:
		s.Scripts, err = vendorFolder(files, format, sqlMigrateMarker, func(name, _ string) string { return name })
	case GolangMigrateFormat:
		s.Scripts, err = golangFolder(files)
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

// empty says what a folder without files may be.
func empty(dirs []string) error {
	e := &Error{File: ".", Msg: "the folder has no .sql file", Try: "folders below it are not looked at"}
	if len(dirs) > 0 {
		switch path.Base(dirs[0]) {
		case "migration.sql":
			e.Msg, e.Try = "the folder is Prisma's or Drizzle's: a folder for each migration ("+dirs[0]+")", "use the vendor's own command (command: …), or copy the files into one folder, numbered"
		case "up.sql", "down.sql":
			e.Msg, e.Try = "the folder is diesel's: a folder for each migration ("+dirs[0]+")", "use the vendor's own command (command: …), or copy the up.sql files into one folder, numbered"
		default:
			e.Try = "folders below it are not looked at, such as that of " + dirs[0]
		}
	}
	return e
}

// Summary says what was read, for people: "dbmate: 41 up, 40 down".
func (s *Migrations) Summary() string {
	up, down := 0, 0
	for _, script := range s.Scripts {
		if script.keep {
			continue
		}
		up++
		if len(script.Down) > 0 {
			down++
		}
	}
	return fmt.Sprintf("%s: %d up, %d down", s.Format, up, down)
}

// Detect finds the format of a folder out by what can't be mistaken: annotations, and pop's names. "": it is goose's, or plain.
func Detect(fsys fs.FS) Format {
	names, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return ""
	}
	fizz, _ := fs.Glob(fsys, "*.fizz")
	files := map[string]string{}
	for _, n := range append(names, fizz...) {
		if b, err := fs.ReadFile(fsys, n); err == nil {
			files[n] = string(b)
		}
	}
	if f := guess(files); f != PlainFormat {
		return f
	}
	return ""
}

var popVersion = regexp.MustCompile(`^\d{14}(\d{6})?_`)

// guess: goose, dbmate and sql-migrate have annotations; pop has dialects or versions of 14 or 20 digits, in all names, and then
// an annotation is one that was left behind from another tool, as in Ory Hydra's; anything else is plain.
func guess(files map[string]string) Format {
	names := sorted(files)
	if len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !IsPopName(name) }) {
		return PopFormat
	}
	pop := false
	for _, name := range names {
		text := files[name]
		for line := range strings.Lines(text) {
			if _, is := annotation(line); is {
				return GooseFormat
			}
			if _, _, is, err := dbmateMarker(line); is || err != nil {
				return DbmateFormat
			}
			if _, _, is, err := sqlMigrateMarker(line); is || err != nil {
				return SQLMigrateFormat
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
// COMMIT around a whole file are taken off: goose brings its own. A file without a number has no version: it can be linted, but
// which files a database has can't be told.
func plainFolder(files map[string]string) ([]*Script, error) {
	downs := map[string]string{}
	var names []string
	numbered := ""
	for _, n := range sorted(files) {
		if path.Ext(n) != ".sql" {
			return nil, fizz(n)
		}
		if stem, is := strings.CutSuffix(n, ".down.sql"); is {
			downs[stem] = n
			continue
		}
		names = append(names, n)
		if plainNumber.MatchString(n) {
			numbered = n
		}
	}
	var scripts []*Script
	for _, n := range names {
		stem := strings.TrimSuffix(strings.TrimSuffix(n, ".sql"), ".up")
		s, err := parsePair(n, files[n], downs[stem], files[downs[stem]])
		if err != nil {
			return nil, err
		}
		s.unwrap()
		// psql runs each statement by itself, and so must we where one wants it.
		s.NoTransaction = slices.ContainsFunc(s.Up, func(st *Statement) bool { return outsideOnly(st.node) })
		s.as = n
		if m := plainNumber.FindStringSubmatch(n); m != nil {
			rest := stem[len(m[0]):]
			if len(rest) > 1 && strings.ContainsRune(".-", rune(rest[0])) && rest[1] >= '0' && rest[1] <= '9' {
				return nil, &Error{File: n, Line: 1, Column: 1, Msg: "whether its version is " + m[2] + " or goes on behind it can't be told", Try: "name files <number>_<text>.sql"}
			}
			if err := s.number(m[2], rest); err != nil {
				return nil, err
			}
		} else if numbered != "" {
			return nil, &Error{File: n, Line: 1, Column: 1, Msg: "its name has no number, though " + numbered + " has one: when it is to be run can't be told", Try: "number it, or put it into another folder"}
		}
		scripts = append(scripts, s)
	}
	if numbered == "" {
		return scripts, nil
	}
	return scripts, inOrder(scripts)
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
func (s *Migrations) Above(from string) ([]*Script, error) {
	if from == "" {
		return s.Scripts, nil
	}
	for i, script := range s.Scripts {
		v := version(script.Target())
		// pop's goose number is only a place.
		if script.vendor == from || s.Format != PopFormat && v > 0 && strconv.FormatInt(v, 10) == strings.TrimLeft(from, "0") {
			return s.Scripts[i+1:], nil
		}
	}
	return nil, fmt.Errorf("no migration has version %s", from)
}
