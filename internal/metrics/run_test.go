package metrics

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/journal"
)

// told is a run that has heard of a story, with a clock that goes on by a second with each event.
type told struct {
	*Run
	t   *testing.T
	at  time.Time
	seq int64
}

func tell(t *testing.T) *told {
	t.Helper()
	r := &told{Run: New(), t: t, at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	r.now = func() time.Time { return r.at }
	r.event("", journal.RunStarted, journal.RunStartedData{Name: "up", Version: "v1", Steps: []journal.StepRef{
		{ID: "copy", Kind: "snapshot", Undoable: true}, {ID: "replay", Kind: "replay", Undoable: true}, {ID: "switch", Kind: "cutover", Undoable: true, Gate: true}}})
	r.event("", journal.RunTaken, journal.RunTakenData{Term: 1})
	return r
}

func (r *told) event(step string, kind journal.Kind, data any) {
	r.t.Helper()
	e := journal.Event{Run: "r1", Step: step, Kind: kind, Time: r.at}
	if kind != journal.StepProgress {
		r.seq++
		e.Seq = r.seq
	}
	if data != nil {
		b, err := json.Marshal(data)
		if err != nil {
			r.t.Fatal(err)
		}
		e.Data = b
	}
	r.at = r.at.Add(time.Second)
	r.Sink(e)
}

func (r *told) pass(d time.Duration) { r.at = r.at.Add(d) }

// scrape is what Prometheus gets of the run, without what the labels of every line are.
func (r *told) scrape() []string {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		r.t.Fatalf("%d: %s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "tideover_run_") {
			line = strings.TrimPrefix(line, "tideover_run_")
			line = strings.Replace(strings.Replace(line, `,run="r1"`, "", 1), `{run="r1"}`, "", 1)
			lines = append(lines, strings.Replace(line, `{run="r1",`, "{", 1))
		}
	}
	return lines
}

