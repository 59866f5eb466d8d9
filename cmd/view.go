package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/internal/tui"
)

// view shows a run while it goes on: as JSON lines, in the TUI, or as plain lines.
type view struct {
	std     *IO
	asJSON  bool
	program *tui.Program
	sink    journal.Sink
	inbox   *report.Inbox // nil where the TUI has one of its own
	gate    *keyGate
	wait    sync.WaitGroup
	runID   string
}

// newView chooses how to show. The TUI needs a terminal; stop is called when its user asks for a safe stop.
func newView(ctx context.Context, std *IO, f runFlags, title string, state journal.State, traffic func() (tui.Traffic, bool), stop func()) *view {
	v := &view{std: std, asJSON: f.json}
	switch {
	case f.json:
		v.inbox = report.NewInbox(report.JSONLines(std.Out))
		v.sink = v.inbox.Put
	case std.IsTerminal && !f.noTUI:
		v.gate = &keyGate{approved: make(chan string, 1)}
		v.program = tui.New(tui.Options{In: std.In, Out: std.Out, Title: title, State: state, Approve: v.gate.approve, Stop: stop, Traffic: traffic})
		v.sink = v.program.Sink()
		v.wait.Go(func() {
			if err := v.program.Run(context.WithoutCancel(ctx)); err != nil {
				fmt.Fprintf(std.Err, "warning: %s; the run goes on, and tideover status shows it\n", err)
			}
		})
	default:
		v.inbox = report.NewInbox(report.Lines(std.Err))
		v.sink = v.inbox.Put
	}
	return v
}

// Sink takes the run's events.
func (v *view) Sink() journal.Sink {
	return func(e journal.Event) {
		v.runID = e.Run
		v.sink(e)
	}
}

// Wait is the door that a key in the TUI opens; without a TUI it stays shut, and tideover approve opens the gate.
func (v *view) Wait(ctx context.Context, step string) (string, error) {
	if v.gate == nil {
		<-ctx.Done()
		return "", context.Cause(ctx)
	}
	return v.gate.Wait(ctx, step)
}

// Finish ends the view and shows the report.
func (v *view) Finish(r report.Report) {
	if v.program != nil {
		v.program.Finish("")
		v.wait.Wait()
	}
	if v.asJSON {
		v.sink(reportEvent(v.runID, r))
		v.Close()
		return
	}
	v.Close()
	text := make(chan struct{})
	go func() {
		defer close(text)
		report.Text(v.std.Out, r, v.std.IsTerminal)
	}()
	select {
	case <-text:
	case <-time.After(lastWords):
	}
}

// lastWords is how long a run that is over waits for who reads its output: a pipe that stands must not keep the process.
const lastWords = 10 * time.Second

// Close ends the view where there is no report to show.
func (v *view) Close() {
	if v.program != nil {
		v.program.Finish("")
		v.wait.Wait()
		v.program = nil
	}
	if v.inbox != nil && !v.inbox.Close(lastWords) && v.asJSON {
		fmt.Fprintln(v.std.Err, "warning: what is left of the run's events can't be shown: nobody reads them; the journal has them")
	}
	v.inbox = nil
}

func reportEvent(run string, r report.Report) journal.Event {
	data, err := json.Marshal(r)
	if err != nil {
		data = nil // plain fields always encode
	}
	return journal.Event{Time: time.Now(), Run: run, Kind: journal.RunReport, Data: data}
}

// keyGate is opened by a key in the TUI.
type keyGate struct{ approved chan string }

func (g *keyGate) approve(step string) {
	select {
	case g.approved <- step:
	default:
	}
}

// Wait returns once the key was pressed for this step.
func (g *keyGate) Wait(ctx context.Context, step string) (string, error) {
	for {
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case approved := <-g.approved:
			if approved == step {
				return person(), nil
			}
		}
	}
}
