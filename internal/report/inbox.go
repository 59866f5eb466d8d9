package report

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

// inboxRoom is how many events wait at most for a sink that is slow.
const inboxRoom = 10_000

// Inbox lets a sink be as slow as it likes, or stand still: whoever shows events never waits for it. Progress that the sink has
// not come to is replaced by newer progress. A sink that stands still for longer than there is room misses events, and is told how
// many once it goes on; the journal has them.
type Inbox struct {
	sink journal.Sink
	room int

	mu     sync.Mutex
	events []journal.Event
	missed int
	closed bool
	ready  chan struct{} // has one token while something may be inside
	ended  chan struct{} // closed when the sink has had everything
}

// NewInbox begins to pass events on to a sink.
func NewInbox(sink journal.Sink) *Inbox { return newInbox(sink, inboxRoom) }

func newInbox(sink journal.Sink, room int) *Inbox {
	b := &Inbox{sink: sink, room: room, ready: make(chan struct{}, 1), ended: make(chan struct{})}
	go b.work()
	return b
}

// Put never waits.
func (b *Inbox) Put(e journal.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if e.Kind == journal.StepProgress {
		for i := len(b.events) - 1; i >= 0 && b.events[i].Step == e.Step && b.events[i].Kind == e.Kind; i-- {
			b.events = append(b.events[:i], b.events[i+1:]...)
		}
	}
	if len(b.events) >= b.room && e.Kind != journal.RunReport {
		b.missed++
		return
	}
	b.events = append(b.events, e)
	b.wake()
}

// wake needs the lock.
func (b *Inbox) wake() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// Close has the sink have what is inside, for so long at most, and says whether it had. Later events are dropped.
func (b *Inbox) Close(within time.Duration) bool {
	b.mu.Lock()
	b.closed = true
	b.wake()
	b.mu.Unlock()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-b.ended:
		return true
	case <-timer.C:
		return false
	}
}

func (b *Inbox) work() {
	defer close(b.ended)
	for range b.ready {
		for {
			b.mu.Lock()
			events, missed, closed := b.events, b.missed, b.closed
			b.events, b.missed = nil, 0
			b.mu.Unlock()
			for i, e := range events {
				if missed > 0 && i == len(events)-1 && e.Kind == journal.RunReport { // the report is the last line
					b.sink(missedEvent(e, missed))
					missed = 0
				}
				b.sink(e)
			}
			if missed > 0 && len(events) > 0 {
				b.sink(missedEvent(events[len(events)-1], missed))
			}
			if len(events) == 0 {
				if closed {
					return
				}
				break
			}
		}
	}
}

// missedEvent tells a sink what it has not been shown.
func missedEvent(last journal.Event, missed int) journal.Event {
	data, err := json.Marshal(journal.NoteData{Level: "warn", Text: fmt.Sprintf("%d events could not be shown in time; \"tideover status --watch\" shows what the journal has", missed)})
	if err != nil {
		data = nil // plain fields always encode
	}
	return journal.Event{Time: last.Time, Run: last.Run, Step: last.Step, Kind: journal.StepNote, Data: data}
}
