package tui

import (
	"slices"
	"sync"

	"github.com/tideover/tideover/internal/journal"
)

// inbox holds events until the screen comes to them. Putting never waits; of the progress of a step only the newest is
// kept, so that it holds at most what is stored in the journal and one more a step.
type inbox struct {
	ready chan struct{} // has one token while something may be inside

	mu     sync.Mutex
	events []journal.Event
	closed bool
}

func newInbox() *inbox { return &inbox{ready: make(chan struct{}, 1)} }

func (b *inbox) put(e journal.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if e.Seq == 0 {
		// The older one is taken out rather than overwritten in its place: a step.started between the two resets the
		// progress.
		b.events = slices.DeleteFunc(b.events, func(old journal.Event) bool {
			return old.Seq == 0 && old.Kind == e.Kind && old.Step == e.Step
		})
	}
	b.events = append(b.events, e)
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// drain takes everything out.
func (b *inbox) drain() []journal.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	events := b.events
	b.events = nil
	return events
}

// close makes the inbox drop what is put into it.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.events = true, nil
}
