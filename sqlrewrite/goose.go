package sqlrewrite

import (
	"slices"
	"strings"
)

// GooseFormat is 00001_name.sql with "-- +goose Up".
const GooseFormat Format = "goose"

func gooseLayout() *layout {
	return &layout{name: GooseFormat, claims: func(t *tree) string {
		return t.annotated(func(line string) bool { _, is := annotation(line); return is })
	}, read: gooseFolder}
}

func gooseFolder(t *tree) ([]*Script, error) {
	var scripts []*Script
	for _, n := range sorted(t.files) {
		s, err := Parse(n, t.files[n])
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

const gooseManual = "see https://pressly.github.io/goose/documentation/annotations/"

// sections gives the SQL of Up and of Down, each as long as the whole text: what is not its own is blanked.
func (s *Script) sections() (up, down string, err error) {
	var u, d strings.Builder
	into, inBlock, offset, upAt := (*strings.Builder)(nil), false, 0, 0
	fail := func(msg string) (string, string, error) {
		return "", "", failure(s.Name, s.text, offset, msg, gooseManual)
	}
	for line := range strings.Lines(s.text) {
		word, is := annotation(line)
		if is {
			s.Goose = true
		}
		switch {
		case !is:
		case word == "up":
			if into != nil {
				return fail("a second -- +goose Up")
			}
			into, upAt = &u, offset
		case word == "down":
			if into != &u || inBlock {
				return fail("-- +goose Down has no place here")
			}
			into = &d
			s.down = s.text[offset+len(line):]
		case word == "statementbegin":
			if into == nil || inBlock {
				return fail("-- +goose StatementBegin has no place here")
			}
			inBlock = true
		case word == "statementend":
			if !inBlock {
				return fail("-- +goose StatementEnd without StatementBegin")
			}
			inBlock = false
		case word == "no transaction":
			s.NoTransaction = true
		case strings.HasPrefix(word, "envsub"):
			return fail("ENVSUB: what the SQL means is known only when it runs")
		default:
			return fail("unknown annotation: " + strings.TrimSpace(line))
		}
		blank := blanked(line)
		for _, b := range []*strings.Builder{&u, &d} {
			if b == into && !is {
				b.WriteString(line)
			} else {
				b.WriteString(blank)
			}
		}
		offset += len(line)
	}
	switch {
	case !s.Goose:
		return s.text, "", nil
	case into == nil:
		offset = 0
		return fail("there is no -- +goose Up")
	case inBlock:
		return fail("-- +goose StatementEnd is missing")
	}
	// What stands before Up is no statement of goose's; anything but comments there is a mistake.
	offset = 0
	if list, err := statements(s.Name, s.text[:upAt]); err != nil || len(list) > 0 {
		return fail("SQL before -- +goose Up")
	}
	return u.String(), d.String(), nil
}

// annotation is the words after "+goose", in small letters.
func annotation(line string) (word string, is bool) {
	t := strings.TrimSpace(line)
	if !strings.HasPrefix(t, "--") {
		return "", false
	}
	_, after, is := strings.Cut(t, "+goose")
	return strings.ToLower(strings.TrimSpace(after)), is
}

// blanked keeps line breaks and the count of characters, so that lines and columns stay.
func blanked(line string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return r
		}
		return ' '
	}, line)
}

// manyInBlock: goose sends a block as one query, which Postgres runs as one transaction if it has several statements.
func (s *Script) manyInBlock() bool {
	inBlock, number := false, 0
	starts := map[int]int{}
	for _, st := range append(append([]*Statement(nil), s.Up...), s.Down...) {
		starts[st.Line]++
	}
	count := 0
	for line := range strings.Lines(s.text) {
		number++
		if word, is := annotation(line); is && word == "statementbegin" {
			inBlock, count = true, 0
		} else if is && word == "statementend" {
			inBlock = false
		}
		if inBlock {
			count += starts[number]
		}
		if count > 1 {
			return true
		}
	}
	return false
}

// section is one direction of a goose file.
func section(direction string, list []*Statement) string {
	var b strings.Builder
	b.WriteString("-- +goose " + direction + "\n")
	for _, st := range list {
		// goose cuts at a semicolon that ends a line, unless a block says otherwise.
		if strings.Contains(st.SQL, ";") || strings.Contains(st.SQL, "--") {
			b.WriteString("-- +goose StatementBegin\n" + st.SQL + ";\n-- +goose StatementEnd\n")
		} else {
			b.WriteString(st.SQL + ";\n")
		}
	}
	return b.String()
}
