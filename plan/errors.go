package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a file that a person wrote. Line and Column count from 1; 0 means the file as a whole.
// Neither Msg nor Hint ever contains a value that came from the environment, or the text of a DSN or token.
type Error struct {
	File   string
	Line   int
	Column int
	Field  string // such as "steps[3].jobs"; empty: the file as a whole
	Msg    string
	Way    string // what to do about it
}

// Error is "demo.yaml:12:5: steps[3].jobs: …", the form that editors jump to.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Field != "" {
		b.WriteString(": " + e.Field)
	}
	b.WriteString(": " + e.Msg)
	return b.String()
}

// Hint says what to do about the mistake.
func (e *Error) Hint() string { return e.Way }

// Errors is every mistake that was found in one file, in the file's order. It is never empty when returned as an error.
type Errors []*Error

// Error has one line for each mistake, and an indented line for its hint.
func (es Errors) Error() string {
	lines := make([]string, 0, 2*len(es))
	for _, e := range es {
		lines = append(lines, e.Error())
		if e.Way != "" {
			lines = append(lines, "    hint: "+e.Way)
		}
	}
	return strings.Join(lines, "\n")
}

// Hint is empty: every line of Error brings its own.
func (es Errors) Hint() string { return "" }

// Unwrap lets errors.As find the first *Error.
func (es Errors) Unwrap() []error {
	all := make([]error, len(es))
	for i, e := range es {
		all[i] = e
	}
	return all
}

// orNil sorts the mistakes by place and gives nil if there are none.
func (es Errors) orNil() error {
	if len(es) == 0 {
		return nil
	}
	es.Sort()
	return es
}

// Sort puts the mistakes into the order of the file.
func (es Errors) Sort() {
	slices.SortStableFunc(es, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}
