package plan

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Guarantee is one of the eight that a run gives.
type Guarantee string

// The guarantees.
const (
	RevocationsKept    Guarantee = "G1" // no revocation is lost
	AuthorizationsKept Guarantee = "G2" // no authorization is lost
	NoFailedRequest    Guarantee = "G3" // requests wait instead
	CrashSurvivable    Guarantee = "G4" // resume or rollback ends in one consistent side
	OneWriter          Guarantee = "G5" // blue and green never both accept writes
	WayBack            Guarantee = "G6" // a rollback keeps revocations
	TrafficUnblocked   Guarantee = "G7" // our SQL never blocks longer than the lock budget
	NoSecretOut        Guarantee = "G8" // no secret in journal, logs, report or process list
)

// Hazard is a guarantee that can't be kept in this configuration, and the step that causes it.
type Hazard struct {
	Guarantee Guarantee
	Step      string // the step's id; empty: the configuration as a whole
	Text      string // what can go wrong
	Hint      string // what would keep the guarantee
}

// hazards collects what the kinds, and the rules below, find.
type hazards struct {
	rb   *Runbook
	p    *Profile
	list []Hazard
}

// Hazards lists the guarantees that a run of this runbook can't keep, in the order of the kinds, not by weight. An empty
// list means that all eight hold.
func Hazards(rb *Runbook, p *Profile) []Hazard {
	h := &hazards{rb: rb, p: p}
	for _, k := range kinds {
		if k.hazards != nil {
			k.hazards(h)
		}
	}
	h.journal()
	h.locks()
	h.secrets()
	h.wires()
	return h.list
}

func (h *hazards) add(g Guarantee, step *StepSpec, hint, format string, args ...any) {
	id := ""
	if step != nil {
		id = step.ID
	}
	h.list = append(h.list, Hazard{Guarantee: g, Step: id, Text: fmt.Sprintf(format, args...), Hint: hint})
}

func (h *hazards) journal() {
	if h.rb.Control.DSN != "" && address(h.rb.Control.DSN) == address(h.rb.Green.DSN) {
		h.add(CrashSurvivable, h.rb.Step(Snapshot), "leave `control:` out, or name a third database",
			"the journal lives in green's database, which is emptied when the copy is undone")
	}
}

func (h *hazards) locks() {
	if h.rb.Locks.Timeout > 500*time.Millisecond {
		h.add(TrafficUnblocked, nil, "set locks.timeout to 500ms or less", "live queries may wait %s behind a lock of ours", h.rb.Locks.Timeout)
	}
}

// password finds a URL with a password among the words of a command.
var password = regexp.MustCompile(`://[^/@\s]*:[^/@\s]+@|(?i)\b(password|secret|token)=`)

func (h *hazards) secrets() {
	for i := range h.rb.Steps {
		s := &h.rb.Steps[i]
		k := kindOf(s.Kind)
		if k == nil || k.commands == nil {
			continue
		}
		for _, c := range k.commands(s.Config) {
			if slices.ContainsFunc(c.words, password.MatchString) {
				h.add(NoSecretOut, s, "pass it in the environment instead", "%s has a secret among its words: every user of the machine can read it in the process list", c.what)
			}
		}
	}
}
