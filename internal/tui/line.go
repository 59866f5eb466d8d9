package tui

import (
	"strings"

	"charm.land/lipgloss/v2"
)

// palette is the styles of the screen. The zero value has none.
type palette struct {
	bold, dim, good, warn, bad lipgloss.Style
}

// colours are the terminal's own sixteen, so that they fit its theme.
func colours() palette {
	s := lipgloss.NewStyle
	return palette{
		bold: s().Bold(true), dim: s().Faint(true), good: s().Foreground(lipgloss.Green),
		warn: s().Foreground(lipgloss.Yellow), bad: s().Bold(true).Foreground(lipgloss.Red),
	}
}

// line is one line of the screen: pieces of plain text with a style each. It is cut to the width before it is styled,
// so that no escape sequence is ever cut.
type line []piece

type piece struct {
	style lipgloss.Style
	text  string
}

func text(s string) line                         { return line{{text: s}} }
func styled(style lipgloss.Style, s string) line { return line{{style, s}} }

func (l line) and(more ...line) line {
	joined := append(line(nil), l...)
	for _, m := range more {
		joined = append(joined, m...)
	}
	return joined
}

func (l line) width() int {
	n := 0
	for _, p := range l {
		n += lipgloss.Width(p.text)
	}
	return n
}

// render cuts the line to a width, with … where something is missing. It ends in no space.
func (l line) render(width int) string {
	if l.width() > width {
		l = l.clip(width - 1).and(text("…"))
	}
	for len(l) > 0 {
		last := &l[len(l)-1]
		trimmed := strings.TrimRight(last.text, " ")
		if trimmed != "" {
			l = append(l[:len(l)-1:len(l)-1], piece{last.style, trimmed})
			break
		}
		l = l[:len(l)-1]
	}
	var b strings.Builder
	for _, p := range l {
		if p.text != "" {
			b.WriteString(p.style.Render(p.text))
		}
	}
	return b.String()
}

func (l line) clip(width int) line {
	var cut line
	for _, p := range l {
		s := clip(p.text, width)
		cut = append(cut, piece{p.style, s})
		if s != p.text {
			break
		}
		width -= lipgloss.Width(s)
	}
	return cut
}

// clip is the longest beginning of s that is at most width cells wide.
func clip(s string, width int) string {
	if lipgloss.Width(s) <= width {
		return s
	}
	n := 0
	for i, r := range s {
		n += lipgloss.Width(string(r))
		if n > width {
			return s[:i]
		}
	}
	return s
}

// spread puts right at the right edge, where there is room for it.
func spread(left, right line, width int) line {
	gap := width - left.width() - right.width()
	if gap < 2 {
		return left
	}
	return left.and(text(strings.Repeat(" ", gap)), right)
}

// wrap breaks text into at most so many lines of a width, each after indent; most 0 is no limit.
func wrap(style lipgloss.Style, indent, s string, width, most int) []line {
	room := max(width-lipgloss.Width(indent), 10)
	parts := strings.Split(lipgloss.Wrap(s, room, " "), "\n")
	if most > 0 && len(parts) > most {
		parts[most-1] = clip(strings.TrimRight(parts[most-1], " "), room-1) + "…"
		parts = parts[:most]
	}
	lines := make([]line, len(parts))
	for i, part := range parts {
		lines[i] = text(indent).and(styled(style, strings.TrimRight(part, " ")))
	}
	return lines
}

// bar is a progress bar of n cells: part is 0 to 1.
func bar(part float64, n int) string {
	full := int(min(max(part, 0), 1) * float64(n))
	return strings.Repeat("█", full) + strings.Repeat("░", n-full)
}
