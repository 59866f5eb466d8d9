// Package steps has the step kinds of a runbook, one file each, and the Runner that takes a run through them.
//
// A step works on real databases through the engine packages (replay, cutover, internal/snapshot, …); what is here only
// decides what to call, where to go on after a crash, and how to take it back.
package steps

import "context"

// Step is one stage of a run. Its ID is the key in the journal and never changes.
type Step interface {
	ID() string
	// Done looks whether the step's effect is in place, and changes nothing: a crash can fall between an effect and
	// its record. A step that can't tell returns false, and its Run must then be safe to repeat.
	Done(ctx context.Context) (bool, error)
	// Run does the work. It may be called again after a crash, and goes on from its last checkpoint.
	Run(ctx context.Context, p *Progress) error
}

// Undoer is a step that can be taken back. A step without it is [Irreversible]; Build refuses one that is neither.
type Undoer interface {
	// Undo brings back what was before Run. It may be called again, also when Run never finished or never began.
	Undo(ctx context.Context, p *Progress) error
}
