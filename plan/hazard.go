package plan

import (
	"fmt"
	"regexp"
	"strings"
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

// hazards collects what the rules below find.
type hazards struct {
	rb   *Runbook
	p    *Profile
	list []Hazard
}

// Hazards lists the guarantees that a run of this runbook can't keep, ordered by the rules below, not by weight. An empty
// list means that all eight hold.
func Hazards(rb *Runbook, p *Profile) []Hazard {
	h := &hazards{rb: rb, p: p}
	h.capture()
	h.revocations()
	h.jobs()
	h.cleanup()
	h.migrate()
	h.validate()
	h.cutover()
	h.wayBack()
	h.locks()
	h.secrets()
	return h.list
}

func (h *hazards) add(g Guarantee, step *StepSpec, hint, format string, args ...any) {
	id := ""
	if step != nil {
		id = step.ID
	}
	h.list = append(h.list, Hazard{Guarantee: g, Step: id, Text: fmt.Sprintf(format, args...), Hint: hint})
}

func (h *hazards) capture() {
	copied, switched := h.rb.Step(Snapshot), h.rb.Step(Cutover)
	if switched == nil {
		return
	}
	if h.rb.Step(Capture) == nil {
		const way = "put `- step: capture` before the snapshot, and `- step: replay` before the cutover"
		cause := copied
		if cause == nil {
			cause = switched
		}
		h.add(RevocationsKept, cause, way, "what is revoked on blue after the copy is still valid on green: changes are not captured")
		h.add(AuthorizationsKept, cause, way, "what is granted on blue after the copy is unknown to green: changes are not captured")
		return
	}
	if h.rb.Step(Replay) == nil {
		h.add(NoFailedRequest, switched, "put `- step: replay` before the cutover",
			"all changes since the copy are replayed while requests wait, and may take longer than the deadline")
	}
	if c, ok := h.rb.Step(Capture).Config.(*CaptureSpec); ok {
		switch {
		case c.Source == "outbox":
			const way = "capture with triggers or logical, or see to it that the server writes every change of these tables into its outbox"
			h.add(RevocationsKept, h.rb.Step(Capture), way, "a revocation that the server does not write into %s is not replayed, and nothing in the database notices", c.Outbox)
			h.add(AuthorizationsKept, h.rb.Step(Capture), way, "a change that the server, or a person with psql, does not write into %s is not replayed", c.Outbox)
		case c.Source == "logical" && c.MaxWALMB == 0:
			h.add(NoFailedRequest, h.rb.Step(Capture), "set max_wal_mb", "the slot may keep any amount of blue's log: a full disk stops blue")
		}
	}
	for _, t := range h.p.Tables {
		if !t.Captured() {
			h.add(AuthorizationsKept, h.rb.Step(Capture), "leave `capture: false` out of the profile unless the table never changes",
				"changes of table %s are not captured: what blue writes there after the copy comes along only with other rows", t.Name)
		}
	}
}

func (h *hazards) revocations() {
	switched := h.rb.Step(Cutover)
	if switched == nil {
		return
	}
	if len(h.p.Revocations) == 0 {
		h.add(RevocationsKept, switched, "describe them under `revocations:` in the profile",
			"profile %s does not say what a revocation is: deletions are replayed, but none is verified on green", h.p.Name)
	}
	for _, r := range h.p.Revocations {
		if r.Green.Apply == "" {
			h.add(RevocationsKept, switched, "add green.apply to it in the profile", "revocation %q can't be put in force on green", r.Kind)
		}
		if r.Green.Living == "" {
			h.add(RevocationsKept, switched, "add green.living to it in the profile", "revocation %q can't be verified on green", r.Kind)
		}
		if t := h.p.Table(r.Blue.Table); t == nil || t.Judge == "" || !t.Captured() {
			h.add(RevocationsKept, switched, "name a captured table with a `judge` in its blue.table",
				"revocation %q is not recognised on blue", r.Kind)
		}
		if r.Green.Table == "" || r.Green.Judge == "" {
			h.add(WayBack, switched, "add green.table and green.judge to it in the profile",
				"revocation %q is not recognised on green: a rollback loses those made there", r.Kind)
		}
		if r.Blue.Apply == "" {
			h.add(WayBack, switched, "add blue.apply to it in the profile", "revocation %q can't be carried back to blue by a rollback", r.Kind)
		}
	}
	if h.p.Green.LivingOnly == "" {
		h.add(WayBack, switched, "add green.living_only to the profile", "a rollback can't name the sessions that only green knows")
	}
}

// jobs: a runbook that says `jobs: []` has thought about it.
func (h *hazards) jobs() {
	if copied := h.rb.Step(Snapshot); copied != nil && h.rb.Step(PauseJobs) == nil {
		h.add(AuthorizationsKept, copied, "add `- step: pause-jobs` with the jobs, or with `jobs: []` if there are none",
			"downstream clean-up jobs are not paused: one that sees half a truth can purge what belongs to valid sessions")
	}
}

func (h *hazards) cleanup() {
	copied := h.rb.Step(Snapshot)
	if copied == nil {
		return
	}
	for _, phase := range []string{"before", "after"} {
		count := 0
		for _, r := range h.p.Rules {
			if r.Phase == phase {
				count++
			}
		}
		runs := false
		for _, s := range h.rb.Steps {
			c, ok := s.Config.(*CleanupSpec)
			runs = runs || ok && c.Phase == phase
		}
		if count > 0 && !runs {
			cause := h.rb.Step(Migrate)
			if cause == nil {
				cause = copied
			}
			h.add(AuthorizationsKept, cause, fmt.Sprintf("add `- step: cleanup` with `phase: %s`", phase),
				"the profile's %d rules for %s the migrations do not run on the copy: rows that they repair are lost or wrong on green", count, phase)
		}
	}
}

func (h *hazards) migrate() {
	for i := range h.rb.Steps {
		s := &h.rb.Steps[i]
		c, ok := s.Config.(*MigrateSpec)
		switch {
		case !ok:
		case c.Target == "live":
			h.add(WayBack, s, "migrate a copy (`target: offline`) and switch to it, or take a backup that you can go back to",
				"blue itself is migrated: the only way back is the vendor's down migrations, where they exist")
			if len(c.Command) > 0 {
				h.add(TrafficUnblocked, s, "name the folder of migrations in `source:`, so that their SQL can be made lock-safe",
					"the SQL of the vendor's command can't be rewritten: its locks can block live traffic")
			}
			h.allowed(s, c)
		case len(c.Command) > 0 && h.rb.Step(Cutover) != nil:
			h.add(NoFailedRequest, s, "name the folder of migrations in `source:`",
				"the vendor's command runs for every delta too: the time that it takes to start is part of the hold")
		}
	}
}

// broken is the guarantee that an allowed hazard of a live migration gives up.
var broken = map[string]Guarantee{
	"blocks-writes": TrafficUnblocked, "blocks-reads": TrafficUnblocked, "rewrites-table": TrafficUnblocked, "holds-lock": TrafficUnblocked,
	"writes-whole-table": TrafficUnblocked, "not-split": TrafficUnblocked, "opaque": TrafficUnblocked, "unknown": TrafficUnblocked,
	"moves-data": AuthorizationsKept, "loses-data": AuthorizationsKept, "breaks-old-server": NoFailedRequest,
}

// allowed says what the hazards that a live migration is allowed mean for the guarantees.
func (h *hazards) allowed(s *StepSpec, c *MigrateSpec) {
	names := map[Guarantee][]string{}
	for _, n := range c.Allow {
		if g, ok := broken[n]; ok {
			names[g] = append(names[g], n)
		}
	}
	for _, g := range []Guarantee{AuthorizationsKept, NoFailedRequest, TrafficUnblocked} {
		if len(names[g]) > 0 {
			h.add(g, s, "take the name out of `allow:` and see with `tideover sql lint` which statements need it",
				"the runbook allows %s: the statements that do it run as the vendor wrote them", strings.Join(names[g], ", "))
		}
	}
}

func (h *hazards) validate() {
	validated := false
	for i := range h.rb.Steps {
		s := &h.rb.Steps[i]
		switch s.Kind {
		case Validate:
			validated = true
			if len(h.p.Invariants) == 0 {
				h.add(AuthorizationsKept, s, "add `invariants:` to the profile", "profile %s has no invariants: validation asks nothing", h.p.Name)
			}
		case Cutover:
			if !validated {
				h.add(AuthorizationsKept, s, "put `- step: validate` before the cutover",
					"nothing is compared before the switch: sessions that a migration made invalid are found by their users")
			}
		}
	}
}

// longHold is where OAuth clients and load balancers with common settings begin to give up.
const longHold = 30 * time.Second

func (h *hazards) cutover() {
	s := h.rb.Step(Cutover)
	if s == nil {
		return
	}
	c, ok := s.Config.(*CutoverSpec)
	if !ok {
		return
	}
	switch {
	case h.rb.Router == nil && len(c.Participants) == 0:
		h.add(NoFailedRequest, s, "name the router at the top of the runbook, or participants in the cutover",
			"nothing switches traffic: blue refuses writes and nobody is sent to green")
	case h.rb.Router == nil:
		h.add(NoFailedRequest, s, "put `tideover router` in front of both servers and name it at the top of the runbook",
			"no router holds requests: writes between the fence and the switch are refused with 503")
	}
	if c.Deadline > longHold {
		h.add(NoFailedRequest, s, "set the deadline to 30s or less",
			"requests may wait for %s: clients and load balancers give up earlier", c.Deadline)
	}
}

func (h *hazards) wayBack() {
	if s := h.rb.Step(Retire); s != nil && h.rb.Step(Cutover) != nil && !s.Approve {
		h.add(WayBack, s, "add `approve: true` to it", "the way back is removed without a person's word")
	}
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
	check := func(s *StepSpec, what string, commands ...[]string) {
		for _, words := range commands {
			for _, w := range words {
				if password.MatchString(w) {
					h.add(NoSecretOut, s, "pass it in the environment instead", "%s has a secret among its words: every user of the machine can read it in the process list", what)
					return
				}
			}
		}
	}
	for i := range h.rb.Steps {
		s := &h.rb.Steps[i]
		switch c := s.Config.(type) {
		case *MigrateSpec:
			check(s, "the command", c.Command)
		case *CutoverSpec:
			for _, p := range c.Participants {
				check(s, "participant "+p.Name, p.Prepare, p.Commit, p.Abort, p.Status)
			}
		case *PauseJobsSpec:
			for _, p := range c.Jobs {
				check(s, "job "+p.Name, p.Prepare, p.Commit, p.Abort, p.Status)
			}
		}
	}
}
