// Package journaltest holds what every store of the journal must do, as tests that a store runs against itself, and a
// store in memory for tests that want no database.
package journaltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tideover/tideover/internal/journal"
)

// Lease is what a store hands out.
type Lease interface {
	journal.Lease
	Run() string
	Term() int64
}

// Store is a store of the journal under test.
type Store interface {
	Create(ctx context.Context, started journal.RunStartedData, who journal.Holder) (Lease, error)
	Take(ctx context.Context, run string, who journal.Holder) (Lease, error)
	Load(ctx context.Context, run string, after int64) ([]journal.Event, error)
	// Kill ends the lease's lock behind its back, as the end of its connection does.
	Kill(t testing.TB, l Lease)
}

// Started is a runbook of the given name with steps "one" and "two".
func Started(name string) journal.RunStartedData {
	return journal.RunStartedData{
		Name: name, Runbook: name + ".yaml", Hash: "0123", Version: "test",
		Steps: []journal.StepRef{{ID: "one", Kind: "snapshot", Undoable: true}, {ID: "two", Kind: "cutover", Undoable: true}},
	}
}

// Who is a process.
func Who(pid int) journal.Holder { return journal.Holder{Host: "host", PID: pid, User: "ann"} }

// Note is an event of step "one" that may be appended any number of times.
func Note(text string) journal.Event {
	return journal.Event{Step: "one", Kind: journal.StepNote, Data: encode(journal.NoteData{Level: "info", Text: text})}
}

// encode is for plain structs, which always can be.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Test runs the suite. Each test gets a store of its own.
func Test(t *testing.T, open func(t testing.TB) Store) {
	for _, tt := range []struct {
		name string
		f    func(*testing.T, Store)
	}{
		{"events come back as they were stored", testRoundTrip},
		{"a run of a runbook is created once", testCreateTwice},
		{"two at once", testTwoAtOnce},
		{"held", testHeld},
		{"takeover after a killed lease", testTakeover},
		{"a lost lease may still say that it stops", testLostAppends},
		{"append after release", testAppendAfterRelease},
		{"release, then take", testReleaseThenTake},
		{"crash between", testCrashBetween},
		{"nothing after the end", testEnd},
		{"appends at once have no gaps", testConcurrentAppends},
		{"cancelled work leaves the lease alone", testCancelledWork},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.f(t, open(t))
		})
	}
}