// wants compares the lines of some metrics.
func (r *told) wants(when string, metrics []string, want ...string) {
	r.t.Helper()
	var got []string
	for _, line := range r.scrape() {
		if name := line[:strings.IndexAny(line, "{ ")]; slices.Contains(metrics, name) && (name != "phase" && name != "outcome" || strings.HasSuffix(line, " 1")) {
			got = append(got, line)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		r.t.Errorf("%s (-want +got):\n%s", when, d)
	}
}

func TestStory(t *testing.T) {
	t.Parallel()
	r := tell(t)
	r.wants("nothing has begun", []string{"info", "step", "phase", "outcome", "holding", "step_still_seconds", "changes_waiting"},
		`info{name="up",version="v1"} 1`, `step{kind="snapshot",step="copy"} 1`, `phase{phase="running"} 1`, `holding 0`)

	r.event("copy", journal.StepStarted, nil)
	r.event("copy", journal.StepProgress, journal.ProgressData{Done: 10, Total: 100, Unit: "bytes", LeftS: 9})
	r.pass(time.Minute)
	r.event("copy", journal.StepProgress, journal.ProgressData{Done: 10, Total: 100, Unit: "bytes", LeftS: 9, Note: "waits"}) // says much, does nothing
	r.wants("the copy stands", []string{"step_still_seconds", "step_seconds", "step_done", "step_target", "step_left_seconds"},
		`step_still_seconds{kind="snapshot",step="copy"} 61`, `step_seconds{kind="snapshot",step="copy"} 62`,
		`step_done{kind="snapshot",step="copy",unit="bytes"} 10`, `step_target{kind="snapshot",step="copy",unit="bytes"} 100`, `step_left_seconds{kind="snapshot",step="copy"} 9`)
	r.event("copy", journal.StepNote, journal.NoteData{Level: "warn", About: journal.AboutWait, Text: "x"})
	r.event("copy", journal.StepNote, journal.NoteData{Level: "warn", Text: "x"})
	r.event("copy", journal.StepNote, journal.NoteData{Level: "info", Text: "x"})
	r.event("", journal.RunAsked, journal.AskedData{Verb: journal.Pause, Done: true})
	r.event("", journal.RunAsked, journal.AskedData{Verb: journal.Deny})
	r.wants("a person has the run wait", []string{"paused", "asked_total", "warnings_total"}, `paused 1`, `asked_total{answer="done",verb="pause"} 1`,
		`asked_total{answer="refused",verb="deny"} 1`, `warnings_total{about="wait"} 1`, `warnings_total{about="other"} 1`)
	r.event("", journal.RunAsked, journal.AskedData{Verb: journal.Continue, Done: true})
	r.event("copy", journal.StepFinished, journal.FinishedData{Seconds: 42})
	r.pass(time.Hour)
	r.wants("the copy is over", []string{"paused", "step_still_seconds", "step_seconds", "step_left_seconds", "step"},
		`paused 0`, `step_seconds{kind="snapshot",step="copy"} 42`, `step{kind="replay",step="replay"} 1`)

	r.event("replay", journal.StepStarted, nil)
	backlog := func(done, total int64, b journal.Backlog) {
		r.event("replay", journal.StepProgress, journal.ProgressData{Done: done, Total: total, Unit: "changes", Backlog: &b})
	}
	rates := []string{"changes_captured_per_second", "changes_replayed_per_second"}
	backlog(0, 100, journal.Backlog{Changes: 100})
	r.wants("one look gives no rate", rates)
	r.pass(time.Minute)
	backlog(100, 300, journal.Backlog{Changes: 200})
	r.pass(9 * time.Second)
	backlog(200, 1300, journal.Backlog{Changes: 1100, OldestS: 2.5, Parked: 3, Audited: 7})
	r.wants("green falls behind", append(rates, "changes_captured_total", "changes_replayed_total", "changes_waiting", "changes_oldest_seconds", "changes_parked", "audit_rows_total"),
		`changes_captured_per_second 100`, `changes_replayed_per_second 10`, `changes_captured_total 1300`, `changes_replayed_total 200`,
		`changes_waiting 1100`, `changes_oldest_seconds 2.5`, `changes_parked 3`, `audit_rows_total 7`)
	r.event("replay", journal.StepFinished, journal.FinishedData{Seconds: 1})

	r.event("switch", journal.GateWaiting, journal.ReasonData{Reason: "x"})
	r.pass(9 * time.Second)
	r.wants("a gate", []string{"gate_waiting_seconds", "phase", "step_still_seconds"}, `gate_waiting_seconds{step="switch"} 9`, `phase{phase="waiting"} 1`)
	r.event("switch", journal.GateApproved, journal.ApprovedData{By: "ann"})
	r.event("switch", journal.StepStarted, nil)
	holds := []string{"holding", "hold_seconds", "hold_deadline_seconds", "last_hold_seconds", "last_fence_seconds", "switches_total", "gate_waiting_seconds", "past_point_of_no_return"}
	r.event("switch", journal.CutoverPreparing, journal.CutoverData{DeadlineMS: 2000})
	r.event("switch", journal.CutoverHolding, nil)
	r.event("switch", journal.CutoverFencing, nil)
	r.event("switch", journal.CutoverAborting, journal.ReasonData{Reason: "late"})
	r.event("switch", journal.StepNote, journal.NoteData{Level: "info", Text: "x"})
	r.wants("the switch is being called off, and clients wait still", holds, `holding 1`, `hold_seconds 3`, `hold_deadline_seconds 2`,
		`switches_total{outcome="begun"} 1`, `past_point_of_no_return 0`)
	r.event("switch", journal.CutoverAborted, nil)
	r.wants("it was called off", holds, `holding 0`, `hold_seconds 0`, `hold_deadline_seconds 2`, `switches_total{outcome="begun"} 1`,
		`switches_total{outcome="called_off"} 1`, `past_point_of_no_return 0`)
	r.event("switch", journal.StepFailed, journal.FailedData{Error: "guardrail disk: full"})
	r.event("", journal.RunStopped, journal.StoppedData{Reason: "x"})
	r.wants("it has stopped", []string{"outcome", "step_failures_total", "phase"}, `outcome{outcome="failed"} 1`,
		`step_failures_total{cause="guardrail",kind="cutover",step="switch"} 1`, `phase{phase="stopped"} 1`)

	r.event("", journal.RunTaken, journal.RunTakenData{Term: 2})
	r.event("switch", journal.StepStarted, nil)
	for _, kind := range []journal.Kind{journal.CutoverPreparing, journal.CutoverHolding, journal.CutoverFencing, journal.CutoverReplaying,
		journal.CutoverVerifying, journal.CutoverCommitting, journal.CutoverSwitched} {
		r.event("switch", kind, journal.CutoverData{DeadlineMS: 2000})
	}
	r.wants("nobody replays any more", append(rates, "changes_waiting", "changes_captured_total"))
	r.wants("past the point of no return", holds, `holding 1`, `hold_seconds 5`, `hold_deadline_seconds 2`, `switches_total{outcome="begun"} 2`,
		`switches_total{outcome="called_off"} 1`, `past_point_of_no_return 1`)
	r.event("switch", journal.CutoverReleased, journal.CutoverFigures{HoldMS: 750, FenceMS: 500})
	r.event("switch", journal.StepFinished, journal.FinishedData{Seconds: 3})
	r.event("", journal.RunCompleted, nil)
	r.wants("it is over", append(holds, "outcome", "step", "step_attempts"), `holding 0`, `hold_seconds 0`, `hold_deadline_seconds 2`, `last_hold_seconds 0.75`, `last_fence_seconds 0.5`,
		`switches_total{outcome="begun"} 2`, `switches_total{outcome="called_off"} 1`, `switches_total{outcome="released"} 1`,
		`past_point_of_no_return 1`, `outcome{outcome="completed"} 1`,
		`step_attempts{kind="snapshot",step="copy"} 1`, `step_attempts{kind="replay",step="replay"} 1`, `step_attempts{kind="cutover",step="switch"} 2`)
}

// A process that takes a run over begins with what it finds, and is not shown it twice.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	first := tell(t)
	first.event("copy", journal.StepStarted, nil)
	first.event("copy", journal.StepFinished, journal.FinishedData{Seconds: 42})
	first.event("replay", journal.StepStarted, nil)
	second := tell(t)
	second.at, second.Run = first.at, New()
	second.now = func() time.Time { return second.at }
	second.wants("no run is there", []string{"info", "step", "phase", "holding"})
	second.Begin(first.state.Clone())
	second.seq = 1
	second.event("", journal.RunTaken, journal.RunTakenData{Term: 1}) // known
	second.seq = first.seq
	second.pass(time.Minute)
	second.wants("taken over", []string{"step_seconds", "step_still_seconds", "step"},
		`step{kind="replay",step="replay"} 1`, `step_seconds{kind="replay",step="replay"} 62`, `step_seconds{kind="snapshot",step="copy"} 42`,
		`step_still_seconds{kind="replay",step="replay"} 61`)
	second.seq += 5 // some are missed
	second.event("replay", journal.StepFinished, journal.FinishedData{Seconds: 7})
	second.wants("goes on", []string{"step"}, `step{kind="cutover",step="switch"} 1`)
}

