package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tideover/tideover/internal/journal"
)

// The window that rates are taken over, and the least that says anything.
const (
	paceWindow = 30 * time.Second
	paceLeast  = 2 * time.Second
)

// metric is one that a run has. Its first label is always the run's id, which labels leaves out.
type metric struct {
	name   string
	kind   prometheus.ValueType
	labels []string
	help   string
	// read gives its values now; nil: it is a counter of Run.counts, or a histogram.
	read func(r *Run, now time.Time, put put)
}

// put gives one value, with those of the labels.
type put func(v float64, labels ...string)

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// Those that are counted where something happens.
var (
	failures = metric{"tideover_run_step_failures_total", counter, []string{"step", "kind", "cause"}, "Times that a step has failed in this process. cause is guardrail where a look before the switch has stopped it, else error.", nil}
	warnings = metric{"tideover_run_warnings_total", counter, []string{"about"}, "Warnings in this process. about is wait (one of our sessions waits for a lock or another session), retry (something is tried again), override (a person went past a guardrail), untold (one whom notify names could not be told) or other.", nil}
	asked    = metric{"tideover_run_asked_total", counter, []string{"verb", "answer"}, "What persons have asked this process for from other terminals: pause, continue, throttle, abort, deny. answer is done or refused.", nil}
	switches = metric{"tideover_run_switches_total", counter, []string{"outcome"}, "Switches in this process, the way back included: begun, released (the other side serves), called_off (the side that served before serves).", nil}
)

// The histograms. They have no label for the run.
var (
	callSeconds  = metric{"tideover_run_participant_call_seconds", gauge, []string{"participant", "call", "outcome"}, "How long calls to participants and paused jobs took: prepare, commit, abort, side. outcome is done or error.", nil}
	batchSeconds = metric{"tideover_run_batch_seconds", gauge, nil, "How long batches of the replay took that applied something; in the background with what goes on beside them, such as the audit.", nil}
)

