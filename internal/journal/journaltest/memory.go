package journaltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

// Memory is a journal in memory, for tests that want no database. It passes [Test].
type Memory struct {
	mu     sync.Mutex
	runs   map[string]*memoryRun
	holder *memoryLease
}

type memoryRun struct {
	name   string
	term   int64
	ended  bool
	events []journal.Event
}

type memoryLease struct {
	m        *Memory
	run      string
	who      journal.Holder
	ctx      context.Context
	cancel   context.CancelCauseFunc
	released bool
}

// NewMemory is an empty journal.
func NewMemory() *Memory { return &Memory{runs: map[string]*memoryRun{}} }

// Create begins a run and takes it.
func (m *Memory) Create(ctx context.Context, started journal.RunStartedData, who journal.Holder) (Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holder != nil {
		return nil, &journal.HeldError{Holder: m.holder.who}
	}
	for id, r := range m.runs {
		if r.name == started.Name && !r.ended {
			return nil, fmt.Errorf("run %q of runbook %q has not ended", id, r.name)
		}
	}
	id := fmt.Sprintf("run%d", len(m.runs)+1)
	m.runs[id] = &memoryRun{name: started.Name}
	m.store(id, journal.Event{Kind: journal.RunStarted, Data: encode(started)})
	return m.lease(ctx, id, who), nil
}

// Take takes a run over.
func (m *Memory) Take(ctx context.Context, run string, who journal.Holder) (Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holder != nil {
		return nil, &journal.HeldError{Holder: m.holder.who}
	}
	if r := m.runs[run]; r == nil || r.ended {
		return nil, fmt.Errorf("there is no active run %q", run)
	}
	return m.lease(ctx, run, who), nil
}

func (m *Memory) lease(ctx context.Context, run string, who journal.Holder) *memoryLease {
	r := m.runs[run]
	r.term++
	e := m.store(run, journal.Event{Kind: journal.RunTaken,
		Data: encode(journal.RunTakenData{Term: r.term, Host: who.Host, PID: who.PID, User: who.User})})
	who.Run, who.Term, who.Since = run, r.term, e.Time
	l := &memoryLease{m: m, run: run, who: who}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	m.holder = l
	return l
}

// Load returns the events after a number.
func (m *Memory) Load(_ context.Context, run string, after int64) ([]journal.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.runs[run]
	if r == nil {
		return nil, fmt.Errorf("there is no run %q", run)
	}
	return slices.Clone(r.events[min(after, int64(len(r.events))):]), nil
}

// Kill ends a lease behind its back.
func (m *Memory) Kill(_ testing.TB, l Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if own := l.(*memoryLease); m.holder == own {
		m.holder = nil
		own.cancel(journal.ErrLeaseLost)
	}
}

// store needs the lock.
func (m *Memory) store(run string, e journal.Event) journal.Event {
	r := m.runs[run]
	e.Run, e.Seq = run, int64(len(r.events))+1
	e.Time = time.Now().UTC()
	r.events = append(r.events, e)
	r.ended = e.Kind == journal.RunCompleted || e.Kind == journal.RunAborted || e.Kind == journal.RunRolledBack
	return e
}

func (l *memoryLease) Run() string              { return l.run }
func (l *memoryLease) Term() int64              { return l.who.Term }
func (l *memoryLease) Context() context.Context { return l.ctx }

func (l *memoryLease) Append(ctx context.Context, e journal.Event) (journal.Event, error) {
	if err := ctx.Err(); err != nil {
		return e, err
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	r := l.m.runs[l.run]
	switch {
	case l.released:
		return e, journal.ErrReleased
	case r.term != l.who.Term:
		return e, journal.ErrFenced
	case r.ended:
		return e, errors.New("the run has ended")
	}
	return l.m.store(l.run, e), nil
}

func (l *memoryLease) Load(ctx context.Context, after int64) ([]journal.Event, error) {
	return l.m.Load(ctx, l.run, after)
}

func (l *memoryLease) Release() {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.released = true
	if l.m.holder == l {
		l.m.holder = nil
	}
	l.cancel(journal.ErrReleased)
}
