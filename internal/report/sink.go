package report

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

// Tee shows every event to each sink in turn.
func Tee(sinks ...journal.Sink) journal.Sink {
	return func(e journal.Event) {
		for _, sink := range sinks {
			if sink != nil {
				sink(e)
			}
		}
	}
}

// JSONLines writes one event a line, for machines (--json).
func JSONLines(w io.Writer) journal.Sink {
	var mu sync.Mutex
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return func(e journal.Event) {
		mu.Lock()
		defer mu.Unlock()
		_ = encoder.Encode(e) // showing must not fail a run: the journal has the event
	}
}

// progressEvery is how often a log says how far a long step is.
const progressEvery = 30 * time.Second

// Lines writes a plain line for each event that a person cares about, for logs and for terminals without a TUI.
// Progress of a step that says how long it still takes comes every half minute, and when its note, such as the reason why it holds,
// is another; other progress is for screens.
func Lines(w io.Writer) journal.Sink {
	var mu sync.Mutex
	type told struct {
		at   time.Time
		note string
	}
	last := map[string]told{}
	return func(e journal.Event) {
		mu.Lock()
		defer mu.Unlock()
		text := Describe(e)
		if e.Kind == journal.StepProgress {
			p := data[journal.ProgressData](e)
			if l := last[e.Step]; p.Unit == "bytes" && p.Total > 0 && (e.Time.Sub(l.at) >= progressEvery || p.Note != l.note) {
				if l.at.IsZero() { // a short step needs no line
					last[e.Step] = told{e.Time, p.Note}
					return
				}
				last[e.Step] = told{e.Time, p.Note}
				text = e.Step + ": " + Progress(p)
			}
		}
		if text == "" {
			return
		}
		fmt.Fprintf(w, "%s  %s\n", e.Time.Format("15:04:05.000"), text)
	}
}