// table is all but the histograms, in the order of docs/metrics.md.
var table = []metric{
	{"tideover_run_info", gauge, []string{"name", "version"}, "1. name is the runbook's, version that of the tideover that started the run.", func(r *Run, _ time.Time, put put) {
		put(1, r.state.Name, r.state.Version)
	}},
	{"tideover_run_started_timestamp_seconds", gauge, nil, "When the run was started, on the control database's clock.", func(r *Run, _ time.Time, put put) {
		put(float64(r.state.Started.UnixMilli()) / 1000)
	}},
	{"tideover_run_last_event_timestamp_seconds", gauge, nil, "When the run last showed any sign of life, an event or progress, on this machine's clock.", func(r *Run, _ time.Time, put put) {
		put(float64(r.last.UnixMilli()) / 1000)
	}},
	{"tideover_run_phase", gauge, []string{"phase"}, "1 for the phase that the run is in (docs/state-machine.md), 0 for the others.", func(r *Run, _ time.Time, put put) {
		for _, p := range journal.Phases() {
			put(truth(r.state.Phase == p), string(p))
		}
	}},
	{"tideover_run_outcome", gauge, []string{"outcome"}, "1 for how this process's work has ended: completed, aborted (blue is as it was), rolled_back, failed (stopped by a step's failure) or stopped (by a person). All 0: it has not.", func(r *Run, _ time.Time, put put) {
		now := outcome(&r.state)
		for _, o := range outcomes {
			put(truth(o == now), o)
		}
	}},
	{"tideover_run_past_point_of_no_return", gauge, nil, "1 once a participant may have committed.", func(r *Run, _ time.Time, put put) {
		put(truth(r.state.PastPointOfNoReturn))
	}},
	{"tideover_run_step", gauge, []string{"step", "kind"}, "1 for the step that is under way, waits, or would be next; none once all are done.", func(r *Run, _ time.Time, put put) {
		if st, ok := r.state.Current(); ok {
			put(1, st.ID, st.Kind)
		}
	}},
	{"tideover_run_step_status", gauge, []string{"step", "kind", "status"}, "1 for each step's status: pending, waiting (at its gate), running, finished, failed, undoing, undone.", func(r *Run, _ time.Time, put put) {
		r.steps(func(st journal.StepState) { put(1, st.ID, st.Kind, string(st.Status)) })
	}},
	{"tideover_run_step_attempts", gauge, []string{"step", "kind"}, "Times that a step was started; more than 1 after a resume, or a switch that was tried again.", func(r *Run, _ time.Time, put put) {
		r.steps(func(st journal.StepState) { put(float64(st.Attempts), st.ID, st.Kind) })
	}},
	{"tideover_run_step_seconds", gauge, []string{"step", "kind"}, "Seconds that a step has taken: so far while it is under way, then those of its last attempt, or of being taken back.", func(r *Run, now time.Time, put put) {
		r.steps(func(st journal.StepState) {
			if began, ok := r.began[st.ID]; ok && underWay(st) {
				put(max(0, now.Sub(began).Seconds()), st.ID, st.Kind)
			} else if took, ok := r.took[st.ID]; ok {
				put(took, st.ID, st.Kind)
			}
		})
	}},
	{"tideover_run_step_still_seconds", gauge, []string{"step", "kind"}, "Seconds for which a step that is under way has not moved: no event, and no progress that differs. Steps that wait at a gate have none.", func(r *Run, now time.Time, put put) {
		r.steps(func(st journal.StepState) {
			if moved, ok := r.moved[st.ID]; ok && underWay(st) {
				put(max(0, now.Sub(moved).Seconds()), st.ID, st.Kind)
			}
		})
	}},
	{"tideover_run_step_done", gauge, []string{"step", "kind", "unit"}, "How far a step is, in its unit: bytes, rows, changes, blocks or steps; of monitor milliseconds.", func(r *Run, _ time.Time, put put) {
		r.steps(func(st journal.StepState) {
			if st.Progress.Unit != "" {
				put(float64(st.Progress.Done), st.ID, st.Kind, unitOf(st))
			}
		})
	}},
	{"tideover_run_step_target", gauge, []string{"step", "kind", "unit"}, "How far it is to go, where that is known.", func(r *Run, _ time.Time, put put) {
		r.steps(func(st journal.StepState) {
			if st.Progress.Total > 0 {
				put(float64(st.Progress.Total), st.ID, st.Kind, unitOf(st))
			}
		})
	}},
	{"tideover_run_step_left_seconds", gauge, []string{"step", "kind"}, "Seconds that a step still takes at the pace so far, where it can tell: the copy.", func(r *Run, _ time.Time, put put) {
		r.steps(func(st journal.StepState) {
			if st.Progress.LeftS > 0 && underWay(st) {
				put(float64(st.Progress.LeftS), st.ID, st.Kind)
			}
		})
	}},
	failures,
	{"tideover_run_changes_captured_total", counter, nil, "Changes that blue's clients have made since capture. This and the next seven are there while changes are replayed, up to the switch.", func(r *Run, _ time.Time, put put) {
		if p, ok := r.replay(); ok {
			put(float64(p.Total))
		}
	}},
	{"tideover_run_changes_replayed_total", counter, nil, "Those of them that green has.", func(r *Run, _ time.Time, put put) {
		if p, ok := r.replay(); ok {
			put(float64(p.Done))
		}
	}},
	{"tideover_run_changes_waiting", gauge, nil, "Those that green does not have yet: the lag.", func(r *Run, _ time.Time, put put) {
		if p, ok := r.replay(); ok {
			put(float64(p.Backlog.Changes))
		}
	}},
	{"tideover_run_changes_oldest_seconds", gauge, nil, "How long ago the oldest change that waits was made.", func(r *Run, _ time.Time, put put) {
		if p, ok := r.replay(); ok {
			put(p.Backlog.OldestS)
		}
	}},
	{"tideover_run_changes_parked", gauge, nil, "Changes that can't be applied and are set aside: the switch refuses to begin.", func(r *Run, _ time.Time, put put) {
		if p, ok := r.replay(); ok {
			put(float64(p.Backlog.Parked))
		}
	}},
	{"tideover_run_changes_captured_per_second", gauge, nil, "Changes that come, a second, over the last half minute that replay was seen.", func(r *Run, _ time.Time, put put) {
		if first, last, ok := r.window(); ok {
			put(float64(last.captured-first.captured) / last.at.Sub(first.at).Seconds())
		}
	}},
	{"tideover_run_changes_replayed_per_second", gauge, nil, "Changes that are replayed, a second, over the same time.", func(r *Run, _ time.Time, put put) {
		if first, last, ok := r.window(); ok {
			put(float64(last.replayed-first.replayed) / last.at.Sub(first.at).Seconds())
		}
	}},
	{"tideover_run_audit_rows_total", counter, nil, "Rows that the audit beside replay has held against green in this process.", func(r *Run, _ time.Time, put put) {
		if p, ok := r.replay(); ok {
			put(float64(p.Backlog.Audited))
		}
	}},
	{"tideover_run_holding", gauge, nil, "1 while this run has writes and logins wait at the router: from the hold to the release, as the journal has it.", func(r *Run, _ time.Time, put put) {
		put(truth(!r.hold.IsZero()))
	}},
	{"tideover_run_hold_seconds", gauge, nil, "Seconds that they have waited by now; 0 while nobody waits. How many wait, the router says: tideover_router_held.", func(r *Run, now time.Time, put put) {
		if r.hold.IsZero() {
			put(0)
		} else {
			put(max(0, now.Sub(r.hold).Seconds()))
		}
	}},
	{"tideover_run_hold_deadline_seconds", gauge, nil, "The longest that a hold of this run may take up to the point of no return, once a switch has begun.", func(r *Run, _ time.Time, put put) {
		if ms := r.state.Cutover.DeadlineMS; ms > 0 {
			put(float64(ms) / 1000)
		}
	}},
	{"tideover_run_last_hold_seconds", gauge, nil, "How long the hold of the last switch took that went through.", func(r *Run, _ time.Time, put put) {
		if ms := r.state.Cutover.HoldMS; ms > 0 {
			put(float64(ms) / 1000)
		}
	}},
	{"tideover_run_last_fence_seconds", gauge, nil, "How long no database took writes in it.", func(r *Run, _ time.Time, put put) {
		if ms := r.state.Cutover.FenceMS; ms > 0 {
			put(float64(ms) / 1000)
		}
	}},
	switches,
	{"tideover_run_gate_waiting_seconds", gauge, []string{"step"}, "Seconds for which a step has waited for approval; there while one does.", func(r *Run, now time.Time, put put) {
		if g := r.state.Gate; g != nil && !r.gate.IsZero() {
			put(max(0, now.Sub(r.gate).Seconds()), g.Step)
		}
	}},
	{"tideover_run_paused", gauge, nil, "1 while a person has the run wait.", func(r *Run, _ time.Time, put put) {
		put(truth(r.state.Paused != nil))
	}},
	asked,
	warnings,
}

