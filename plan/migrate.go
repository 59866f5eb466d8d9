package plan

import (
	"slices"
	"strings"
)

// Migrate runs migrations.
const Migrate StepKind = "migrate"

// MigrateSpec are the fields of a migrate step. Exactly one of Source and Command.
type MigrateSpec struct {
	Target string `yaml:"target"` // "offline": green; "live": blue, in place
	Source string `yaml:"source"` // "bundled" or a folder of migrations, relative to the runbook
	Format string `yaml:"format"` // one of sqlrewrite's formats; empty: as annotations and names say, but never plain, golang-migrate or sqlx
	// Placeholders are the values of Flyway's ${name}.
	Placeholders map[string]string `yaml:"placeholders"`
	From         string            `yaml:"from"` // the version that blue has, with all below it; empty: what its table of versions says
	To           string            `yaml:"to"`   // the version to stop at; empty: the newest
	// AsWritten runs offline migrations one after the other instead of arranging their statements for speed.
	AsWritten bool     `yaml:"as_written"`
	Command   []string `yaml:"command"` // the vendor's own; the DSN is in the environment variable DSN
	Env       []string `yaml:"env"`     // names of environment variables that Command gets beside what every program needs
	// Allow names hazards of live migrations that a person accepts (docs/sqlrewrite.md).
	Allow []string `yaml:"allow"`
	// Defer names hazards whose statements wait for retire, when the old server is gone.
	Defer []string `yaml:"defer"`
	// EndBlockers are application names whose sessions a live migration may end when they hold up its locks.
	EndBlockers []string `yaml:"end_blockers"`
}

const (
	offline moment = "migrate (target: offline)"
	live    moment = "migrate (target: live)"
)

// migrationFormats are those that sqlrewrite reads; a test of steps holds the two lists against each other.
var migrationFormats = []string{"goose", "plain", "pop", "dbmate", "sql-migrate", "golang-migrate", "diesel", "prisma", "sqlx", "flyway", "tern", "node-pg-migrate", "drizzle", "atlas", "liquibase", "sqitch"}

var migrate = kind{
	name:     Migrate,
	standard: MigrateSpec{},
	fields: fields{
		"target":       {Doc: "`offline`: green. `live`: blue, in place, with lock-safe SQL.", Required: true, Enum: []string{"offline", "live"}},
		"as_written":   {Doc: "With `offline`: run the files one after the other, each as it is, instead of arranging their statements for speed (docs/offline.md)."},
		"source":       {Doc: "`bundled`, or a folder of migrations, relative to the runbook.", Env: true},
		"format":       {Doc: "How the folder's files are named and annotated (docs/sqlrewrite.md). Default: what annotations and names say; plain files, golang-migrate's and most of sqlx' have none, so that they must be named.", Enum: migrationFormats},
		"placeholders": {Doc: "What Flyway's placeholders stand for: name → value, such as `{schema: auth}` for `${schema}`. A file with one that has no value is refused.", Env: true},
		"from":         {Doc: "The version that blue has already, with all below it: a baseline, for a database that has no table of versions; it is noted there. Where the vendor's tool keeps one, that table counts. As the vendor writes it.", Number: true},
		"to":           {Doc: "The version to stop at, as the vendor writes it. Default: the newest.", Number: true},
		"command":      {Doc: "The vendor's own migration command, as a list of words. It finds the database in the environment variable DSN."},
		"env":          {Doc: "Names of environment variables that the command gets beside `DSN`, `PATH`, `HOME`, `LANG` and the like."},
		"allow": {Doc: "With `live`: the hazards that you accept, by their names (docs/sqlrewrite.md).",
			Enum: hazardNames(func(liveHazard) bool { return true })},
		"defer": {Doc: "With `live`: hazards whose statements wait for `retire`, when the old server is gone; the new server finds its version all the same.",
			Enum: hazardNames(func(h liveHazard) bool { return h.canDefer })},
		"end_blockers": {Doc: "With `live`: application names whose sessions may be ended when they hold up a lock of ours. Default: none."},
	},
	check:   checked(checkMigrate),
	arrange: checked(checkDeferred),
	hazards: migrateHazards,
	commands: func(config any) []command {
		return []command{{"the command", config.(*MigrateSpec).Command}}
	},
	order: order{
		after: []precedence{
			{"snapshot", offline, "green is still empty"},
			{cleanupBefore, offline, "the migrations meet the rows that it repairs"},
			{"compat-views", live, "the server in use meets columns that it doesn't know"},
		},
		moment: func(config any) moment {
			return map[string]moment{"offline": offline, "live": live}[config.(*MigrateSpec).Target]
		},
		many:    []moment{live},
		onGreen: []moment{offline},
		needs:   []need{{offline, []moment{"snapshot"}, "the migrations run on the copy"}},
	},
}

