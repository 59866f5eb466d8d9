package plan

import "time"

// Snapshot copies blue into green.
const Snapshot StepKind = "snapshot"

// SnapshotSpec are the fields of a snapshot.
type SnapshotSpec struct {
	Jobs       int           `yaml:"jobs"`       // parallel readers of blue, and as many index builders on green
	MaxRate    int           `yaml:"max_rate"`   // megabytes a second taken from blue; 0: no limit
	MaxLag     time.Duration `yaml:"max_lag"`    // of blue's replicas: above it the copy holds; 0: no limit
	MaxActive  int           `yaml:"max_active"` // sessions of others at work on blue: above it the copy holds; 0: no limit
	Privileges bool          `yaml:"privileges"` // owners and grants too
}

var snapshot = kind{
	name:     Snapshot,
	standard: SnapshotSpec{Jobs: 2},
	fields: fields{
		"jobs":       {Doc: "How many tables, or pieces of big ones, are copied at a time, and how many indexes are built besides.", Min: 1, Max: 64},
		"max_rate":   {Doc: "Megabytes a second that are taken from blue at most, by all jobs together. 0: no limit.", Max: 1_000_000},
		"max_lag":    {Doc: "The copy holds while a replica of blue is further behind than this (`replay_lag`). 0s: it never does."},
		"max_active": {Doc: "The copy holds while more sessions than this, ours not counted, are at work on blue's database. 0: it never does.", Max: 100_000},
		"privileges": {Doc: "Owners and grants are copied, too. Their roles must exist on green."},
	},
	hazards: func(h *hazards) {
		// A runbook that says `jobs: []` has thought about it.
		if copied := h.rb.Step(Snapshot); copied != nil && h.rb.Step(PauseJobs) == nil {
			h.add(AuthorizationsKept, copied, "add `- step: pause-jobs` with the jobs, or with `jobs: []` if there are none",
				"downstream clean-up jobs are not paused: one that sees half a truth can purge what belongs to valid sessions")
		}
	},
	order: order{
		after: []precedence{
			{"pause-jobs", "snapshot", "clean-up jobs go on while blue is copied"},
			{"capture", "snapshot", "changes made during the copy are lost"},
		},
		onGreen: []moment{"snapshot"},
	},
}
