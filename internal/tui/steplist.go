package tui

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

const (
	// freshFor is how long after its last progress a finished step is shown to go on in the background, as replay does.
	freshFor = 10 * time.Second
	// quietAfter is when a step that shows no progress loses its ETA: the old one would hide that it hangs.
	quietAfter = 15 * time.Second
)

// group is a step's lines: the first, and what is told below it.
type group struct {
	id     string
	status journal.StepStatus
	focus  bool // it must be seen
	lines  []line
}

func (m model) steps() []group {
	wide := 0
	for _, st := range m.state.Steps {
		wide = max(wide, lipgloss.Width(st.ID))
	}
	wide = min(wide, 24)
	groups := make([]group, 0, len(m.state.Steps))
	for _, st := range m.state.Steps {
		groups = append(groups, m.step(st, wide))
	}
	if current, ok := m.state.Current(); ok {
		focused := false
		for _, g := range groups {
			focused = focused || g.focus
		}
		for i := range groups {
			groups[i].focus = groups[i].focus || !focused && groups[i].id == current.ID
		}
	}
	return groups
}

func (m model) step(st journal.StepState, wide int) group {
	g := group{id: st.ID, status: st.Status}
	name := clip(st.ID, wide)
	row := styled(m.signStyle(st.Status), report.Sign(st.Status)+" ").
		and(text(name + strings.Repeat(" ", wide-lipgloss.Width(name)) + "  "))
	const below = "    "
	switch st.Status {
	case journal.StepIsPending:
		row[0].style = m.paint.dim
		row[1].style = m.paint.dim
	case journal.StepIsRunning:
		g.focus = true
		if m.state.Phase.IsStopped() {
			row = row.and(text("begun, not finished"))
			break
		}
		row = row.and(text(fmt.Sprintf("%6s  ", report.Took(m.since(m.begun[st.ID])))))
		row = row.and(m.progress(st, m.width-row.width()))
		if note := report.Plain(st.Progress.Note); note != "" {
			g.lines = append(g.lines, styled(m.paint.dim, below+note))
		}
		for _, part := range st.Progress.Parts {
			g.lines = append(g.lines, styled(m.paint.dim, below+report.Plain(part.Name)+"  "+report.HowFar(part.Done, part.Total, part.Rows, part.LeftS)))
		}
	case journal.StepIsWaiting:
		g.focus = true
		row = row.and(styled(m.paint.warn, "waits for approval"))
	case journal.StepIsFinished:
		took := fmt.Sprintf("%6s", report.Took(time.Duration(st.Seconds*float64(time.Second))))
		if st.AlreadyDone {
			took = "was done already"
		}
		row = row.and(text(took), styled(m.paint.dim, m.aftermath(st)))
	case journal.StepIsFailed:
		g.focus = true
		row = row.and(styled(m.paint.bad, "failed"))
	case journal.StepIsUndoing:
		g.focus = true
		row = row.and(styled(m.paint.warn, "being taken back"))
	case journal.StepIsUndone:
		row = row.and(text("taken back"))
	}
	if st.Error != "" {
		g.lines = append(g.lines, wrap(m.paint.bad, below, report.StepError(st), m.width, 3)...)
		if st.Hint != "" {
			g.lines = append(g.lines, wrap(lipgloss.Style{}, below, "hint: "+report.Plain(st.Hint), m.width, 3)...)
		}
	}
	g.lines = append([]line{row}, g.lines...)
	return g
}

func (m model) signStyle(status journal.StepStatus) lipgloss.Style {
	switch status {
	case journal.StepIsFinished:
		return m.paint.good
	case journal.StepIsFailed:
		return m.paint.bad
	case journal.StepIsRunning:
		return m.paint.bold
	}
	return m.paint.warn
}

// aftermath is what a finished step still has to say.
func (m model) aftermath(st journal.StepState) string {
	if at, ok := m.seen[st.ID]; ok && m.now.Sub(at) < freshFor && !m.state.Phase.Ended() && !m.state.Phase.IsStopped() {
		if note := report.Plain(st.Progress.Note); note != "" {
			return "  goes on: " + note
		}
	}
	if c := m.state.Cutover; c.Step == st.ID && c.Last == journal.CutoverReleased {
		return fmt.Sprintf("  writes waited %s ms", report.Thousands(c.HoldMS))
	}
	return ""
}

