package sqlrewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sectioned parses a file whose directions stand one below the other. marker tells of a line whether it begins one.
func sectioned(name, text string, marker func(line string) (direction string, noTx, is bool, err error)) (*Script, error) {
	var up, down strings.Builder
	var into *strings.Builder
	s, offset, begun := &Script{Name: name, text: text}, 0, map[string]bool{}
	for line := range strings.Lines(text) {
		direction, noTx, is, err := marker(line)
		switch {
		case err != nil:
			return nil, failure(name, text, offset, err.Error(), "write it as its tool's manual says")
		case is && direction != "":
			if begun[direction] || direction == "up" && begun["down"] {
				return nil, failure(name, text, offset, "a second section of its kind, or one in the wrong place: "+strings.TrimSpace(line), "one file for each migration")
			}
			begun[direction] = true
			into = map[string]*strings.Builder{"up": &up, "down": &down}[direction]
			s.NoTransaction = s.NoTransaction || noTx && direction == "up"
		}
		for _, b := range []*strings.Builder{&up, &down} {
			if b == into && !is {
				b.WriteString(line)
			} else {
				b.WriteString(blanked(line))
			}
		}
		if into == nil && !is {
			if list, err := statements(name, line); err != nil || len(list) > 0 {
				if t := strings.TrimSpace(line); !strings.HasPrefix(t, "--") {
					return nil, failure(name, text, offset, "SQL before the first section", "put it below the line that begins the section")
				}
			}
		}
		offset += len(line)
	}
	if !begun["up"] {
		return nil, &Error{File: name, Line: 1, Column: 1, Msg: "it has no section of what is to be run, though other files have one", Try: "begin it as the others do"}
	}
	var err error
	if s.Up, err = statements(name, up.String()); err != nil {
		return nil, err
	}
	if s.Down, err = statements(name, down.String()); err != nil {
		return nil, err
	}
	setScopes(s.Up)
	setScopes(s.Down)
	return s, nil
}

var leadingNumber = regexp.MustCompile(`^(\d+)(.*)\.sql$`)

// vendorFolder reads files of both directions in the order of their numbers; vendor is what the tool's own table has of one.
func vendorFolder(t *tree, l *layout, marker func(string) (string, bool, bool, error), vendor func(name, digits string) string) ([]*Script, error) {
	var scripts []*Script
	for _, n := range sorted(t.files) {
		m := leadingNumber.FindStringSubmatch(n)
		if m == nil {
			return nil, &Error{File: n, Line: 1, Column: 1, Msg: "its name has no version that " + string(l.name) + " understands", Try: "name files <number>_<text>.sql"}
		}
		s, err := sectioned(n, t.files[n], marker)
		if err != nil {
			return nil, err
		}
		if err := s.number(m[1], m[2]); err != nil {
			return nil, err
		}
		s.vendor = vendor(n, m[1])
		if err := s.record(l.records.up, l.records.down); err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	return scripts, inOrder(scripts)
}

// number names the goose file that a script becomes: by the vendor's own number, never by its place among others, which changes
// when a file comes between.
func (s *Script) number(digits, rest string) error {
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v < 1 {
		return &Error{File: s.Name, Line: 1, Column: 1, Msg: "its version " + digits + " can't be kept: it must be from 1 to 9223372036854775807", Try: "number the files anew"}
	}
	title := strings.Trim(rest, "_-. ")
	if title == "" {
		title = "migration"
	}
	s.as = fmt.Sprintf("%d_%s.sql", v, title)
	return nil
}

// inOrder sorts by version, and refuses two of one.
func inOrder(scripts []*Script) error {
	slices.SortStableFunc(scripts, func(a, b *Script) int { return int(max(-1, min(1, version(a.Target())-version(b.Target())))) })
	for i := 1; i < len(scripts); i++ {
		if version(scripts[i].Target()) == version(scripts[i-1].Target()) {
			return &Error{File: scripts[i].Name, Line: 1, Column: 1, Msg: "it has the same version as " + scripts[i-1].Name, Try: "give it a number of its own"}
		}
	}
	return nil
}
