// Package metrics is what a run says of itself to Prometheus, over HTTP: which step it is at and for how long that has not moved, how
// fast changes come and are replayed, whether clients wait, who is waited for, and how it ends. It is fed with the run's events and
// with no look of its own at anything; docs/metrics.md lists what there is.
//
// A scraper costs the run nothing: it is given a copy, and what can't be given away in time is thrown away.
package metrics

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tideover/tideover/internal/journal"
)

// Run is the figures of the run that this process works on.
type Run struct {
	registry *prometheus.Registry
	calls    *prometheus.HistogramVec
	batches  prometheus.Histogram
	now      func() time.Time

	mu     sync.Mutex
	state  journal.State
	last   time.Time            // this machine's, of the last event or progress
	moved  map[string]time.Time // when each step's progress last changed
	began  map[string]time.Time // when each step under way was last begun, or begun to be taken back
	took   map[string]float64   // seconds that each ended step took
	gate   time.Time            // since when the gate waits; zero: none does
	hold   time.Time            // since when clients wait; zero: they don't
	counts map[string]map[string]float64
	pace   []sample // of the backlog, oldest first

	scrapes []time.Time   // the last
	waiting chan struct{} // has a token once the end was scraped; nil before the end
}

// sample is how many changes were captured and replayed at a time.
type sample struct {
	at                 time.Time
	captured, replayed int64
}

// New makes the figures of a run that has not begun.
func New() *Run {
	r := &Run{
		registry: prometheus.NewRegistry(), now: time.Now,
		calls:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: callSeconds.name, Help: callSeconds.help, Buckets: callBuckets}, callSeconds.labels),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{Name: batchSeconds.name, Help: batchSeconds.help, Buckets: callBuckets}),
	}
	r.begin(journal.State{})
	r.registry.MustRegister(r, r.calls, r.batches, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// callBuckets fit a call to a participant as well as a batch of the replay.
var callBuckets = []float64{.005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// Begin is the state in which this process has found the run. Its times are the database server's, which are taken for ours.
func (r *Run) Begin(s journal.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begin(s)
}

// begin needs the lock.
func (r *Run) begin(s journal.State) {
	now := r.now()
	r.state, r.last, r.gate, r.hold, r.pace = s, now, time.Time{}, time.Time{}, nil
	r.moved, r.began, r.took = map[string]time.Time{}, map[string]time.Time{}, map[string]float64{}
	r.counts = map[string]map[string]float64{}
	for _, st := range s.Steps {
		if st.Status == journal.StepIsRunning || st.Status == journal.StepIsUndoing {
			r.moved[st.ID], r.began[st.ID] = now, st.Started
		}
		if st.Seconds > 0 {
			r.took[st.ID] = st.Seconds
		}
	}
	if s.Gate != nil {
		r.gate = s.Gate.Since
	}
	if holding(s.Cutover.Last) {
		r.hold = s.Cutover.At
	}
}

// holding says whether clients may wait after an event of the switch.
func holding(last journal.Kind) bool {
	switch last {
	case journal.CutoverHolding, journal.CutoverFencing, journal.CutoverReplaying, journal.CutoverVerifying,
		journal.CutoverCommitting, journal.CutoverSwitched:
		return true
	}
	return false
}

// Timed takes how long a call or a batch took.
func (r *Run) Timed(t journal.Timing) {
	switch t.What {
	case journal.TimedCall:
		outcome := "done"
		if t.Error {
			outcome = "error"
		}
		r.calls.WithLabelValues(t.Name, t.Call, outcome).Observe(t.Took.Seconds())
	case journal.TimedBatch:
		r.batches.Observe(t.Took.Seconds())
	}
}

// Sink takes the run's events. What can't follow is left out: the journal, and not who counts, is what a run needs.
func (r *Run) Sink(e journal.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Kind == journal.RunStarted && e.Run != r.state.Run {
		r.begin(journal.State{})
	}
	if e.Seq != 0 && e.Seq <= r.state.Seq {
		return // the state that we began with has it
	}
	before, _ := r.state.Step(e.Step)
	if e.Seq > r.state.Seq+1 {
		r.state.Seq, r.state.Run = e.Seq-1, e.Run // some were missed
	}
	if err := r.state.Apply(e); err != nil {
		if e.Seq != 0 {
			r.state.Seq = e.Seq
		}
		return
	}
	r.follow(e, before)
}

// follow keeps what the state does not. It needs the lock.
func (r *Run) follow(e journal.Event, before journal.StepState) {
	now := r.now()
	r.last = now
	if e.Step != "" && e.Kind != journal.StepProgress {
		r.moved[e.Step] = now
	}
	switch e.Kind {
	case journal.StepProgress:
		r.progress(e, before, now)
	case journal.StepStarted, journal.StepUndoing:
		r.began[e.Step] = now
	case journal.StepFinished:
		r.took[e.Step] = read[journal.FinishedData](e).Seconds
	case journal.StepFailed:
		cause := "error"
		if strings.HasPrefix(read[journal.FailedData](e).Error, "guardrail ") {
			cause = "guardrail"
		}
		r.count(failures.name, e.Step, before.Kind, cause)
		r.ended(e.Step, now)
	case journal.StepUndone:
		r.ended(e.Step, now)
	case journal.StepNote:
		if d := read[journal.NoteData](e); d.Level == "warn" {
			r.count(warnings.name, aboutOf(d.About))
		}
	case journal.RunAsked:
		d := read[journal.AskedData](e)
		answer := "refused"
		if d.Done {
			answer = "done"
		}
		r.count(asked.name, d.Verb, answer)
	case journal.CutoverPreparing:
		r.count(switches.name, "begun")
	case journal.CutoverReleased:
		r.count(switches.name, "released")
	case journal.CutoverAborted:
		r.count(switches.name, "called_off")
	}
	if r.state.Gate == nil {
		r.gate = time.Time{}
	} else if r.gate.IsZero() {
		r.gate = now
	}
	switch last := r.state.Cutover.Last; {
	case last == journal.CutoverAborting: // clients wait until it is done
	case !holding(last):
		r.hold = time.Time{}
	case r.hold.IsZero():
		r.hold = now
	}
}

// ended is the end of an attempt that says nothing of how long it took. It needs the lock.
func (r *Run) ended(step string, now time.Time) {
	if began, ok := r.began[step]; ok {
		r.took[step] = now.Sub(began).Seconds()
	}
}

// progress needs the lock.
func (r *Run) progress(e journal.Event, before journal.StepState, now time.Time) {
	p, old := read[journal.ProgressData](e), before.Progress
	if p.Done != old.Done || p.Total != old.Total || p.Rows != old.Rows || !reflect.DeepEqual(p.Parts, old.Parts) {
		r.moved[e.Step] = now
	}
	if p.Backlog == nil {
		return
	}
	first := 0
	for first < len(r.pace)-1 && now.Sub(r.pace[first].at) > paceWindow {
		first++
	}
	r.pace = append(append([]sample(nil), r.pace[first:]...), sample{now, p.Total, p.Done})
}

// count adds one to a counter. It needs the lock.
func (r *Run) count(name string, labels ...string) {
	of := r.counts[name]
	if of == nil {
		of = map[string]float64{}
		r.counts[name] = of
	}
	of[strings.Join(labels, "\x00")]++
}

func aboutOf(about string) string {
	if about == "" {
		return "other"
	}
	return about
}

func read[T any](e journal.Event) (v T) {
	_ = json.Unmarshal(e.Data, &v) // our own
	return v
}
