package plan

import "time"

// Preflight looks before anything is changed.
const Preflight StepKind = "preflight"

// PreflightSpec are the fields of a preflight.
type PreflightSpec struct {
	MaxTransaction time.Duration `yaml:"max_transaction"` // a transaction older than this on blue stops the run
	MaxClockSkew   time.Duration `yaml:"max_clock_skew"`
	MaxQuery       time.Duration `yaml:"max_query"` // one question to blue
}

var preflight = kind{
	name:     Preflight,
	standard: PreflightSpec{MaxTransaction: 5 * time.Minute, MaxClockSkew: 2 * time.Second, MaxQuery: time.Minute},
	fields: fields{
		"max_transaction": {Doc: "A transaction older than this on blue stops the run.", Min: 1},
		"max_clock_skew":  {Doc: "How far the clocks of the two servers may differ.", Min: 1},
		"max_query":       {Doc: "How long one question to blue may take, such as a count of rows that a new constraint would refuse.", Min: int64(time.Second)},
	},
	order: order{first: "make it the first step: it looks before anything is changed"},
}
