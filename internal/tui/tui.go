// Package tui shows a run on a terminal while it goes on.
//
// The rules of this UI, for whoever changes it; the reader is tired, and it is 4 a.m.:
//
//   - It is a window on the journal: it folds the same events into the same journal.State as resume does, and knows
//     nothing that they do not say. It never holds the run up: [Program.Sink] returns at once, however slow the terminal.
//   - The second line always says what is safe now. It is the only sentence that must be read.
//   - Every screen says what can be typed, and asking to stop says first what stopping leads to.
//   - Signs differ in shape, and words say what colours say. NO_COLOR loses nothing.
//   - A rate is over the last half minute, and an ETA is shown once it means something.
//   - Text of others (errors, notes) is one line of printable characters before it reaches the terminal.
//   - What is left on the normal screen afterwards tells the same as the last screen did.
//
// Ctrl-Z is not taken: a run that is suspended in the middle of a hold would keep requests waiting.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tideover/tideover/internal/journal"
)

// Options is what a Program shows and whom it asks.
type Options struct {
	In  io.Reader
	Out io.Writer // a terminal
	// Title stands in the first line until the run has a name.
	Title string
	// State is what the journal says of the run before the first event that the Sink gets: a run that is resumed. The
	// zero value is a run without events.
	State journal.State
	// Approve opens the gate of a step, Stop stops the run. Neither may block; nil: the key says that it can't be done
	// here. Each is called once for a gate, or a run.
	Approve func(step string)
	Stop    func()
	// Leave ends a screen that only watches: q and Ctrl-C call it, and ask nothing. nil: the run is this process's own.
	Leave func()
	// Traffic gives the live figures of the clients of a rehearsal; false while there are none. It is asked twice a
	// second and may not block; nil: no traffic of ours.
	Traffic func() (Traffic, bool)
	// NoColor turns colours off, as the environment variable NO_COLOR does (https://no-color.org).
	NoColor bool
}

// Traffic is what the clients of a rehearsal see now.
type Traffic struct {
	Requests, Failed int64         // since the start
	Rate             float64       // requests a second
	P95              time.Duration // over the last seconds
	Held             int64         // requests that wait at the router now
}

// tickEvery moves the clocks on the screen while no event arrives.
const tickEvery = 250 * time.Millisecond

// Program is one screen. Make it with [New], give its [Program.Sink] to the run, and call [Program.Run] beside it.
type Program struct {
	options Options
	inbox   *inbox

	finish  sync.Once
	done    chan struct{} // closed by Finish
	summary string
}

// New makes a screen. Nothing is shown before Run.
func New(o Options) *Program {
	o.NoColor = o.NoColor || os.Getenv("NO_COLOR") != ""
	o.State = o.State.Clone()
	return &Program{options: o, inbox: newInbox(), done: make(chan struct{})}
}

// Sink takes the run's events. It never waits for the terminal: progress that the screen has not come to is replaced by
// newer progress; stored events are all kept, in order.
func (p *Program) Sink() journal.Sink { return p.inbox.put }

// Finish ends the screen: Run leaves the last state of the run and then the summary, which may be several lines, on the
// normal screen, and returns. Further calls do nothing.
func (p *Program) Finish(summary string) {
	p.finish.Do(func() {
		p.summary = summary
		close(p.done)
	})
}

// Run shows the screen until Finish is called or the context ends; then the error is the context's cause. Another error
// means that the terminal can't be used: the run goes on, and the Sink drops what it gets.
func (p *Program) Run(ctx context.Context) error {
	defer p.inbox.close()
	program := tea.NewProgram(newModel(p.options),
		tea.WithInput(p.options.In), tea.WithOutput(p.options.Out), tea.WithoutSignalHandler(), tea.WithFPS(20))

	pumping, stop := context.WithCancel(ctx)
	pumped := make(chan struct{})
	go func() {
		defer close(pumped)
		p.pump(pumping, program)
	}()
	last, err := program.Run()
	stop()
	<-pumped

	m, ok := last.(model)
	if err != nil || !ok {
		return fmt.Errorf("the screen can't be shown on this terminal: %w", errors.Join(err, context.Cause(ctx)))
	}
	m = m.take(p.inbox.drain(), time.Now()) // what came between the last look into the inbox and the end
	summary, ended := "", context.Cause(ctx)
	select {
	case <-p.done:
		summary, ended = p.summary, nil
	default:
	}
	if _, err := io.WriteString(p.options.Out, m.static(summary)); err != nil {
		return errors.Join(ended, err)
	}
	return ended
}

// pump brings events and the passing of time to the program, and ends it. It returns when ctx ends, or after it has
// told the program to quit; sending to a program that has ended does nothing.
func (p *Program) pump(ctx context.Context, program *tea.Program) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for ticks := 0; ; {
		select {
		case <-ctx.Done():
			program.Quit()
			return
		case <-p.done:
			program.Quit()
			return
		case <-p.inbox.ready:
			if events := p.inbox.drain(); len(events) > 0 {
				program.Send(eventsMsg{at: time.Now(), events: events})
			}
		case at := <-ticker.C:
			msg := tickMsg{at: at}
			if ticks%2 == 0 && p.options.Traffic != nil {
				if figures, ok := p.options.Traffic(); ok {
					msg.traffic = &figures
				}
			}
			ticks++
			program.Send(msg)
		}
	}
}
