package steps

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/roles"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

var migrateKind = kindOf(plan.Migrate,
	func(b base, env *Env, c *plan.MigrateSpec) Step {
		m := migrateStep{base: b, env: env, spec: c}
		if c.Target == "live" {
			return &liveMigrateStep{migrateStep: m}
		}
		return &offlineMigrateStep{m}
	},
	describeMigrate)

func describeMigrate(c *plan.MigrateSpec) (does, undo string) {
	what := "migrations of " + c.Source
	if len(c.Command) > 0 {
		what = strings.Join(c.Command, " ")
	}
	if c.Target == "live" {
		what += " on blue, in place, under the lock budget"
		if len(c.Defer) > 0 {
			what += "; " + strings.Join(c.Defer, " and ") + " wait for retire"
		}
		return what, "none: a point of no return, once a statement has run"
	}
	return what + " on green, which serves nobody yet", "green emptied"
}

// migrateStep runs the vendor's migrations: offline on green, as fast as they go, or live on blue under the lock budget.
type migrateStep struct {
	base
	env  *Env
	spec *plan.MigrateSpec
}

// Done asks the migration tool's own table.
func (s *migrateStep) Done(ctx context.Context) (bool, error) {
	pending, err := s.env.migratorOf(s.spec).Pending(ctx, s.database())
	return err == nil && pending == 0, err
}

func (s *migrateStep) database() string {
	if s.spec.Target == "live" {
		return s.env.Blue.DSN()
	}
	return s.env.Green.DSN()
}

// Run applies what is pending; each migration is a transaction of its own, so a crash goes on with the next.
func (s *migrateStep) Run(ctx context.Context, p *Progress) error {
	m := s.env.migratorOf(s.spec)
	pending, err := m.Pending(ctx, s.database())
	if err != nil {
		return err
	}
	if s.spec.Target == "live" {
		before := pending
		if there, err := p.Load(pendingBefore, &before); err != nil {
			return err
		} else if !there {
			if err := p.Checkpoint(ctx, pendingBefore, pending); err != nil {
				return err
			}
		}
	}
	before, err := s.marks(ctx, p)
	if err != nil {
		return err
	}
	names, err := s.names(ctx, p)
	if err != nil {
		return err
	}
	longest := &longest{step: s.id}
	if len(s.spec.Command) == 0 {
		m = s.env.gooseOf(s.spec, s.tell(ctx, p), migrate.Timed(func(t migrate.Timing) {
			longest.statement(t)
			p.Report(int64(t.Done), int64(t.Of), "statements", t.File)
		}))
	}
	var done int64
	if err := m.MigrateWith(ctx, s.database(), func(_ int64, file string, took time.Duration) {
		longest.file(file, took)
		done++
		p.Report(done, int64(max(pending, 0)), "steps", file)
	}); err != nil {
		return err
	}
	if err := p.Figure(ctx, "migrations."+s.id, longest.list()); err != nil {
		return err
	}
	if s.spec.Target == "live" {
		return nil
	}
	if err := snapshot.TakenNumbers(ctx, s.env.Blue, s.env.Green, s.env.Profile, before); err != nil {
		return err
	}
	copied, err := snapshot.Untouched(ctx, s.env.Green, before)
	if err != nil {
		return err
	}
	if err := p.Figure(ctx, copiedSequences, copied); err != nil {
		return err
	}
	if err := s.env.giveGreen(ctx, p, names); err != nil {
		return err
	}
	// Green must not be written by anyone but us until it serves (G5).
	fence := s.env.greenFence()
	if err := fence.Install(ctx, s.env.budget()); err != nil {
		return err
	}
	return fence.Raise(ctx, 0)
}

// copiedSequences is the figure that has green's sequences which no migration has moved.
const copiedSequences = "sequences.copied"

// marks are how far green's sequences were before the first of the migrations.
func (s *migrateStep) marks(ctx context.Context, p *Progress) (before map[string]snapshot.Mark, err error) {
	const key = "sequences"
	if s.spec.Target == "live" {
		return nil, nil
	}
	if there, err := p.Load(key, &before); err != nil || there {
		return before, err
	}
	if before, err = snapshot.Marks(ctx, s.env.Green); err != nil {
		return nil, err
	}
	return before, p.Checkpoint(ctx, key, before)
}

// names are what everything on green was called before the first of the migrations.
func (s *migrateStep) names(ctx context.Context, p *Progress) (before roles.Names, err error) {
	if s.spec.Target == "live" {
		return nil, nil
	}
	if there, err := p.Load(namesKey, &before); err != nil || there {
		return before, err
	}
	if before, err = roles.NamesOf(ctx, s.env.Green); err != nil {
		return nil, err
	}
	return before, p.Checkpoint(ctx, namesKey, before)
}

// tell shows how far a live migration is, and stores what it waits for. A note that can't be stored says that the run is
// lost, which the next event finds out.
func (s *migrateStep) tell(ctx context.Context, p *Progress) func(migrate.Notice) {
	return func(n migrate.Notice) {
		switch {
		case n.Unit != "":
			p.Report(n.Done, n.Total, n.Unit, n.Text)
		case n.Waits:
			_ = p.NoteAbout(ctx, journal.AboutWait, "%s", n.Text)
		case n.Again:
			_ = p.NoteAbout(ctx, journal.AboutRetry, "%s", n.Text)
		case n.Warn:
			_ = p.Note(ctx, "warn", "%s", n.Text)
		default:
			_ = p.Note(ctx, "info", "%s", n.Text)
		}
	}
}