// progress is the bar and the figures of a step at work, as many as fit; ETA before rate, rate before count.
func (m model) progress(st journal.StepState, room int) line {
	p, pace := st.Progress, m.paces[st.ID]
	if p.Done == 0 && p.Total == 0 {
		return nil
	}
	var figures []string
	if p.Total > 0 {
		figures = append(figures, fmt.Sprintf("%3d%%", min(100, max(0, int(float64(p.Done)/float64(p.Total)*100)))))
	}
	if quiet := m.now.Sub(m.seen[st.ID]); quiet > quietAfter {
		figures = append(figures, "nothing new for "+report.Took(quiet))
	} else {
		if left, ok := pace.eta(p.Total); ok {
			figures = append(figures, "ETA "+report.Took(left))
		}
		if rate := pace.rate(); rate > 0 && p.Done != p.Total {
			figures = append(figures, amount(int64(rate+0.5), p.Unit)+"/s")
		}
	}
	count := amount(p.Done, p.Unit)
	if p.Total > 0 {
		count = fmt.Sprintf("%s of %s", amount(p.Done, ""), amount(p.Total, p.Unit))
		if p.Unit == "bytes" {
			count = fmt.Sprintf("%s of %s", report.Bytes(p.Done), report.Bytes(p.Total))
		}
	}
	figures = append(figures, count)
	if p.Rows > 0 && p.Unit == "bytes" {
		figures = append(figures, report.Thousands(p.Rows)+" rows")
	}
	// The bar's width depends on the room alone: it must not jump when a figure gets longer.
	cells := min(max(room/4, 8), 30)
	if p.Total == 0 {
		cells = 0
	}
	said := ""
	for _, f := range figures {
		if said != "" && cells+lipgloss.Width(said)+2+lipgloss.Width(f) > room {
			break
		}
		said += "  " + f
	}
	if cells == 0 {
		return text(strings.TrimSpace(said))
	}
	return styled(m.paint.good, bar(float64(p.Done)/float64(p.Total), cells)).and(text(said))
}

func amount(n int64, unit string) string {
	switch unit {
	case "":
		return report.Thousands(n)
	case "bytes":
		return report.Bytes(n)
	}
	return report.Thousands(n) + " " + report.Plain(unit)
}

// fold makes the steps fit into so many lines: first those that are done become one line, then those to come, and what
// is told below the others goes last.
func fold(groups []group, room int, paint palette) []line {
	lines := flatten(groups)
	if len(lines) <= room {
		return lines
	}
	groups = foldRun(groups, true, styled(paint.good, report.Sign(journal.StepIsFinished)), "done")
	if lines = flatten(groups); len(lines) <= room {
		return lines
	}
	groups = foldRun(groups, false, styled(paint.dim, report.Sign(journal.StepIsPending)), "to come")
	if lines = flatten(groups); len(lines) <= room {
		return lines
	}
	// The lines of what must be seen come first, as many as there is room for.
	lines = nil
	for _, g := range groups {
		if g.focus {
			lines = append(lines, g.lines...)
		}
	}
	if len(lines) == 0 {
		lines = flatten(groups)
	}
	return lines[:min(len(lines), room)]
}

// foldRun makes one line of the steps before, or after, the first and the last that must be seen.
func foldRun(groups []group, before bool, sign line, word string) []group {
	first, last := len(groups), -1
	for i, g := range groups {
		if g.focus {
			first, last = min(first, i), max(last, i)
		}
	}
	part, rest := groups[:min(first, len(groups))], groups[min(first, len(groups)):]
	if !before {
		part, rest = groups[last+1:], groups[:last+1]
	}
	if len(part) < 2 {
		return groups
	}
	ids := make([]string, len(part))
	for i, g := range part {
		ids[i] = g.id
	}
	one := group{lines: []line{sign.and(text(fmt.Sprintf(" %d %s: %s", len(part), word, strings.Join(ids, ", "))))}}
	if before {
		return append([]group{one}, rest...)
	}
	return append(append([]group(nil), rest...), one)
}

func flatten(groups []group) []line {
	var lines []line
	for _, g := range groups {
		lines = append(lines, g.lines...)
	}
	return lines
}
