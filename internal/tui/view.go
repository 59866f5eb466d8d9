package tui

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

// screen lays the lines out: what is safe and what can be typed always have room, then the steps, then the log. It has
// as many lines as the terminal, or fewer.
func (m model) screen() string {
	head, foot := m.head(), m.foot()
	room := max(m.height-len(head)-len(foot), 0)
	var middle []line
	if m.asking == help {
		middle = m.help()
	} else {
		middle = m.middle(room)
	}
	if len(middle) > room {
		middle = middle[:room]
	}
	for len(middle) < room {
		middle = append(middle, nil)
	}
	lines := append(append(head, middle...), foot...)
	if len(lines) > m.height { // a terminal of a few lines: what can be typed is the last to go
		lines = append(lines[:1:1], lines[len(lines)-max(m.height-1, 0):]...)
	}
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l.render(m.width)
	}
	return strings.Join(out, "\n")
}

// head is the title and what is safe.
func (m model) head() []line {
	s := &m.state
	name := report.Plain(s.Name)
	if name == "" {
		name = report.Plain(m.options.Title)
	}
	title := styled(m.paint.bold, "tideover")
	if name != "" {
		title = title.and(styled(m.paint.bold, "  "+name))
	}
	title = title.and(text("  "), styled(m.paint.bold, report.Doing(s)))
	if !s.Started.IsZero() {
		took := m.since(s.Started)
		if !s.Ended.IsZero() {
			took = s.Ended.Sub(s.Started)
		}
		title = title.and(text("  " + report.Took(took)))
	}
	if s.Run != "" {
		title = title.and(styled(m.paint.dim, "  run "+s.Run))
	}
	var holder line
	if s.Holder.Host != "" {
		holder = styled(m.paint.dim, fmt.Sprintf("pid %d on %s", s.Holder.PID, report.Plain(s.Holder.Host)))
	}
	lines := []line{spread(title, holder, m.width)}
	style := m.paint.good
	if s.PastPointOfNoReturn || !m.holdFrom.IsZero() {
		style = m.paint.warn
	}
	standing := report.Standing(s)
	if m.lost {
		style, standing = m.paint.warn, "this screen has missed events and can't tell; ask \"tideover status\""
	}
	safe := wrap(style, "      ", standing, m.width, 2)
	safe[0][0].text = "safe: "
	return append(lines, safe...)
}

// middle is what goes on: the clients' traffic, the switch, the steps, the log.
func (m model) middle(room int) []line {
	var top []line
	if m.traffic != nil {
		top = append(top, m.trafficLine())
	}
	top = append(top, m.cutoverLines()...)
	least := min(len(m.log), 3) // lines of the log that are kept when the steps want all
	spare := room - len(top) - least
	groups := m.steps()
	steps := fold(groups, max(spare, 1), m.paint)
	airy := room-len(top)-len(steps)-least >= 3
	var lines []line
	if airy {
		lines = append(lines, nil)
	}
	if len(top) > 0 {
		lines = append(lines, top...)
		if airy {
			lines = append(lines, nil)
		}
	}
	lines = append(lines, steps...)
	if airy {
		lines = append(lines, nil)
	}
	return append(lines, m.logLines(room-len(lines))...)
}

func (m model) trafficLine() line {
	t := m.traffic
	failed := styled(m.paint.good, "0 failed")
	if t.Failed > 0 {
		failed = styled(m.paint.bad, "✗ "+report.Thousands(t.Failed)+" failed")
	}
	wait := fmt.Sprintf("  %s wait", report.Thousands(t.Held))
	style := lipgloss.Style{}
	if t.Held > 0 {
		style = m.paint.warn
	}
	return text("traffic  "+report.Thousands(t.Requests)+" requests  ").and(failed, styled(style, wait),
		text(fmt.Sprintf("  %s/s  p95 %.1f ms", report.Thousands(int64(t.Rate+0.5)), float64(t.P95.Microseconds())/1000)))
}

