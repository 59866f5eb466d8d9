package journal_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

// folded applies kinds in order; those of steps belong to "cut".
func folded(t *testing.T, events ...journal.Event) (journal.State, error) {
	t.Helper()
	var s journal.State
	all := append([]journal.Event{
		{Kind: journal.RunStarted, Data: raw(t, journal.RunStartedData{Name: "n", Steps: []journal.StepRef{{ID: "cut", Kind: "cutover", Undoable: true, Gate: true}}})},
		{Kind: journal.RunTaken, Data: raw(t, journal.RunTakenData{Term: 1, Host: "h", PID: 1})},
	}, events...)
	for i, e := range all {
		e.Run, e.Seq, e.Time = "r", int64(i+1), time.Unix(int64(i), 0)
		if err := s.Apply(e); err != nil {
			return s, err
		}
	}
	return s, nil
}

func raw(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAsked(t *testing.T) {
	t.Parallel()
	asked := func(verb, step string, done bool) journal.Event {
		return journal.Event{Kind: journal.RunAsked, Data: raw(t, journal.AskedData{Verb: verb, Step: step, By: "ann", Host: "h", Done: done, Limits: journal.Limits{MaxRate: 3}})}
	}
	cut := func(kind journal.Kind) journal.Event { return journal.Event{Step: "cut", Kind: kind} }
	taken := journal.Event{Kind: journal.RunTaken, Data: raw(t, journal.RunTakenData{Term: 2, Host: "h", PID: 2})}
	waiting := journal.Event{Step: "cut", Kind: journal.GateWaiting, Data: raw(t, journal.ReasonData{Reason: "x"})}
	approved := journal.Event{Step: "cut", Kind: journal.GateApproved, Data: raw(t, journal.ApprovedData{By: "ben"})}
	started := cut(journal.StepStarted)
	for _, tt := range []struct {
		name    string
		events  []journal.Event
		refused bool
		holds   func(journal.State) bool
	}{
		{"paused", []journal.Event{asked("pause", "", true)}, false, func(s journal.State) bool { return s.Paused != nil && s.Paused.By == "ann" }},
		{"refused", []journal.Event{asked("pause", "", false)}, false, func(s journal.State) bool { return s.Paused == nil }},
		{"and on", []journal.Event{asked("pause", "", true), asked("continue", "", true)}, false, func(s journal.State) bool { return s.Paused == nil }},
		{"taken by another process", []journal.Event{asked("pause", "", true), asked("throttle", "", true), taken}, false,
			func(s journal.State) bool { return s.Paused == nil && s.Limits == journal.Limits{} }},
		{"throttled", []journal.Event{asked("throttle", "", true)}, false, func(s journal.State) bool { return s.Limits.MaxRate == 3 }},
		{"aborted, then committed", []journal.Event{started, cut(journal.CutoverPreparing), asked("abort", "", true), cut(journal.CutoverCommitting)}, true, nil},
		{"an abort outlives its process", []journal.Event{asked("abort", "", true), taken}, false, func(s journal.State) bool { return s.AbortAsked != "" }},
		{"committed, then aborted", []journal.Event{started, cut(journal.CutoverPreparing), cut(journal.CutoverCommitting), asked("abort", "", true)}, true, nil},
		{"committed, then refused", []journal.Event{started, cut(journal.CutoverPreparing), cut(journal.CutoverCommitting), asked("abort", "", false)}, false,
			func(s journal.State) bool { return s.AbortAsked == "" && s.PastPointOfNoReturn }},
		{"denied, then approved", []journal.Event{waiting, asked("deny", "cut", true), approved}, true, nil},
		{"denied before it waits", []journal.Event{asked("deny", "cut", true), waiting, approved}, false, func(s journal.State) bool { return s.Denied == nil }},
		{"denied, taken, approved", []journal.Event{waiting, asked("deny", "cut", true), taken, waiting, approved}, false, func(s journal.State) bool { return s.Denied == nil }},
		{"a verb of nobody's", []journal.Event{asked("dance", "", true)}, true, nil},
	} {
		s, err := folded(t, tt.events...)
		if (err != nil) != tt.refused || tt.holds != nil && !tt.holds(s) {
			t.Errorf("%s: %v, %+v", tt.name, err, s)
		}
	}
}
