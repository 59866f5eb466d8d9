package sqlrewrite

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// PlainFormat is .sql files, also as pairs name.up.sql and name.down.sql.
const PlainFormat Format = "plain"

func plainLayout() *layout { return &layout{name: PlainFormat, read: plainFolder} }

var plainNumber = regexp.MustCompile(`^([A-Za-z]*)(\d+)`)

// plainFolder takes files in the order of their numbers, where all have one, else in the order of their names. BEGIN and
// COMMIT around a whole file are taken off: goose brings its own. A file without a number has no version: it can be linted, but
// which files a database has can't be told.
func plainFolder(t *tree) ([]*Script, error) {
	if err := t.strangers(); err != nil {
		return nil, err
	}
	files := t.files
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
