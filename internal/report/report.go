// Package report turns the events of a run into what people and programs read: JSON lines, plain lines, and the report.
//
// stdout is the answer: with --json one event a line, the last one the report. The fields of Report are a contract with
// other programs (docs/events.md); a test holds them.
package report

import "github.com/tideover/tideover/internal/journal"

// Report is the data of the last line of --json ("kind":"run.report"). Times are in milliseconds unless the name says
// otherwise.
type Report struct {
	Outcome        string         `json:"outcome"` // "completed", "aborted", "rolled_back" or "failed"
	Reason         string         `json:"reason,omitempty"`
	Stopped        string         `json:"stopped,omitempty"` // set where the run was put down and can be resumed: what stands meanwhile
	Run            string         `json:"run,omitempty"`
	Requests       Requests       `json:"requests"`
	Revocations    Revocations    `json:"revocations"`
	Authorizations Authorizations `json:"authorizations"`
	Rows           Rows           `json:"rows"`
	Oracle         Oracle         `json:"oracle"`
	Audit          *Audit         `json:"audit,omitempty"` // nil: there was none
	Cutover        Cutover        `json:"cutover"`
	// LongestBlockMS is the longest that any query of the live server was seen to wait for a lock of ours.
	LongestBlockMS int64      `json:"longest_block_ms"`
	Steps          []StepTime `json:"steps"`
	// Migrations are the statements of migrations that took longest.
	Migrations []journal.StatementTime `json:"migrations,omitempty"`
	Servers    Servers                 `json:"servers"`
	Database   Database                `json:"database"`
	Findings   []string                `json:"findings,omitempty"` // what the checker and the oracle hold against the run
	Notes      []string                `json:"notes,omitempty"`
	Kept       string                  `json:"kept,omitempty"` // the folder in which a rehearsal was kept
}

// Requests is what the clients saw.
type Requests struct {
	Total     int     `json:"total"`
	Failed    int     `json:"failed"`
	Held      int     `json:"held"`
	HoldMSP50 float64 `json:"hold_ms_p50"`
	HoldMSMax float64 `json:"hold_ms_max"`
	// Reads are introspection, userinfo, discovery and keys, which nothing holds: those that were asked within the hold,
	// the longest that one of them took, and the longest that any read of the rehearsal waited in the router for its turn.
	ReadsInHold   int     `json:"reads_in_hold"`
	ReadMSInHold  float64 `json:"read_ms_max_in_hold"`
	ReadWaitMSMax float64 `json:"read_wait_ms_max"`
	P95MSBefore   float64 `json:"p95_ms_before"`
	P95MSAfter    float64 `json:"p95_ms_after"`
}

// Revocations is authority taken away. Captured counts the changes that triggers recorded; Replayed those applied on
// green; Verified those that green was asked about and refuses; Lost is the checker's count. Acknowledged counts what
// clients were told, InWindow those of them while the replay or the hold was on.
type Revocations struct {
	Captured     int64 `json:"captured"`
	Replayed     int64 `json:"replayed"`
	Verified     int64 `json:"verified"`
	Lost         int   `json:"lost"`
	Acknowledged int   `json:"acknowledged"`
	InWindow     int   `json:"in_window"`
}

// Authorizations is authority given out, by the checker's count.
type Authorizations struct {
	Issued int `json:"issued"`
	Lost   int `json:"lost"`
}

// Rows is what was moved and mended.
type Rows struct {
	Copied      int64 `json:"copied"`
	Updated     int64 `json:"updated"`
	Inserted    int64 `json:"inserted"`
	Quarantined int64 `json:"quarantined"`
	Repaired    int64 `json:"repaired"`
}

// Oracle is the comparison of green at the switch with blue's final state migrated offline.
type Oracle struct {
	Tables       int   `json:"tables"`
	RowsCompared int64 `json:"rows_compared"`
	Differences  int   `json:"differences"`
	// Unseen counts, by table.column, values of which only the form was compared, and by table the rows that were not.
	Unseen map[string]int64 `json:"unseen,omitempty"`
}

// Audit is what was held against green while replay went on, in the process that made the switch.
type Audit struct {
	Passes int              `json:"passes"` // through all tables
	Rows   map[string]int64 `json:"rows"`   // by table of blue
}

// Cutover is the switch.
type Cutover struct {
	HoldMS       int64    `json:"hold_ms"`
	FenceMS      int64    `json:"fence_ms"`
	Participants []string `json:"participants"`
	CalledOff    bool     `json:"called_off,omitempty"` // begun, and given back before the point of no return
}

// StepTime is how long a step took.
type StepTime struct {
	ID      string  `json:"id"`
	Seconds float64 `json:"seconds"`
}

// Servers compares the OAuth servers under the same traffic.
type Servers struct {
	Before Server `json:"before"`
	After  Server `json:"after"`
}

// Server is what one OAuth server used. CPUCores is an average over the time that it was watched.
type Server struct {
	P95MS      float64 `json:"p95_ms"`
	RSSMB      float64 `json:"rss_mb"`
	HeapMB     float64 `json:"heap_mb"`
	Goroutines int     `json:"goroutines"`
	CPUCores   float64 `json:"cpu_cores"`
}

// Database is what green's database did during the run, from pg_stat_database.
type Database struct {
	RowsUpdated  int64 `json:"rows_updated"`
	RowsInserted int64 `json:"rows_inserted"`
	TempBytes    int64 `json:"temp_bytes"`
	Commits      int64 `json:"commits"`
}