var outcomes = []string{"completed", "aborted", "rolled_back", "failed", "stopped"}

// outcome is how the work on a run has ended; "" while it goes on.
func outcome(s *journal.State) string {
	switch s.Phase {
	case journal.Completed:
		return "completed"
	case journal.Aborted:
		return "aborted"
	case journal.RolledBack:
		return "rolled_back"
	}
	if !s.Phase.IsStopped() {
		return ""
	}
	for _, st := range s.Steps {
		if st.Status == journal.StepIsFailed {
			return "failed"
		}
	}
	return "stopped"
}

func (r *Run) steps(f func(journal.StepState)) {
	for _, st := range r.state.Steps {
		f(st)
	}
}

func underWay(st journal.StepState) bool {
	return st.Status == journal.StepIsRunning || st.Status == journal.StepIsUndoing
}

// unitOf is the unit of a step's progress; monitor counts the milliseconds of its time.
func unitOf(st journal.StepState) string {
	if st.Kind == "monitor" {
		return "milliseconds"
	}
	return st.Progress.Unit
}

// replay is what the step that replays has said last, while it does. The last changes, which come over in the hold, it does not count.
func (r *Run) replay() (p journal.ProgressData, ok bool) {
	if r.state.PastPointOfNoReturn || r.state.Phase.GoesBack() || r.state.Phase.Ended() {
		return p, false
	}
	for _, st := range r.state.Steps {
		if st.Progress.Backlog != nil && (!ok || st.Progress.Total >= p.Total) {
			p, ok = st.Progress, true
		}
	}
	return p, ok
}

// window is the first and the last look at the backlog that a rate is taken over.
func (r *Run) window() (first, last sample, ok bool) {
	if _, there := r.replay(); !there || len(r.pace) < 2 {
		return first, last, false
	}
	first, last = r.pace[0], r.pace[len(r.pace)-1]
	return first, last, last.at.Sub(first.at) >= paceLeast
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// desc is how Prometheus knows a metric.
func (m metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.name, m.help, append([]string{"run"}, m.labels...), nil)
}

// Describe lists what Collect gives.
func (r *Run) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range table {
		ch <- m.desc()
	}
}

// Collect gives the figures as they are now. Nobody who takes them slowly keeps the run's events from coming in.
func (r *Run) Collect(ch chan<- prometheus.Metric) {
	for _, v := range r.values() {
		ch <- v
	}
}

func (r *Run) values() (list []prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Seq == 0 {
		return nil // no run yet
	}
	now := r.now()
	for _, m := range table {
		d := m.desc()
		put := func(v float64, labels ...string) {
			list = append(list, prometheus.MustNewConstMetric(d, m.kind, v, append([]string{r.state.Run}, labels...)...))
		}
		if m.read != nil {
			m.read(r, now, put)
			continue
		}
		for labels, n := range r.counts[m.name] {
			put(n, strings.Split(labels, "\x00")...)
		}
	}
	return list
}