func create(t *testing.T, s Store, name string) Lease {
	t.Helper()
	l, err := s.Create(t.Context(), Started(name), Who(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l
}

func take(t *testing.T, s Store, run string, pid int) Lease {
	t.Helper()
	l, err := s.Take(t.Context(), run, Who(pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l
}

func appendTo(t *testing.T, l Lease, e journal.Event) journal.Event {
	t.Helper()
	e, err := l.Append(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// fold loads all events and folds them, which checks that there are no gaps.
func fold(t *testing.T, s Store, run string) journal.State {
	t.Helper()
	events, err := s.Load(t.Context(), run, 0)
	if err != nil {
		t.Fatal(err)
	}
	state, err := journal.Fold(events)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func testRoundTrip(t *testing.T, s Store) {
	l := create(t, s, "a")
	texts := []string{"plain", "quotes \" ' \\ and \x00 and ünïcode", string(make([]byte, 1<<16))}
	var want []journal.Event
	for _, text := range texts {
		e := appendTo(t, l, Note(text))
		if e.Run != l.Run() || e.Time.IsZero() || time.Since(e.Time).Abs() > time.Hour {
			t.Errorf("stored event has run %q, time %s", e.Run, e.Time)
		}
		want = append(want, e)
	}
	want = append(want, appendTo(t, l, journal.Event{Step: "one", Kind: journal.StepStarted}))
	got, err := s.Load(t.Context(), l.Run(), 2) // 1 is run.started, 2 is run.taken
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Error(diff)
	}
	state := fold(t, s, l.Run())
	if state.Name != "a" || state.Term != 1 || state.Holder.PID != 1 || state.Seq != 6 || len(state.Notes) != 3 {
		t.Errorf("folded: %+v", state)
	}
}

func testCreateTwice(t *testing.T, s Store) {
	l := create(t, s, "a")
	l.Release()
	if _, err := s.Create(t.Context(), Started("a"), Who(2)); err == nil {
		t.Error("a second run was created while the first has not ended")
	}
	b := create(t, s, "b") // and the failed attempt has left no lock behind
	if b.Run() == l.Run() {
		t.Errorf("two runs are called %q", b.Run())
	}
}

func testTwoAtOnce(t *testing.T, s Store) {
	const n = 6
	leases, errs := make([]Lease, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { leases[i], errs[i] = s.Create(t.Context(), Started(fmt.Sprint("r", i%2)), Who(i+1)) })
	}
	wg.Wait()
	won := 0
	for i := range n {
		if errs[i] == nil {
			won++
			defer leases[i].Release()
		} else if !errors.Is(errs[i], journal.ErrHeld) {
			t.Errorf("process %d: %v", i+1, errs[i])
		}
	}
	if won != 1 {
		t.Errorf("%d processes hold the journal, want 1", won)
	}
}

func testHeld(t *testing.T, s Store) {
	l := create(t, s, "a")
	_, err := s.Take(t.Context(), l.Run(), Who(2))
	var held *journal.HeldError
	if !errors.As(err, &held) || !errors.Is(err, journal.ErrHeld) {
		t.Fatalf("got %v, want a HeldError", err)
	}
	if h := held.Holder; h.PID != 1 || h.Host != "host" || h.Run != l.Run() || h.Term != 1 || h.Since.IsZero() {
		t.Errorf("the holder is said to be %+v", h)
	}
	if held.ExitCode() != 3 {
		t.Errorf("exit code %d", held.ExitCode())
	}
	if err := l.Context().Err(); err != nil {
		t.Errorf("the holder's lease has suffered: %v", err)
	}
	appendTo(t, l, Note("still there"))
}

func testTakeover(t *testing.T, s Store) {
	l := create(t, s, "a")
	s.Kill(t, l)
	select {
	case <-l.Context().Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the lease's context lives on")
	}
	if cause := context.Cause(l.Context()); !errors.Is(cause, journal.ErrLeaseLost) {
		t.Errorf("the cause is %v, want ErrLeaseLost", cause)
	}
	next := take(t, s, l.Run(), 2)
	if next.Term() != 2 {
		t.Errorf("term %d, want 2", next.Term())
	}
	if _, err := l.Append(t.Context(), Note("from the grave")); !errors.Is(err, journal.ErrFenced) {
		t.Errorf("the stale process got %v, want ErrFenced", err)
	}
	appendTo(t, next, Note("alive"))
	l.Release() // must not take the new holder's lock along
	if _, err := s.Take(t.Context(), l.Run(), Who(3)); !errors.Is(err, journal.ErrHeld) {
		t.Errorf("after the stale process released: %v, want ErrHeld", err)
	}
	state := fold(t, s, l.Run())
	if len(state.Notes) != 1 || state.Notes[0].Text != "alive" || state.Holder.PID != 2 {
		t.Errorf("folded: %+v", state)
	}
}

func testLostAppends(t *testing.T, s Store) {
	l := create(t, s, "a")
	s.Kill(t, l)
	<-l.Context().Done()
	appendTo(t, l, journal.Event{Kind: journal.RunStopped, Data: encode(journal.StoppedData{Reason: "lost", Next: "tideover resume"})})
	if state := fold(t, s, l.Run()); state.Phase != journal.Stopped {
		t.Errorf("phase %s", state.Phase)
	}
}

func testAppendAfterRelease(t *testing.T, s Store) {
	l := create(t, s, "a")
	l.Release()
	l.Release()
	if _, err := l.Append(t.Context(), Note("late")); !errors.Is(err, journal.ErrReleased) {
		t.Errorf("got %v, want ErrReleased", err)
	}
	if l.Context().Err() == nil {
		t.Error("the context of a released lease lives on")
	}
	if state := fold(t, s, l.Run()); len(state.Notes) != 0 {
		t.Errorf("stored: %v", state.Notes)
	}
}

func testReleaseThenTake(t *testing.T, s Store) {
	l := create(t, s, "a")
	for term := int64(2); term < 6; term++ {
		l.Release()
		l = take(t, s, l.Run(), int(term))
		if l.Term() != term {
			t.Errorf("term %d, want %d", l.Term(), term)
		}
		appendTo(t, l, Note("mine"))
	}
	if state := fold(t, s, l.Run()); len(state.Notes) != 4 || state.Holder.PID != 5 {
		t.Errorf("folded: %+v", state)
	}
}

func testCrashBetween(t *testing.T, s Store) {
	l := create(t, s, "a")
	appendTo(t, l, journal.Event{Step: "one", Kind: journal.StepStarted})
	s.Kill(t, l)
	next := take(t, s, l.Run(), 2) // no run.stopped was stored
	state := fold(t, s, l.Run())
	if st, _ := state.Step("one"); st.Status != journal.StepIsRunning || state.Phase != journal.Running {
		t.Errorf("step %q is %s, the run %s", st.ID, st.Status, state.Phase)
	}
	appendTo(t, next, journal.Event{Step: "one", Kind: journal.StepStarted})
	state = fold(t, s, l.Run())
	if st, _ := state.Step("one"); st.Attempts != 2 {
		t.Errorf("%d attempts", st.Attempts)
	}
}

func testEnd(t *testing.T, s Store) {
	l := create(t, s, "a")
	appendTo(t, l, journal.Event{Kind: journal.RunUndoing, Data: json.RawMessage(`{"reason":"test"}`)})
	appendTo(t, l, journal.Event{Kind: journal.RunAborted})
	if _, err := l.Append(t.Context(), Note("late")); err == nil || errors.Is(err, journal.ErrFenced) {
		t.Errorf("after the end: %v", err)
	}
	l.Release()
	if _, err := s.Take(t.Context(), l.Run(), Who(2)); err == nil {
		t.Error("a run that has ended was taken")
	}
	again := create(t, s, "a")
	if again.Run() == l.Run() || again.Term() != 1 {
		t.Errorf("the next run is %q with term %d", again.Run(), again.Term())
	}
}

func testConcurrentAppends(t *testing.T, s Store) {
	l := create(t, s, "a")
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for k := range each {
				if _, err := l.Append(t.Context(), Note(fmt.Sprint(i, k))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if state := fold(t, s, l.Run()); len(state.Notes) != writers*each || state.Seq != 2+writers*each {
		t.Errorf("%d notes, seq %d", len(state.Notes), state.Seq)
	}
}

// An append whose context is cancelled may or may not be stored, but the lease must survive it.
func testCancelledWork(t *testing.T, s Store) {
	l := create(t, s, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, Note("cancelled")); err == nil {
		t.Error("an append under a dead context was stored")
	}
	if err := l.Context().Err(); err != nil {
		t.Errorf("the lease has died: %v", context.Cause(l.Context()))
	}
	appendTo(t, l, Note("goes on"))
	if state := fold(t, s, l.Run()); len(state.Notes) != 1 {
		t.Errorf("notes: %v", state.Notes)
	}
}
