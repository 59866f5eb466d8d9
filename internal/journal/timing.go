package journal

import "time"

// Timing is how long something took of which there are too many for the journal, or which is no event of the run. Like a Sink, who is
// told never holds the run up. It has names of the runbook and nothing of what was said or written.
type Timing struct {
	Step  string
	What  TimingKind
	Name  string // of a participant
	Call  string // to a participant: "prepare", "commit", "abort" or "side"
	Count int64  // changes of a batch
	Began time.Time
	Took  time.Duration
	Error bool // it ended in an error
}

// TimingKind is what was timed.
type TimingKind string

// What is timed.
const (
	TimedCall  TimingKind = "participant" // a call to a participant or a paused job
	TimedBatch TimingKind = "batch"       // a batch of the replay that applied something
)
