package plan

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxBytes = 128 << 10 // of a runbook or profile; the parser takes seconds for a hostile file above it
	maxDepth = 16        // of nested lists and maps within one line or one pair of brackets
)

// document parses the bytes of a file into one YAML mapping. The subset of YAML is the one that a person can follow at
// 4 a.m.: one document, no anchors, aliases, merge keys, tags or directives.
func document(file string, data []byte) (ast.Node, error) {
	fail := func(line, column int, msg, way string) error {
		return Errors{{File: file, Line: line, Column: column, Msg: msg, Way: way}}
	}
	if len(data) > maxBytes {
		return nil, fail(0, 0, fmt.Sprintf("larger than %d KiB", maxBytes>>10), "is this the right file?")
	}
	if bytes.HasPrefix(data, []byte{0xFF, 0xFE}) || bytes.HasPrefix(data, []byte{0xFE, 0xFF}) {
		return nil, fail(0, 0, "is UTF-16", "save it as UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if line, bad := control(data); bad {
		return nil, fail(line, 1, "not a text file in UTF-8", "is this the right file?")
	}
	tokens := lexer.Tokenize(string(data))
	if errs := refused(file, tokens); len(errs) > 0 {
		return nil, errs.orNil()
	}
	// Duplicate keys are left to the decoder, which finds all of them.
	parsed, err := parse(tokens)
	if err != nil {
		return nil, syntaxError(file, data, err)
	}
	var docs []*ast.DocumentNode
	for _, d := range parsed.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType {
			docs = append(docs, d)
		}
	}
	switch len(docs) {
	case 0:
		return nil, fail(0, 0, "is empty", "`tideover init` writes a runbook to start from")
	case 1:
		return docs[0].Body, nil
	}
	line, column := place(docs[1].Body)
	return nil, fail(line, column, "a second YAML document begins here", "keep one document in the file: remove what follows the `---`")
}

// parse turns a panic of the parser into an error: what it is given was written by hand, and a broken file must not
// look like a broken program.
func parse(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the YAML parser gave up on it")
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// control finds the first line that is not UTF-8 or has a control character in it.
func control(data []byte) (line int, bad bool) {
	line = 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == '\n':
			line++
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\t' && r != '\r':
			return line, true
		}
		data = data[size:]
	}
	return 0, false
}

// refused lists the parts of YAML that are not taken. The depth is bounded here because the parser's memory grows with
// its square.
func refused(file string, tokens token.Tokens) Errors {
	var (
		errs       Errors
		flow, row  int
		line       int
		tooDeep    bool
		unwelcomed = map[token.Type]string{
			token.AnchorType: "an anchor", token.AliasType: "an alias", token.MergeKeyType: "a merge key",
			token.TagType: "a tag", token.DirectiveType: "a directive",
		}
	)
	for _, tk := range tokens {
		if what, ok := unwelcomed[tk.Type]; ok {
			delete(unwelcomed, tk.Type) // the first of each is enough: a thousand of them are one mistake
			errs = append(errs, &Error{
				File: file, Line: tk.Position.Line, Column: tk.Position.Column,
				Msg: what + " is not taken here",
				Way: "write the value out; text that begins with one of & * ! % goes in quotes",
			})
		}
		if tk.Position.Line != line {
			line, row = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			row++
		}
		if (flow > maxDepth || row > maxDepth) && !tooDeep {
			tooDeep = true
			errs = append(errs, &Error{
				File: file, Line: tk.Position.Line, Column: tk.Position.Column,
				Msg: fmt.Sprintf("nested more than %d deep", maxDepth), Way: "is this the right file?",
			})
		}
	}
	return errs
}

var quotedText = regexp.MustCompile(`"[^"]*"`)

// syntaxError rewrites the parser's error. Its own text quotes the source around the mistake, which can be a password.
func syntaxError(file string, data []byte, err error) error {
	e := &Error{File: file, Msg: "not YAML: the YAML parser gave up on it", Way: "check indentation, colons and quotes"}
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		e.Msg = "not YAML: " + quotedText.ReplaceAllString(syntax.GetMessage(), "…")
		if tk := syntax.GetToken(); tk != nil && tk.Position != nil {
			e.Line, e.Column = tk.Position.Line, tk.Position.Column
		}
	}
	if lines := bytes.Split(data, []byte("\n")); e.Line > 0 && e.Line <= len(lines) {
		text := lines[e.Line-1]
		if bytes.ContainsRune(text[:len(text)-len(bytes.TrimLeft(text, " \t"))], '\t') {
			e.Way = "YAML is indented with spaces: replace the tab"
		}
	}
	return Errors{e}
}

// place is where a node begins.
func place(n ast.Node) (line, column int) {
	tk := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		tk = m.Values[0].Key.GetToken()
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		tk = m.Key.GetToken()
	}
	if tk == nil || tk.Position == nil {
		return 0, 0
	}
	return tk.Position.Line, tk.Position.Column
}
