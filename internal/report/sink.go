package report

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

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

// Lines writes a plain line for each event that a person cares about, for logs and for terminals without a TUI.
// Progress is left out: it is for screens.
func Lines(w io.Writer) journal.Sink {
	var mu sync.Mutex
	return func(e journal.Event) {
		text := Describe(e)
		if text == "" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%s  %s\n", e.Time.Format("15:04:05.000"), text)
	}
}
