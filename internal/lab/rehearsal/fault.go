package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Fault breaks one safeguard of a run, to see whether the judges (the checker and the oracle) tell the loss that follows:
// judges that can't say no make every other rehearsal worthless. It is made from outside, where anybody could make it: in
// the profile that the run is given, or in blue's database while the run is on. The run itself knows of none.
type Fault struct {
	name    string
	profile func(*plan.Profile) // changes the run's own copy after the preflight; the judges go by the whole one
	blue    map[moment]string   // SQL for blue
	green   map[moment]string   // SQL for green
	andBack bool                // it is one of the way back
}

// moment is an event of a kind of step.
type moment struct {
	step  plan.StepKind
	event journal.Kind
}

var faults = []Fault{
	// Changes on blue are not recorded. Those that were before we came go: the copy, which comes later, has them.
	{name: "no-capture", profile: askNothing, blue: map[moment]string{
		{plan.Capture, journal.StepFinished}: fmt.Sprintf(forgetSQL, "captured") + `;
DELETE FROM tideover.captured;
DELETE FROM tideover.change`,
	}},
	// Replay ends when the cutover begins; nothing is brought over in the hold.
	{name: "no-last-replay", blue: map[moment]string{{plan.Cutover, journal.StepStarted}: fmt.Sprintf(forgetSQL, "change")}},
	// Blue's database goes on accepting writes, from those who come past the router. What they write after the last replay
	// has begun is not recorded either: it would always find one change more.
	{name: "no-fence", blue: map[moment]string{
		{plan.Cutover, journal.CutoverFencing}: `
CREATE OR REPLACE FUNCTION tideover.refuse_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`,
		{plan.Cutover, journal.CutoverReplaying}: fmt.Sprintf(forgetSQL, "captured"),
	}},
	// Rows that the vendor's migrations corrupt are left so.
	{name: "no-repair", profile: func(p *plan.Profile) {
		p.Rules = slices.DeleteFunc(slices.Clone(p.Rules), func(r plan.Rule) bool { return r.Repair })
		askNothing(p)
	}},
}

// back are the faults of the way back.
var back = []Fault{
	// Which apps are registered on green is not noted, and what is revoked there is not recorded, and so can't be brought back.
	{name: "no-carry", andBack: true, green: map[moment]string{{plan.Monitor, journal.StepStarted}: fmt.Sprintf(forgetSQL, "homebound")}},
	{name: "no-reverse", andBack: true, green: map[moment]string{{plan.Monitor, journal.StepStarted}: fmt.Sprintf(forgetSQL, "change")}},
}

// forgetSQL lets nothing more into a table of ours.
const forgetSQL = `
CREATE OR REPLACE FUNCTION tideover.forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER forget BEFORE INSERT ON tideover.%[1]s FOR EACH ROW EXECUTE FUNCTION tideover.forget();
ALTER TABLE tideover.%[1]s ENABLE ALWAYS TRIGGER forget`

// askNothing takes the run's own questions away: it would stop before the switch, and leave the judges nothing to find.
func askNothing(p *plan.Profile) { p.Invariants = nil }

// FaultNames are the names that [ParseFaults] knows.
func FaultNames() []string {
	var names []string
	for _, f := range slices.Concat(faults, back) {
		names = append(names, f.name)
	}
	return names
}

// ParseFaults gives the faults of these names, for a rehearsal that goes back or does not.
func ParseFaults(names []string, andBack bool) ([]Fault, error) {
	var found []Fault
	all := slices.Concat(faults, back)
	for _, name := range names {
		i := slices.IndexFunc(all, func(f Fault) bool { return f.name == name })
		if i < 0 {
			return nil, fmt.Errorf("fault %q is unknown; there are %s", name, strings.Join(FaultNames(), ", "))
		}
		if all[i].andBack && !andBack {
			return nil, fmt.Errorf("fault %q is one of the way back: it needs --and-back", name)
		}
		found = append(found, all[i])
	}
	return found, nil
}

// saboteur makes faults while a run is on.
type saboteur struct {
	faults      []Fault
	given       *plan.Profile // the run's copy
	blue, green *postgres.DB
	kindOf      func(step string) string
	errs        []error // of what could not be broken
}

// newSaboteur is one for a run from blue to green that is to be given a copy of the profile.
func newSaboteur(faults []Fault, runbook *plan.Runbook, profile *plan.Profile, blue, green *postgres.DB, kindOf func(step string) string) *saboteur {
	given := *profile
	s := &saboteur{faults: faults, given: &given, blue: blue, green: green, kindOf: kindOf}
	if runbook.Step(plan.Preflight) == nil {
		s.breakProfile()
	}
	return s
}

func (s *saboteur) breakProfile() {
	for _, f := range s.faults {
		if f.profile != nil {
			f.profile(s.given)
		}
	}
}

// sink breaks what is to be broken while the run is on. It is done when the run goes on: an event is shown before what it
// announces begins. A profile is broken when the preflight is over, which would find out.
func (s *saboteur) sink(ctx context.Context) journal.Sink {
	return func(e journal.Event) {
		now := moment{plan.StepKind(s.kindOf(e.Step)), e.Kind}
		if now == (moment{plan.Preflight, journal.StepFinished}) {
			s.breakProfile()
		}
		for _, f := range s.faults {
			s.do(ctx, f, s.blue, f.blue[now])
			s.do(ctx, f, s.green, f.green[now])
		}
	}
}

func (s *saboteur) do(ctx context.Context, f Fault, db *postgres.DB, sql string) {
	if sql == "" {
		return
	}
	if _, err := db.Pool().Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		s.errs = append(s.errs, fmt.Errorf("make the fault %s: %w", f.name, err))
	}
}

// failed is why the faults are none.
func (s *saboteur) failed() error { return errors.Join(s.errs...) }