// Another run in the same process begins anew, as in a rehearsal.
func TestAnotherRun(t *testing.T) {
	t.Parallel()
	r := tell(t)
	r.event("copy", journal.StepNote, journal.NoteData{Level: "warn", Text: "x"})
	b, err := json.Marshal(journal.RunStartedData{Name: "down"})
	if err != nil {
		t.Fatal(err)
	}
	r.Sink(journal.Event{Seq: 1, Run: "r2", Kind: journal.RunStarted, Data: b})
	for _, line := range r.scrape() {
		if strings.Contains(line, "warnings") || strings.HasPrefix(line, "info") && !strings.Contains(line, `run="r2"`) {
			t.Error(line)
		}
	}
}

func TestTimed(t *testing.T) {
	t.Parallel()
	r := tell(t)
	r.Timed(journal.Timing{What: journal.TimedCall, Name: "pool", Call: "commit", Took: 2 * time.Second})
	r.Timed(journal.Timing{What: journal.TimedCall, Name: "pool", Call: "abort", Took: time.Second, Error: true})
	r.Timed(journal.Timing{What: journal.TimedBatch, Count: 7, Took: 40 * time.Millisecond})
	r.wants("calls and batches", []string{"participant_call_seconds_sum", "participant_call_seconds_count", "batch_seconds_sum"},
		`participant_call_seconds_sum{call="commit",outcome="done",participant="pool"} 2`, `participant_call_seconds_count{call="commit",outcome="done",participant="pool"} 1`,
		`participant_call_seconds_sum{call="abort",outcome="error",participant="pool"} 1`, `participant_call_seconds_count{call="abort",outcome="error",participant="pool"} 1`,
		`batch_seconds_sum 0.04`)
}

// A long exposition that nobody reads holds no event up.
func TestNobodyReads(t *testing.T) {
	t.Parallel()
	r := tell(t)
	pipe, hold := io.Pipe()
	t.Cleanup(func() { _ = hold.Close() })
	go r.Handler().ServeHTTP(stuck{httptest.NewRecorder(), hold}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if _, err := pipe.Read(make([]byte, 1)); err != nil { // it has begun to write, and stands
		t.Fatal(err)
	}
	r.event("copy", journal.StepStarted, nil)
	r.wants("another reads", []string{"step_attempts"}, `step_attempts{kind="snapshot",step="copy"} 1`,
		`step_attempts{kind="replay",step="replay"} 0`, `step_attempts{kind="cutover",step="switch"} 0`)
}

// stuck is an answer whose reader takes a byte and no more.
type stuck struct {
	http.ResponseWriter
	to io.Writer
}

func (s stuck) Write(b []byte) (int, error) { return s.to.Write(b) }
