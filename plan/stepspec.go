package plan

import "time"

// StepKind is a kind of step; the word after "step:" in a runbook.
type StepKind string

// The kinds of step, in the order in which they make sense.
const (
	Preflight      StepKind = "preflight"
	TokenLifetimes StepKind = "token-lifetimes"
	PauseJobs      StepKind = "pause-jobs"
	CompatViews    StepKind = "compat-views"
	Capture        StepKind = "capture"
	Snapshot       StepKind = "snapshot"
	Cleanup        StepKind = "cleanup"
	Migrate        StepKind = "migrate"
	Replay         StepKind = "replay"
	Validate       StepKind = "validate"
	Cutover        StepKind = "cutover"
	Monitor        StepKind = "monitor"
	Retire         StepKind = "retire"
)

// PreflightSpec looks before anything is changed.
type PreflightSpec struct {
	MaxTransaction time.Duration `yaml:"max_transaction"` // a transaction older than this on blue stops the run; default 5m
	MaxClockSkew   time.Duration `yaml:"max_clock_skew"`  // default 2s
	MaxQuery       time.Duration `yaml:"max_query"`       // one question to blue; default 1m
}

// TokenLifetimesSpec raises access-token lifetimes while the run is on.
type TokenLifetimesSpec struct {
	AccessToken time.Duration `yaml:"access_token"`
}

// PauseJobsSpec stops downstream clean-up jobs; resumed after validation, or on every way out.
type PauseJobsSpec struct {
	Jobs []ParticipantSpec `yaml:"jobs"`
}

// CompatViewsSpec puts views with explicit columns in front of the tables, for an old server that reads with SELECT *.
type CompatViewsSpec struct {
	Role    string        `yaml:"role"`    // the server's; default: blue.server_role
	Timeout time.Duration `yaml:"timeout"` // how long to wait for the server's old sessions to end; default 2h
}

// CaptureSpec begins to record changes on blue.
type CaptureSpec struct {
	Source   string `yaml:"source"`     // "triggers", "logical" or "outbox"; default triggers
	OnError  string `yaml:"on_error"`   // triggers: "fail" or "mark-incomplete"; default fail
	Outbox   string `yaml:"outbox"`     // outbox: the table that the server writes
	MaxWALMB int    `yaml:"max_wal_mb"` // logical: MiB of blue's log that the slot may keep; 0: any; default 10240
}

// SnapshotSpec copies blue into green.
type SnapshotSpec struct {
	Jobs       int           `yaml:"jobs"`       // parallel readers of blue, and as many index builders on green; default 2
	MaxRate    int           `yaml:"max_rate"`   // megabytes a second taken from blue; 0: no limit
	MaxLag     time.Duration `yaml:"max_lag"`    // of blue's replicas: above it the copy holds; 0: no limit
	MaxActive  int           `yaml:"max_active"` // sessions of others at work on blue: above it the copy holds; 0: no limit
	Privileges bool          `yaml:"privileges"` // owners and grants too
}

// CleanupSpec runs the profile's rules of one phase.
type CleanupSpec struct {
	Phase   string           `yaml:"phase"`        // "before" or "after" the migrations
	Approve map[string]int64 `yaml:"approve_rows"` // rule → rows that a person has approved, above expect_at_most
}

// MigrateSpec runs migrations. Exactly one of Source and Command.
type MigrateSpec struct {
	Target string `yaml:"target"` // "offline": green; "live": blue, in place
	Source string `yaml:"source"` // "bundled" or a folder of migrations, relative to the runbook
	Format string `yaml:"format"` // "goose", "plain" or "pop"; empty: goose or pop, as the names say
	From   int64  `yaml:"from"`   // live: the version that blue has; 0: all files count when hazards are looked for
	To     int64  `yaml:"to"`     // goose version; 0: the newest
	// AsWritten runs offline migrations one after the other instead of arranging their statements for speed.
	AsWritten bool     `yaml:"as_written"`
	Command   []string `yaml:"command"` // the vendor's own; the DSN is in the environment variable DSN
	// Allow names hazards of live migrations that a person accepts (docs/sqlrewrite.md).
	Allow []string `yaml:"allow"`
	// Defer names hazards whose statements wait for retire, when the old server is gone.
	Defer []string `yaml:"defer"`
	// EndBlockers are application names whose sessions a live migration may end when they hold up its locks.
	EndBlockers []string `yaml:"end_blockers"`
}

