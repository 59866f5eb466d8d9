package plan

import "time"

// Monitor watches green after the switch.
const Monitor StepKind = "monitor"

// MonitorSpec are the fields of a monitor step.
type MonitorSpec struct {
	For          time.Duration `yaml:"for"`
	MaxErrorRate float64       `yaml:"max_error_rate"` // share of 5xx answers at the router
	Rollback     bool          `yaml:"rollback"`       // go back by itself when a limit is passed
}

var monitor = kind{
	name:     Monitor,
	standard: MonitorSpec{MaxErrorRate: 0.01},
	fields: fields{
		"for":            {Doc: "How long green is watched.", Required: true, Min: 1},
		"max_error_rate": {Doc: "The share of 5xx answers at the router that is too much, from 0 to 1.", Max: 1},
		"rollback":       {Doc: "Go back by itself when a limit is passed."},
	},
	order: order{
		after: []precedence{
			{"cutover", "monitor", "there is nothing to watch yet"},
			{live, "monitor", "there is nothing to watch yet"},
		},
		many:  []moment{"monitor"},
		needs: []need{{"monitor", []moment{"cutover", live}, "there is nothing to watch"}},
	},
}
