package steps

import (
	"fmt"
	"strings"
)

// Faults switch off one safeguard each, so that a rehearsal can show that its judges (the checker and the oracle) see
// the loss that follows. With any of them on, the run's own checks only warn: the judges must have the last word. They
// are a test hook of the demo; no runbook can ask for them.
type Faults struct {
	NoCapture    bool // changes on blue are not recorded
	NoLastReplay bool // replay ends when the cutover begins; nothing is brought over in the hold
	NoFence      bool // blue's database goes on accepting writes
	NoRepair     bool // rows that the vendor's migrations corrupt are left so
}

// Any says whether a safeguard is off.
func (f Faults) Any() bool { return f != Faults{} }

// FaultNames are the words that ParseFaults knows.
var FaultNames = []string{"no-capture", "no-last-replay", "no-fence", "no-repair"}

// ParseFaults reads a list of fault names.
func ParseFaults(names []string) (Faults, error) {
	var f Faults
	for _, name := range names {
		switch name {
		case "no-capture":
			f.NoCapture = true
		case "no-last-replay":
			f.NoLastReplay = true
		case "no-fence":
			f.NoFence = true
		case "no-repair":
			f.NoRepair = true
		default:
			return f, fmt.Errorf("fault %q is unknown; there are %s", name, strings.Join(FaultNames, ", "))
		}
	}
	return f, nil
}
