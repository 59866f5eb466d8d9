package tui

import (
	"slices"
	"strings"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

// staticWarnings is how many warnings are left on the normal screen, the newest.
const staticWarnings = 10

// static is what stays on the normal screen: the last state of the run without colours, what to type next where the run
// has not ended, and the summary.
func (m model) static(summary string) string {
	m.paint = palette{}
	m.width = max(m.width, 40)
	lines := append(m.head(), nil)
	lines = append(lines, flatten(m.steps())...)
	var warnings []entry
	for _, e := range m.log {
		if e.warn && !m.isShownError(e.text) {
			warnings = append(warnings, e)
		}
	}
	if len(warnings) > 0 {
		lines = append(lines, nil)
		for _, e := range warnings[max(0, len(warnings)-staticWarnings):] {
			lines = append(lines, m.entryLines(e, m.width)...)
		}
	}
	if s := &m.state; s.Seq > 0 && !s.Phase.Ended() {
		lines = append(lines, nil, text("type next: "+report.Plain(report.Next(s, nil))))
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.render(m.width) + "\n")
	}
	if summary != "" {
		b.WriteString("\n" + strings.TrimRight(summary, "\n") + "\n")
	}
	return b.String()
}

// isShownError says that a line of the log is the error of a step that the list of steps shows.
func (m model) isShownError(text string) bool {
	return slices.ContainsFunc(m.state.Steps, func(st journal.StepState) bool { return st.Error != "" && report.StepError(st) == text })
}
