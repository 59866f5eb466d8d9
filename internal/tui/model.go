package tui

import (
	"fmt"
	"maps"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

// eventsMsg and tickMsg bring the time with them: the model reads no clock.
type eventsMsg struct {
	at     time.Time
	events []journal.Event
}

type tickMsg struct {
	at      time.Time
	traffic *Traffic // nil: as before
}

// asking is what the screen asks, or shows above the rest.
type asking int

const (
	nothing asking = iota
	whetherToStop
	help
)

// model is a value: Update returns a changed copy, and View only reads.
type model struct {
	options       Options
	paint         palette
	width, height int

	state journal.State
	now   time.Time
	// ahead is how far this machine's clock is ahead of the server's, as near as events can tell: the shortest time
	// that one took from there to here.
	ahead    time.Duration
	hasAhead bool

	begun    map[string]time.Time // when each step was last started, the server's time
	paces    map[string]pace
	seen     map[string]time.Time // when each step last showed progress, this machine's time
	holdFrom time.Time            // the server's time; zero while nothing is held
	traffic  *Traffic
	// lost says that events are missing, so that nobody can tell from this screen what is safe.
	lost bool
	log  []entry
	back int // lines that the log is scrolled back

	asking   asking
	stopping bool
	approved gate // the gate that a was pressed at
	flash    string
}

// gate tells one waiting from the next.
type gate struct {
	step  string
	since time.Time
}

// entry is one line of the log.
type entry struct {
	at   time.Time
	warn bool
	text string
}

func newModel(o Options) model {
	m := model{options: o, paint: colours(), width: 80, height: 24, state: o.State,
		begun: map[string]time.Time{}, paces: map[string]pace{}, seen: map[string]time.Time{}}
	if o.NoColor {
		m.paint = palette{}
	}
	for _, st := range m.state.Steps {
		m.begun[st.ID] = st.Started
	}
	for _, n := range m.state.Notes {
		m.log = append(m.log, entry{n.Time, n.Level == "warn", n.Step + ": " + report.Plain(n.Text)})
	}
	return m
}

func (m model) Init() tea.Cmd { return nil }

func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		if msg.Width > 0 && msg.Height > 0 {
			m.width, m.height = msg.Width, msg.Height
		}
	case eventsMsg:
		m = m.take(msg.events, msg.at)
	case tickMsg:
		m.now = msg.at
		if msg.traffic != nil {
			m.traffic = msg.traffic
		}
	case tea.KeyPressMsg:
		m = m.key(msg.String())
	}
	return m, nil
}

func (m model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	return v
}

// take folds events. Apply may fail only where events are missing, such as when the state that the screen began with
// was too old: then the screen says that it can't tell what is safe, and goes on with what it can understand.
func (m model) take(events []journal.Event, at time.Time) model {
	m.now = at
	m.begun, m.paces, m.seen = maps.Clone(m.begun), maps.Clone(m.paces), maps.Clone(m.seen)
	m.state = m.state.Clone()
	for _, e := range events {
		if e.Seq != 0 && e.Seq <= m.state.Seq {
			continue // the state that the screen began with has it
		}
		if e.Seq > m.state.Seq+1 {
			m.lost = true
			m = m.note(entry{e.Time, true, fmt.Sprintf("this screen has missed events %d to %d", m.state.Seq+1, e.Seq-1)})
			m.state.Seq, m.state.Run = e.Seq-1, e.Run
		}
		if err := m.state.Apply(e); err != nil {
			if e.Seq == 0 {
				continue
			}
			m.lost, m.state.Seq = true, e.Seq
			if text := report.Describe(e); text != "" {
				m = m.note(entry{e.Time, false, text})
			}
			continue
		}
		m = m.follow(e)
	}
	return m
}

// follow keeps what the state does not: times, rates, and the log.
func (m model) follow(e journal.Event) model {
	if e.Seq != 0 {
		if ahead := m.now.Sub(e.Time); !m.hasAhead || ahead < m.ahead {
			m.ahead, m.hasAhead = ahead, true
		}
	}
	switch e.Kind {
	case journal.StepStarted, journal.StepUndoing:
		m.begun[e.Step], m.paces[e.Step] = e.Time, pace{}
		delete(m.seen, e.Step)
	case journal.StepProgress:
		at := e.Time
		if at.IsZero() {
			at = m.now
		}
		st, _ := m.state.Step(e.Step)
		m.paces[e.Step] = m.paces[e.Step].add(at, st.Progress.Done)
		m.seen[e.Step] = m.now
	case journal.StepFinished:
		delete(m.seen, e.Step) // what it reports from now on, it does in the background
	case journal.CutoverHolding:
		m.holdFrom = e.Time
	case journal.CutoverReleased, journal.CutoverAborted:
		m.holdFrom = time.Time{}
	}
	if worthALine(e.Kind) {
		warn := e.Kind == journal.StepFailed || e.Kind == journal.CutoverAborting || e.Kind == journal.RunUndoing
		text := report.Describe(e)
		switch e.Kind {
		case journal.RunStopped: // why is with the step that failed
			text = "the run was stopped"
		case journal.StepFailed: // its hint is with the step
			st, _ := m.state.Step(e.Step)
			text = report.StepError(st)
		case journal.StepNote:
			n := m.state.Notes[len(m.state.Notes)-1]
			warn, text = n.Level == "warn", n.Step+": "+report.Plain(n.Text)
		}
		m = m.note(entry{e.Time, warn, text})
	}
	return m
}

// worthALine says which events are in the log: what the list of steps and the lines about the cutover do not show.
func worthALine(k journal.Kind) bool {
	switch k {
	case journal.RunTaken, journal.RunStopped, journal.RunUndoing, journal.StepNote, journal.StepFailed, journal.GateApproved,
		journal.CutoverCommitting, journal.CutoverReleased, journal.CutoverAborting, journal.CutoverAborted:
		return true
	}
	return false
}

// note adds a line. What is scrolled back to stays in sight.
func (m model) note(e entry) model {
	m.log = append(m.log, e)
	if m.back > 0 {
		m.back++
	}
	return m
}

// since is how long ago the server's time t was.
func (m model) since(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(0, m.now.Add(-m.ahead).Sub(t))
}
