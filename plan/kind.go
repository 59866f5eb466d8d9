package plan

import (
	"reflect"
	"slices"
)

// StepKind is a kind of step; the word after "step:" in a runbook.
type StepKind string

// kinds are the step kinds in the order in which they make sense. Each is told in the file of its name.
var kinds = []kind{
	preflight, tokenLifetimes, pauseJobs, compatViews, capture, snapshot, cleanup, migrate, replay, validate, cutover, monitor, retire,
}

// kind is everything that is known of a step kind before it is built. Only name and standard are needed.
type kind struct {
	name     StepKind
	standard any    // the kind's own fields as they are where a runbook doesn't name them: a struct
	fields   fields // what is known of each of them

	check   check // what the fields of one step mean together
	arrange check // what a step asks of the others, beyond order; called where each step is known
	fit     func(f *fitting, config any)
	// hazards finds the guarantees that can't be kept because of steps of this kind, or for the lack of one.
	hazards func(h *hazards)
	// commands are what a step runs: their words are in the process list.
	commands func(config any) []command

	order
}

// check looks at a step's own fields, a pointer to a struct like standard; path is where they stand.
type check func(d *decoder, rb *Runbook, path string, config any)

// checked is a check of one type of fields.
func checked[C any](f func(d *decoder, rb *Runbook, path string, c *C)) check {
	return func(d *decoder, rb *Runbook, path string, config any) { f(d, rb, path, config.(*C)) }
}

// command is the words of one or more command lines, and whose they are.
type command struct {
	what  string
	words []string
}

// Kinds lists the step kinds in the order in which they make sense.
func Kinds() []StepKind {
	names := make([]StepKind, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// NewConfig is a pointer to the kind's own fields with their defaults, or nil if there is no such kind.
func NewConfig(name StepKind) any {
	k := kindOf(name)
	if k == nil {
		return nil
	}
	return fresh(k.standard)
}

// kindOf is the kind of that name, or nil.
func kindOf(name StepKind) *kind {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &kinds[i]
}

// fresh is a pointer to a copy of a struct.
func fresh(standard any) any {
	v := reflect.New(reflect.TypeOf(standard))
	v.Elem().Set(reflect.ValueOf(standard))
	return v.Interface()
}

func kindNames() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k.name)
	}
	return names
}
