package plan

import "time"

// Replay brings captured changes over until the backlog is small, and keeps going until the cutover.
const Replay StepKind = "replay"

// ReplaySpec are the fields of a replay.
type ReplaySpec struct {
	Batch     int           `yaml:"batch"`      // changes a batch at most
	UntilLag  int           `yaml:"until_lag"`  // changes
	UntilAge  time.Duration `yaml:"until_age"`  // of the oldest change
	SteadyFor time.Duration `yaml:"steady_for"` // how long it must stay so
	Timeout   time.Duration `yaml:"timeout"`    // to reach it
	Audit     int           `yaml:"audit"`      // percent of the time that the audit may take; 0: none
	AuditPass bool          `yaml:"audit_pass"` // the step waits for the audit's first pass
}

var replay = kind{
	name:     Replay,
	standard: ReplaySpec{Batch: 2000, UntilLag: 100, UntilAge: 2 * time.Second, Timeout: time.Hour, Audit: 10},
	fields: fields{
		"batch":      {Doc: "Changes in a batch, at most.", Min: 1, Max: 100_000},
		"until_lag":  {Doc: "The step is done when no more changes than this wait, or `until_age` is met."},
		"until_age":  {Doc: "The step is also done when no change has waited longer than this: on a busy server some always wait."},
		"steady_for": {Doc: "The step is done only after the backlog has stayed that small for so long without a break: replay keeps up, and did not just meet a lull."},
		"timeout":    {Doc: "How long it may take to get there, `steady_for` included.", Min: 1},
		"audit":      {Doc: "Percent of the time that the audit may take: up to the switch it brings rows of blue, table after table and those that were changed lately, through the migrations and holds them against green. The first difference stops the run, by table, key and columns. 0: no audit.", Max: 100},
		"audit_pass": {Doc: "The step is done only after the audit has gone through all tables once."},
	},
	order: order{
		after: []precedence{
			{offline, "replay", "changes of the new shape meet the old schema"},
			{cleanupAfter, "replay", "it meets rows that are newer than the copy"},
		},
		onGreen: []moment{"replay"},
		needs: []need{
			{"replay", []moment{"capture"}, "only captured changes can be replayed"},
			{"replay", []moment{offline}, "changes go through the same migrations as the copy"},
		},
	},
}
