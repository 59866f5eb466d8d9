package tui

import "fmt"

// key takes one key. The names are Bubble Tea's.
func (m model) key(key string) model {
	m.flash = ""
	switch m.asking {
	case help:
		m.asking = nothing
		if key != "ctrl+c" {
			return m
		}
	case whetherToStop:
		return m.answer(key)
	}
	switch key {
	case "a":
		return m.approve()
	case "q", "ctrl+c":
		if m.options.Leave != nil {
			m.options.Leave()
			return m
		}
		return m.askToStop()
	case "?", "h":
		m.asking = help
	case "up", "k":
		m.back++
	case "down", "j":
		m.back--
	case "pgup":
		m.back += 10
	case "pgdown":
		m.back -= 10
	case "home":
		m.back = len(m.log)
	case "end", "esc":
		m.back = 0
	}
	m.back = min(max(m.back, 0), max(len(m.log)-1, 0))
	return m
}

func (m model) approve() model {
	if m.state.Gate == nil {
		m.flash = "nothing waits for approval"
		return m
	}
	g := gate{m.state.Gate.Step, m.state.Gate.Since}
	switch {
	case m.options.Approve == nil:
		m.flash = fmt.Sprintf("approve it with \"tideover approve %s\"", m.state.Runbook)
	case m.approved == g:
		m.flash = "approved already"
	default:
		m.approved = g
		m.options.Approve(g.step)
	}
	return m
}

func (m model) askToStop() model {
	switch {
	case m.options.Stop == nil:
		m.flash = "this run can't be stopped from here"
	case m.stopping:
		m.flash = "stopping already; the step under way is being put down in order"
	case m.state.Phase.Ended():
		m.flash = "the run has ended; the report is being made"
	default:
		m.asking = whetherToStop
	}
	return m
}

// answer takes the answer to whether to stop: y, or Ctrl-C again. Another q is no answer, since it may have been held
// down.
func (m model) answer(key string) model {
	switch key {
	case "y", "ctrl+c":
		m.asking = nothing
		if m.stopping || m.state.Phase.Ended() {
			return m
		}
		m.stopping = true
		m.options.Stop()
	case "n", "esc", "enter", "space":
		m.asking = nothing
	}
	return m
}