// logLines is the end of the log, or what was scrolled back to. A line that is scrolled to is shown in full where there
// is room; the newest is at the bottom.
func (m model) logLines(room int) []line {
	if room <= 0 || len(m.log) == 0 {
		return nil
	}
	entries := m.log[:len(m.log)-min(m.back, len(m.log)-1)]
	var lines []line
	for i := len(entries) - 1; i >= 0 && len(lines) < room; i-- {
		part := m.entryLines(entries[i], m.width)
		if over := len(lines) + len(part) - room; over > 0 {
			if len(lines) > 0 {
				break
			}
			part = part[:room]
		}
		lines = append(part, lines...)
	}
	if m.back > 0 {
		more := styled(m.paint.dim, fmt.Sprintf("         ↓ %d newer (end)", m.back))
		if len(lines) == room {
			lines = lines[:room-1]
		}
		lines = append(lines, more)
	}
	return lines
}

func (m model) entryLines(e entry, width int) []line {
	sign, style := "  ", m.paint.dim
	if e.warn {
		sign, style = "! ", m.paint.warn
	}
	lines := wrap(style, "           ", e.text, width, 3)
	lines[0] = styled(m.paint.dim, e.at.UTC().Format("15:04:05 ")).and(styled(style, sign), lines[0][1:])
	return lines
}

// foot is what the screen asks, and what can be typed.
func (m model) foot() []line {
	var lines []line
	ask := func(style palette, s string) { lines = append(lines, wrap(style.warn, "", s, m.width, 3)...) }
	if m.asking == whetherToStop {
		ask(m.paint, "Stop the run? "+m.whatStoppingDoes())
		return append(lines, styled(m.paint.bold, "y or Ctrl-C: stop   n: go on"))
	}
	keys := "q stop safely   ? help   ↑↓ older, newer"
	if m.options.Leave != nil {
		keys = "q leave, the run goes on   ? help   ↑↓ older, newer"
	}
	switch {
	case m.state.Paused != nil:
		ask(m.paint, fmt.Sprintf("paused by %s; \"tideover continue %s\" has the run go on", report.Plain(m.state.Paused.By), report.Plain(m.state.Runbook)))
	case m.stopping && !m.state.Phase.IsStopped():
		ask(m.paint, "stopping: the step under way is being put down in order")
	case m.state.Phase.Ended():
		ask(m.paint, "the run has ended; the report is being made")
	case m.state.Phase.IsStopped() && m.state.Stopped != nil:
		ask(m.paint, "stopped; go on with: "+report.Plain(m.state.Stopped.Next))
	case m.state.Gate != nil && m.approved == (gate{m.state.Gate.Step, m.state.Gate.Since}):
		ask(m.paint, "approved; the run goes on in a moment")
	case m.state.Gate != nil:
		ask(m.paint, fmt.Sprintf("? %s, for %s now. Press a to approve.", report.Plain(m.state.Gate.Reason), report.Took(m.since(m.state.Gate.Since))))
		keys = "a approve   " + keys
	}
	if m.flash != "" {
		lines = append(lines, styled(m.paint.warn, m.flash))
	}
	return append(lines, styled(m.paint.dim, keys))
}

// whatStoppingDoes says what a yes leads to.
func (m model) whatStoppingDoes() string {
	s := &m.state
	resume := fmt.Sprintf("Go on later with \"tideover resume %s\".", s.Runbook)
	switch {
	case s.Phase.GoesBack():
		return fmt.Sprintf("The way back is left half way. Finish it later with \"tideover rollback %s\".", s.Runbook)
	case s.Phase == journal.Committing:
		return "The switch is past the point of no return and not complete: requests may wait until it is. Better let it end. " + resume
	case s.Phase == journal.Switching:
		return "The switch is called off, and blue goes on serving. " + resume
	case s.PastPointOfNoReturn:
		return "Green goes on serving. The step under way is put down in order. " + resume
	}
	return "Blue goes on serving. The step under way is put down in order, nothing is lost. " + resume
}

func (m model) help() []line {
	stop := "q, Ctrl-C  stop safely; asks first, says what happens"
	if m.options.Leave != nil {
		stop = "q, Ctrl-C  leave this screen; the run goes on"
	}
	rows := []string{
		"a          approve the step that waits",
		stop,
		"↑↓ PgUp PgDn Home End  older and newer lines of the log",
		"· to come  ▸ at work  ✓ done  ✗ failed  ? waits",
		"◂ being taken back  ○ taken back  ! warning",
		"Elsewhere: tideover status, tideover approve",
		"Closing this terminal loses nothing: resume goes on",
	}
	var lines []line
	for _, r := range rows {
		lines = append(lines, text("  "+r))
	}
	return lines
}
