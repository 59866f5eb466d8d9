package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/journal"
)

// terminal keeps what is written to it, and can be made to hang as one does after Ctrl-S.
type terminal struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	hang chan struct{} // writing waits until it is closed; nil: never
}

func (w *terminal) Write(b []byte) (int, error) {
	if w.hang != nil {
		<-w.hang
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

func (w *terminal) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// start runs a program; wait returns what Run returned.
func start(t *testing.T, ctx context.Context, o Options) (p *Program, wait func() error) {
	t.Helper()
	p = New(o)
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return p, func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("Run does not return")
			return nil
		}
	}
}

func TestRunLeavesTheLastStateAndTheSummary(t *testing.T) {
	t.Parallel()
	out := &terminal{}
	p, wait := start(t, t.Context(), Options{In: strings.NewReader(""), Out: out, NoColor: true})
	sink := p.Sink()
	for _, e := range recorded(t) {
		sink(e)
	}
	p.Finish("COMPLETED\nof two lines")
	p.Finish("again")
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	_, normal, ok := strings.Cut(out.String(), "\x1b[?1049l") // the end of the alternate screen
	if !ok {
		t.Fatalf("the alternate screen is not left: %q", out.String())
	}
	for _, want := range []string{"completed", "✓ retire", "! validate: invariant living-sessions", "COMPLETED\nof two lines\n"} {
		if !strings.Contains(normal, want) {
			t.Errorf("%q is not left on the normal screen: %q", want, normal)
		}
	}
	sink(journal.Event{Kind: journal.StepProgress}) // a sink that outlives the screen does no harm
}

func TestFinishBeforeRun(t *testing.T) {
	t.Parallel()
	out := &terminal{}
	p := New(Options{In: strings.NewReader(""), Out: out, Title: "upgrade.yaml"})
	p.Finish("nothing was to be done")
	if err := p.Run(t.Context()); err != nil || !strings.HasSuffix(out.String(), "nothing was to be done\n") {
		t.Errorf("%v: %q", err, out.String())
	}
}

func TestTheContextEndsTheScreen(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	out, cause := &terminal{}, errors.New("enough")
	p, wait := start(t, ctx, Options{In: strings.NewReader(""), Out: out})
	for _, e := range upTo(t, journal.RunStopped, 1) {
		p.Sink()(e)
	}
	cancel(cause)
	if err := wait(); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out.String(), "type next: tideover resume upgrade.yaml") {
		t.Errorf("what to type next is not left: %q", out.String())
	}
}

// Keys typed on the terminal reach the callbacks.
func TestTypedKeys(t *testing.T) {
	t.Parallel()
	approved, stopped := make(chan string, 1), make(chan struct{})
	in, keys := io.Pipe()
	p, wait := start(t, t.Context(), Options{In: in, Out: &terminal{}, Approve: func(s string) { approved <- s }, Stop: func() { close(stopped) }})
	for _, e := range upTo(t, journal.GateWaiting, 1) {
		p.Sink()(e)
	}
	// The gate may not be on the screen yet when the key arrives: then it opens nothing, as it should, so it is pressed
	// until it does.
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for open := false; !open; {
		if _, err := io.WriteString(keys, "a"); err != nil {
			t.Fatal(err)
		}
		select {
		case step := <-approved:
			if step != "cutover" {
				t.Errorf("approved %q", step)
			}
			open = true
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatal("the key does not open the gate")
		}
	}
	io.WriteString(keys, "\x03") // Ctrl-C
	io.WriteString(keys, "y")
	<-stopped
	p.Finish("")
	if err := wait(); err != nil {
		t.Error(err)
	}
	keys.Close()
}

// A terminal that takes nothing must not hold the run up, nor lose a stored event.
func TestTerminalThatHangs(t *testing.T) {
	t.Parallel()
	out := &terminal{hang: make(chan struct{})}
	p, wait := start(t, t.Context(), Options{In: strings.NewReader(""), Out: out})
	events := recorded(t)
	sink := p.Sink()
	put := make(chan struct{})
	go func() {
		defer close(put)
		for i, e := range events {
			sink(e)
			if i == 10 { // the snapshot is at work
				for n := range 100_000 {
					sink(journal.Event{Run: e.Run, Step: "snapshot", Kind: journal.StepProgress, Time: e.Time,
						Data: []byte(`{"done":` + string(rune('0'+n%10)) + `}`)})
				}
			}
		}
		p.Finish("the end")
	}()
	select {
	case <-put:
	case <-time.After(20 * time.Second):
		t.Fatal("the run waits for the terminal")
	}
	close(out.hang)
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); strings.Contains(s, "missed") || !strings.Contains(s, "✓ retire") {
		t.Errorf("events were lost: %q", s)
	}
}

func TestInbox(t *testing.T) {
	t.Parallel()
	b := newInbox()
	progress := func(step, data string) journal.Event {
		return journal.Event{Kind: journal.StepProgress, Step: step, Data: []byte(data)}
	}
	stored := journal.Event{Seq: 1, Kind: journal.StepStarted, Step: "one"}
	for _, e := range []journal.Event{progress("one", "1"), progress("two", "1"), stored, progress("one", "2"), progress("one", "3")} {
		b.put(e)
	}
	want := []journal.Event{progress("two", "1"), stored, progress("one", "3")}
	if diff := cmp.Diff(want, b.drain()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := b.drain(); len(got) != 0 {
		t.Errorf("twice: %v", got)
	}
	b.put(stored)
	b.close()
	b.put(stored)
	if got := b.drain(); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
}

// Colours are the terminal's matter; with NO_COLOR there are none, in any of its spellings.
func TestNoColor(t *testing.T) {
	for _, value := range []string{"1", "yes"} {
		t.Setenv("NO_COLOR", value)
		p := New(Options{})
		m := newModel(p.options)
		for _, e := range upTo(t, journal.RunStopped, 1) {
			m = m.take([]journal.Event{e}, e.Time)
		}
		if screen := m.View().Content; strings.Contains(screen, "\x1b") {
			t.Errorf("NO_COLOR=%s: %q", value, screen)
		}
	}
	t.Setenv("NO_COLOR", "")
	if m := newModel(New(Options{}).options); !strings.Contains(m.View().Content, "\x1b[") {
		t.Error("no colours without NO_COLOR")
	}
}