// checkDeferred: what a migration puts off is run by retire, which must not come while the old server serves.
func checkDeferred(d *decoder, rb *Runbook, path string, c *MigrateSpec) {
	if len(c.Defer) == 0 {
		return
	}
	if !slices.ContainsFunc(rb.Steps, func(s StepSpec) bool { return s.Kind == Retire && s.Approve }) {
		d.add(join(path, "defer"), "end the runbook with a `retire` that has `approve: true`, and approve it when the old server is gone",
			"nothing runs what is put off")
	}
}

func checkMigrate(d *decoder, _ *Runbook, path string, c *MigrateSpec) {
	_, source := d.places[join(path, "source")]
	_, command := d.places[join(path, "command")]
	switch {
	case !source && !command: // one of a wrong type has been reported already
		d.add(path, "name a folder of goose migrations in `source:`, or the vendor's own program in `command:`", "has neither source nor command")
	case c.Source != "" && len(c.Command) > 0:
		d.add(join(path, "command"), "keep one of the two", "there is a source too")
	case c.To != "" && len(c.Command) > 0:
		d.add(join(path, "to"), "the command decides itself how far it goes", "counts with source only")
	}
	if c.Target == "offline" {
		for name, given := range map[string]bool{"allow": len(c.Allow) > 0, "defer": len(c.Defer) > 0, "end_blockers": len(c.EndBlockers) > 0} {
			if given {
				d.add(join(path, name), "leave it out: nobody waits for an offline migration", "counts with target: live only")
			}
		}
	}
	if c.Format != "" && len(c.Command) > 0 {
		d.add(join(path, "format"), "the command knows its own files", "counts with source only")
	}
	if len(c.Placeholders) > 0 && len(c.Command) > 0 {
		d.add(join(path, "placeholders"), "the command has its own", "counts with source only")
	}
	if c.AsWritten && (c.Target != "offline" || len(c.Command) > 0) {
		d.add(join(path, "as_written"), "leave it out", "counts with target: offline and source only")
	}
	d.checkWords(join(path, "command"), c.Command)
}

func migrateHazards(h *hazards) {
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

// liveHazard is a hazard of live migrations as sqlrewrite names it: the guarantee that the runbook gives up by allowing it
// (empty: none), and whether what does it can wait until the old server is gone.
type liveHazard struct {
	name     string
	breaks   Guarantee
	canDefer bool
}

var liveHazards = []liveHazard{
	{"blocks-writes", TrafficUnblocked, false},
	{"blocks-reads", TrafficUnblocked, false},
	{"column-order", "", false},
	{"rewrites-table", TrafficUnblocked, false},
	{"holds-lock", TrafficUnblocked, false},
	{"writes-whole-table", TrafficUnblocked, false},
	{"moves-data", AuthorizationsKept, false},
	{"breaks-old-server", NoFailedRequest, true},
	{"loses-data", AuthorizationsKept, true},
	{"fails-on-rows", "", false},
	{"needs-value", NoFailedRequest, true},
	{"opaque", TrafficUnblocked, false},
	{"unknown", TrafficUnblocked, false},
	{"not-split", TrafficUnblocked, false},
}

func hazardNames(which func(liveHazard) bool) []string {
	var names []string
	for _, h := range liveHazards {
		if which(h) {
			names = append(names, h.name)
		}
	}
	return names
}

// allowed says what the hazards that a live migration is allowed mean for the guarantees.
func (h *hazards) allowed(s *StepSpec, c *MigrateSpec) {
	names := map[Guarantee][]string{}
	for _, n := range c.Allow {
		for _, hazard := range liveHazards {
			if hazard.name == n {
				names[hazard.breaks] = append(names[hazard.breaks], n)
			}
		}
	}
	for _, g := range []Guarantee{AuthorizationsKept, NoFailedRequest, TrafficUnblocked} {
		if len(names[g]) > 0 {
			h.add(g, s, "take the name out of `allow:` and see with `tideover sql lint` which statements need it",
				"the runbook allows %s: the statements that do it run as the vendor wrote them", strings.Join(names[g], ", "))
		}
	}
}
