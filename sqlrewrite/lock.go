package sqlrewrite

import "fmt"

// Level is a table lock, with Postgres' own number: a higher one conflicts with at least as much, but for SHARE and
// SHARE UPDATE EXCLUSIVE, which conflict with different things. Source: manual 13.3.1.
type Level int

// The levels.
const (
	None Level = iota
	AccessShare
	RowShare
	RowExclusive
	ShareUpdateExclusive
	Share
	ShareRowExclusive
	Exclusive
	AccessExclusive
)

var levels = [...]string{"NONE", "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE",
	"SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"}

// String is the level as LOCK TABLE spells it.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levels) {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return levels[l]
}

// BlocksReads: SELECT waits.
func (l Level) BlocksReads() bool { return l == AccessExclusive }

// BlocksWrites: INSERT, UPDATE and DELETE wait.
func (l Level) BlocksWrites() bool { return l >= Share }