// CheckMigrations says whether a runbook's live migrations can be rewritten such that traffic goes on, and refuses hazards
// that nobody has allowed ([migrate.HazardError]). It opens no connection: all files above "from" count.
func CheckMigrations(u Upgrade) error {
	for _, spec := range u.Runbook.Steps {
		m, ok := spec.Config.(*plan.MigrateSpec)
		if !ok || m.Target != "live" || len(m.Command) > 0 {
			continue
		}
		if err := u.gooseOf(m, nil).LiveHazards(0); err != nil {
			return fmt.Errorf("step %q: %w", spec.ID, err)
		}
	}
	return nil
}

// Reading is what a migrate step's folder was read as, and which of its files count.
type Reading struct {
	Step  string   `json:"step"`
	As    string   `json:"read_as"` // "dbmate: 41 up, 40 down"
	Files []string `json:"files"`   // above from, up to to
}

// Readings tells of the folders of a runbook's migrate steps how they are read.
func Readings(u Upgrade) ([]Reading, error) {
	var list []Reading
	for _, spec := range u.Runbook.Steps {
		m, ok := spec.Config.(*plan.MigrateSpec)
		if !ok || len(m.Command) > 0 {
			continue
		}
		g := u.gooseOf(m, nil)
		as, err := g.Summary()
		if err != nil {
			return nil, fmt.Errorf("step %q: %w", spec.ID, err)
		}
		files, err := g.Files()
		if err != nil {
			return nil, fmt.Errorf("step %q: %w", spec.ID, err)
		}
		list = append(list, Reading{spec.ID, as, files})
	}
	return list, nil
}

// checkMigrationsAt is CheckMigrations in the light of blue's catalog: of the files that blue doesn't have.
func checkMigrationsAt(ctx context.Context, u Upgrade, blue string) error {
	for _, spec := range u.Runbook.Steps {
		m, ok := spec.Config.(*plan.MigrateSpec)
		if !ok || m.Target != "live" || len(m.Command) > 0 {
			continue
		}
		if err := u.gooseOf(m, nil).LiveHazardsAt(ctx, blue); err != nil {
			return fmt.Errorf("step %q: %w", spec.ID, err)
		}
	}
	return nil
}

// pendingBefore is the checkpoint of how many migrations were pending before the first of them.
const pendingBefore = "pending"

// liveMigrateStep is migrate with target: live. It can't be taken back once it has run a statement: blue's own schema has changed,
// and is served so.
type liveMigrateStep struct {
	migrateStep
	pointOfNoReturn
}

// Untouched says whether no statement of the migrations was run. A vendor's command is not looked into.
func (s *liveMigrateStep) Untouched(ctx context.Context, p *Progress) (bool, error) {
	if len(s.spec.Command) > 0 {
		return false, nil
	}
	g := s.env.gooseOf(s.spec, nil)
	var before int
	there, err := p.Load(pendingBefore, &before)
	if err != nil {
		return false, err
	}
	if !there { // it had not come so far as to count them
		state := p.State()
		st, _ := state.Step(s.id)
		return st.Status != journal.StepIsFinished, nil
	}
	return g.Untouched(ctx, s.database(), before)
}

// Withdraw takes away the table of what is under way.
func (s *liveMigrateStep) Withdraw(ctx context.Context, p *Progress) error {
	var before int
	if there, err := p.Load(pendingBefore, &before); err != nil || !there {
		return err
	}
	return s.env.gooseOf(s.spec, nil).Withdraw(ctx, s.database(), before)
}

// Finish runs what was put off until the old server is gone.
func (s *liveMigrateStep) Finish(ctx context.Context, p *Progress) (bool, error) {
	if len(s.spec.Defer) == 0 {
		return false, nil
	}
	return true, s.runDeferred(ctx, p)
}

func (s *liveMigrateStep) runDeferred(ctx context.Context, p *Progress) error {
	g := s.env.gooseOf(s.spec, s.tell(ctx, p))
	left, err := g.Late(ctx, s.database())
	if err != nil || left == 0 {
		return err
	}
	var done int64
	return g.Finish(ctx, s.database(), func(_ int64, file string, _ time.Duration) {
		done++
		p.Report(done, int64(left), "steps", file)
	})
}

// offlineMigrateStep is migrate with target: offline, taken back by emptying green.
type offlineMigrateStep struct{ migrateStep }

// Done also asks for green's fence, which is raised last.
func (s *offlineMigrateStep) Done(ctx context.Context) (bool, error) {
	done, err := s.migrateStep.Done(ctx)
	if err != nil || !done {
		return false, err
	}
	missing, err := s.env.greenFence().Missing(ctx)
	if err != nil || len(missing) > 0 {
		return false, err
	}
	return s.env.greenFence().Raised(ctx)
}

// Undo empties green, unless it has served.
func (s *offlineMigrateStep) Undo(ctx context.Context, p *Progress) error {
	if s.env.pastPointOfNoReturn() {
		return nil
	}
	return snapshot.Clear(ctx, s.env.Green, s.env.Profile.Schema)
}