// ReplaySpec brings captured changes over until the backlog is small, and keeps going until the cutover.
type ReplaySpec struct {
	Batch     int           `yaml:"batch"`      // changes a batch at most; default 2000
	UntilLag  int           `yaml:"until_lag"`  // changes; default 100
	UntilAge  time.Duration `yaml:"until_age"`  // of the oldest change; default 2s
	SteadyFor time.Duration `yaml:"steady_for"` // how long it must stay so; default 0
	Timeout   time.Duration `yaml:"timeout"`    // to reach it; default 1h
}

// ValidateSpec asks the profile's invariants on both sides.
type ValidateSpec struct {
	Repair bool `yaml:"repair"` // repair differences from blue, then ask again
}

// CutoverSpec is the switch.
type CutoverSpec struct {
	Deadline    time.Duration `yaml:"deadline"`     // from the first hold to the release; default 10s
	DrainLogins time.Duration `yaml:"drain_logins"` // how long logins under way may finish; default 5s
	Tries       int           `yaml:"tries"`        // switches begun in all when the deadline calls one off; default 3
	MaxLag      int           `yaml:"max_lag"`      // changes; the hold waits for the backlog to come down to it; default 1000

	MaxTransaction time.Duration `yaml:"max_transaction"` // one older than this on blue keeps the hold from beginning; default 30s
	MinDisk        int           `yaml:"min_disk"`        // MiB that must be free for each database; default 1024
	Window         string        `yaml:"window"`          // when the hold may begin (ParseWindow); empty: at any time
	Canary         time.Duration `yaml:"canary"`          // how long introspections are also asked of green before the hold; default 0: not at all
	CanaryShare    float64       `yaml:"canary_share"`    // which share of them; default 0.1

	Participants []ParticipantSpec `yaml:"participants"` // besides the router, committed in this order before it
}

// ParticipantSpec is something that switches together with the rest. Kind says which fields count.
type ParticipantSpec struct {
	Name string `yaml:"name"`
	Kind string `yaml:"kind"` // "http", "exec", "file", "sql", "pgbouncer"
	URL  string `yaml:"url"`  // http: POST URL/prepare, /commit, /abort; GET URL/status

	Secret string `yaml:"secret"` // http: signs each call

	Prepare []string `yaml:"prepare"` // exec: argv
	Commit  []string `yaml:"commit"`
	Abort   []string `yaml:"abort"`
	Status  []string `yaml:"status"`

	Path  string `yaml:"path"`  // file
	Blue  string `yaml:"blue"`  // file: content for blue
	Green string `yaml:"green"` // file: content for green

	DSN       string `yaml:"dsn"` // sql, pgbouncer
	CommitSQL string `yaml:"commit_sql"`
	AbortSQL  string `yaml:"abort_sql"`
	StatusSQL string `yaml:"status_sql"` // returns 'blue' or 'green'

	Timeout time.Duration `yaml:"timeout"` // one call; default 5s
}

// MonitorSpec watches green after the switch.
type MonitorSpec struct {
	For          time.Duration `yaml:"for"`
	MaxErrorRate float64       `yaml:"max_error_rate"` // share of 5xx answers at the router; default 0.01
	Rollback     bool          `yaml:"rollback"`       // go back by itself when a limit is passed
}

// RetireSpec removes triggers and our schema. Blue is kept, read-only.
type RetireSpec struct{}
