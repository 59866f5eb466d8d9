package sqlrewrite

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is a script that can't be read, and the place.
type Error struct {
	File   string
	Line   int // from 1; 0: the script as a whole
	Column int // in characters, from 1
	Msg    string
	Try    string // see Hint
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// Hint is what the author of the script can do about it; it may be empty.
func (e *Error) Hint() string { return e.Try }

// place turns a byte offset into a line and a column in characters, both from 1.
func place(text string, offset int) (line, column int) {
	before := text[:min(max(offset, 0), len(text))]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1
}

// byteOffset is the offset of the nth character, counted from 1 as Postgres' error positions are.
func byteOffset(text string, n int) int {
	for i := range text {
		if n--; n <= 0 {
			return i
		}
	}
	return len(text)
}
