package sqlrewrite

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// layout is a tool's way to keep migrations in a folder, and to note in a database which of them it has.
type layout struct {
	name Format
	// claims is the sign by which a folder is this tool's, which no other tool's has; "": there is none. nil: the folder looks like
	// others', and so is never guessed.
	claims func(*tree) string
	below  bool // the files are in folders below
	read   func(*tree) ([]*Script, error)
	// places: versions aren't numbers, so that goose's files are numbered by their places.
	places  bool
	records *Records // nil: goose's table
	// onlyRead says why a run is refused: the files can be looked at, rewritten and proved.
	onlyRead string
}

// layouts are all of them, in the order in which messages name them.
func layouts() []*layout {
	return []*layout{gooseLayout(), plainLayout(), popLayout(), dbmateLayout(), sqlMigrateLayout(), golangMigrateLayout(),
		dieselLayout(), prismaLayout(), sqlxLayout(), flywayLayout(), ternLayout(), nodePgMigrateLayout(), drizzleLayout(), atlasLayout(), liquibaseLayout(), sqitchLayout()}
}

func layoutOf(format Format) *layout {
	for _, l := range layouts() {
		if l.name == format {
			return l
		}
	}
	return nil
}

// tree is what a folder holds.
type tree struct {
	fsys   fs.FS
	files  map[string]string // its own .sql and .fizz, without a byte order mark
	others []string          // its other files
	dirs   []string          // the folders in it that aren't hidden
	below  []string          // of each folder in it that has any, the first .sql file

	placeholders map[string]string // what Flyway's ${name} stand for
}

func readTree(fsys fs.FS) (*tree, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	t := &tree{fsys: fsys, files: map[string]string{}}
	for _, e := range entries {
		ext := path.Ext(e.Name())
		switch {
		case e.IsDir():
			if !strings.HasPrefix(e.Name(), ".") {
				t.dirs = append(t.dirs, e.Name())
			}
			if sub, err := fs.Sub(fsys, e.Name()); err == nil {
				if list, err := fs.Glob(sub, "*.sql"); err == nil && len(list) > 0 {
					t.below = append(t.below, e.Name()+"/"+list[0])
				}
			}
		case ext == ".sql" || ext == ".fizz":
			b, err := fs.ReadFile(fsys, e.Name())
			if err != nil {
				return nil, fmt.Errorf("migrations: %w", err)
			}
			t.files[e.Name()] = withoutMark(b)
		default:
			t.others = append(t.others, e.Name())
		}
	}
	return t, nil
}

// withoutMark takes off a byte order mark, which means nothing in UTF-8.
func withoutMark(b []byte) string { return strings.TrimPrefix(string(b), "\ufeff") }

// layout finds out whose folder it is: by the one tool that claims it. Without a claim it is plain.
func (t *tree) layout() (*layout, error) {
	var claimed []*layout
	var signs []string
	for _, l := range layouts() {
		if l.claims == nil {
			continue
		}
		if sign := l.claims(t); sign != "" {
			claimed, signs = append(claimed, l), append(signs, fmt.Sprintf("%s's by %s", l.name, sign))
		}
	}
	if t.onlyPop() && popClaims(t) != "" { // an annotation is one that was left behind from another tool, as in Ory Hydra's
		return popLayout(), nil
	}
	switch len(claimed) {
	case 0:
		if names := sorted(t.files); slices.ContainsFunc(names, likePop) {
			return nil, &Error{File: names[slices.IndexFunc(names, likePop)], Msg: "whose folder it is can't be told: pop, golang-migrate and sqlx name files so",
				Try: "say format: pop, format: golang-migrate or format: sqlx"}
		}
		return plainLayout(), nil
	case 1:
		return claimed[0], nil
	}
	var say []string
	for _, l := range claimed {
		say = append(say, "format: "+string(l.name))
	}
	return nil, &Error{File: ".", Msg: "whose folder it is can't be told: it is " + strings.Join(signs, ", and "), Try: "say " + strings.Join(say, " or ")}
}

