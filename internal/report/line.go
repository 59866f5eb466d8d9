package report

import (
	"strings"
	"unicode"
)

// Plain makes text of others (errors of a server, notes) safe to print: one line, no control characters. An escape
// sequence in it could otherwise repaint the terminal of whoever reads it.
func Plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}
