package sqlrewrite

import "slices"

// The names by which a person allows a hazard.
const (
	BlocksWrites    = "blocks-writes"      // writes wait for as long as the statement takes
	BlocksReads     = "blocks-reads"       // reads wait too
	ColumnOrder     = "column-order"       // a column moves to the end of its table
	RewritesTable   = "rewrites-table"     // every row is written again behind ACCESS EXCLUSIVE
	HoldsLock       = "holds-lock"         // a lock is held while a later statement of the transaction takes its time
	WritesTable     = "writes-whole-table" // rows of a whole table are locked and written in one transaction
	MovesData       = "moves-data"         // what is written meanwhile may be missing in the copy
	BreaksOldServer = "breaks-old-server"  // the server in use needs what is removed or renamed
	LosesData       = "loses-data"
	FailsOnRows     = "fails-on-rows" // it can only succeed on an empty table
	NeedsValue      = "needs-value"   // a column gets NOT NULL without a default: the server in use must give it a value
	Opaque          = "opaque"        // what it does can't be seen
	Unknown         = "unknown"       // its locks aren't known to us
	NotSplit        = "not-split"     // parts of the script depend on each other, so that it stays whole
)

// HazardNames lists them. The runbook's table of what each of them gives up is in plan/migrate.go; a test compares the two.
func HazardNames() []string {
	return []string{BlocksWrites, BlocksReads, ColumnOrder, RewritesTable, HoldsLock, WritesTable, MovesData, BreaksOldServer, LosesData, FailsOnRows,
		NeedsValue, Opaque, Unknown, NotSplit}
}

func hazardNames(list []Hazard) []string {
	var names []string
	for _, h := range list {
		if !slices.Contains(names, h.Name) {
			names = append(names, h.Name)
		}
	}
	return names
}

// Hazard is what a statement does to live traffic and rewriting doesn't take away.
type Hazard struct {
	Name      string // one of the names above
	File      string
	Line      int
	Statement string // its SQL
	Text      string // what can happen
	Hint      string // what would avoid it
}