// annotated is the first file that has a line which is says something of; "": none has.
func (t *tree) annotated(is func(line string) bool) string {
	for _, n := range sorted(t.files) {
		for line := range strings.Lines(t.files[n]) {
			if is(line) {
				return fmt.Sprintf("%q in %s", strings.TrimSpace(line), n)
			}
		}
	}
	return ""
}

// empty says what a folder without files may be.
func (t *tree) empty() error {
	e := &Error{File: ".", Msg: "the folder has no .sql file", Try: "folders below it are not looked at"}
	if len(t.below) > 0 {
		e.Try = "folders below it are not looked at, such as that of " + t.below[0]
		switch path.Base(t.below[0]) {
		case "migration.sql":
			e.Msg, e.Try = "a folder for each migration ("+t.below[0]+") is Prisma's or Drizzle's: whose can't be told without migration_lock.toml", "say format: prisma if it is Prisma's; Drizzle's are read where they have meta/_journal.json, else use its own command (command: …)"
		case "up.sql", "down.sql":
			e.Msg, e.Try = "a folder for each migration ("+t.below[0]+") is diesel's or Hasura's: whose can't be told by its name", "say format: diesel if it is diesel's; for Hasura's use its own command (command: …)"
		}
	}
	return e
}

// read gives a file as it is, for checksums, and as text.
func (t *tree) read(name string) (raw, text string, _ error) {
	b, err := fs.ReadFile(t.fsys, name)
	if err != nil {
		return "", "", fmt.Errorf("migrations: %w", err)
	}
	return string(b), withoutMark(b), nil
}

// names lists a folder below: all but what is hidden, which is counted.
func (t *tree) names(dir string) (list []string, hidden int, _ error) {
	entries, err := fs.ReadDir(t.fsys, dir)
	if err != nil {
		return nil, 0, fmt.Errorf("migrations: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			hidden++
		} else {
			list = append(list, e.Name())
		}
	}
	return list, hidden, nil
}

// withDown gives a script the way back that stands in a text of its own.
func (s *Script) withDown(name, text string) {
	d, err := Parse(name, text)
	if err != nil {
		s.brokenDown = err
		return
	}
	s.Down = d.Up
}

// asSent is for tools that send a file in one piece. Several statements are one transaction to Postgres then, whether the tool begins one
// or not (outside); one alone is not.
func (s *Script) asSent(outside bool) {
	s.unwrap()
	s.NoTransaction = outside && len(s.Up) == 1
}

func sorted(files map[string]string) []string {
	var names []string
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// parsePair parses the two directions of a migration that stand in two files. A way back that can't be read doesn't stop the way forth.
func parsePair(upName, up, downName, down string) (*Script, error) {
	s, err := Parse(upName, up)
	if err != nil {
		return nil, err
	}
	if s.Goose {
		return nil, &Error{File: upName, Line: 1, Column: 1, Msg: "it has goose's annotations, though its name is another format's", Try: "say --input goose"}
	}
	if downName != "" {
		s.withDown(downName, down)
	}
	return s, nil
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

// byPlace names the goose files that scripts become by their places, where versions aren't numbers that goose could have. The vendor's
// own version is in the name, and in the vendor's table; the place counts only while a migration is under way.
func byPlace(scripts []*Script, titleOf func(*Script) string) {
	for i, s := range scripts {
		title := strings.Map(func(r rune) rune {
			if strings.ContainsRune(`/\:*?"<>| `, r) || r < ' ' {
				return '_'
			}
			return r
		}, titleOf(s))
		s.as = fmt.Sprintf("%05d_%s.sql", i+1, title)
	}
}

// twice is the error of two files of one version.
func twice(name, other string) error {
	return &Error{File: name, Line: 1, Column: 1, Msg: "it has the same version as " + other, Try: "give it a number of its own"}
}

// refused is an error about a file as a whole.
func refused(name, msg, try string) error {
	return &Error{File: name, Line: 1, Column: 1, Msg: msg, Try: try}
}
