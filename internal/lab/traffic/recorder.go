package traffic

import (
	"slices"
	"sync"
	"time"
)

// Recorder writes a history down while it happens. It is safe for concurrent use. The order of its records is the order
// of their times: both are taken under one lock.
type Recorder struct {
	mu      sync.Mutex
	started time.Time
	expect  Expect
	records []Record
	ops     int64
	live    live
}

// NewRecorder begins a history now.
func NewRecorder(expect Expect) *Recorder {
	return &Recorder{started: time.Now(), expect: expect}
}

// Begin records that a request is about to be sent and returns its id.
func (r *Recorder) Begin(q Request) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops++
	at := time.Since(r.started)
	r.live.begin(r.ops, at, q.Target)
	r.records = append(r.records, Record{At: at, Op: r.ops, Request: &q})
	return r.ops
}

// End records the answer to a request.
func (r *Recorder) End(op int64, a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := time.Since(r.started)
	r.live.end(op, at, a)
	r.records = append(r.records, Record{At: at, Op: op, Answer: &a})
}

// Mark records that a phase begins.
func (r *Recorder) Mark(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, Record{At: time.Since(r.started), Mark: name})
}

// History returns what happened so far. Requests under way have no answer in it.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &History{Started: r.started, Expect: r.expect, Records: slices.Clone(r.records), Closed: len(r.records)}
}
