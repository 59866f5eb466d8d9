package steps

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// Env is what the steps of one run work with.
type Env struct {
	Run     string
	Term    int64
	Runbook *plan.Runbook
	Profile *plan.Profile
	Dir     string // the runbook's folder: paths in it are relative to this
	Blue    *postgres.DB
	Green   *postgres.DB
	State   func() journal.State // the run as it is now
	Faults  Faults
	// Override names guardrails of the cutover that a person goes past.
	Override []string
	// Pin is called in the hold, when green is complete and nothing has been served by it yet. A rehearsal keeps a
	// snapshot of green there, for the oracle. May be nil.
	Pin func(ctx context.Context) error
	// ApprovedRows are the rows that persons have approved during the run, by rule, above what it expects.
	ApprovedRows map[string]int64

	calls      atomic.Int64 // to participants and routers, in this term
	steps      []Step
	sourceOnce sync.Once
	captured   replay.Source
	replayOnce sync.Once
	replayer   *replay.Replayer
	replayErr  error
}

func (e *Env) budget() postgres.Budget {
	return postgres.Budget{Timeout: e.Runbook.Locks.Timeout, Retry: e.Runbook.Locks.Retry}
}

// pastPointOfNoReturn says whether green has served: from then on it is not emptied by an undo.
func (e *Env) pastPointOfNoReturn() bool { return e.State().PastPointOfNoReturn }

// rules runs the profile's clean-up and repair rules, with the approvals of the runbook and the run. With collect, quarantined rows
// come back to the caller: a delta puts them into green's quarantine in the transaction that applies it.
func (e *Env) rules(collect bool) *cleanup.Runner {
	approved := map[string]int64{}
	for _, spec := range e.Runbook.Steps {
		if c, ok := spec.Config.(*plan.CleanupSpec); ok {
			for rule, rows := range c.Approve {
				approved[rule] = rows
			}
		}
	}
	for rule, rows := range e.ApprovedRows {
		approved[rule] = max(approved[rule], rows)
	}
	return cleanup.New(e.Profile.Rules, cleanup.Options{Schema: e.Profile.Schema, Approved: approved, Collect: collect, SkipRepair: e.Faults.NoRepair})
}

// migrator returns what migrates green: the runbook's one migrate step with target offline. The delta and the oracle
// go through the same.
func (e *Env) migrator() (migrator, error) {
	for _, spec := range e.Runbook.Steps {
		if m, ok := spec.Config.(*plan.MigrateSpec); ok && m.Target == "offline" {
			return e.migratorOf(m), nil
		}
	}
	return nil, fmt.Errorf("runbook %s has no migrate step with target: offline", e.Runbook.Path)
}

// migrator is migrate.Goose or migrate.Command.
type migrator interface {
	Migrate(ctx context.Context, dsn string) error
	MigrateWith(ctx context.Context, dsn string, applied migrate.Applied) error
	Pending(ctx context.Context, dsn string) (int, error) // -1: nobody knows
}

func (e *Env) migratorOf(m *plan.MigrateSpec) migrator {
	if len(m.Command) > 0 {
		return migrate.NewCommand(m.Command)
	}
	return e.gooseOf(m, nil)
}

// gooseOf runs the files of a source; tell may be nil.
func (e *Env) gooseOf(m *plan.MigrateSpec, tell func(migrate.Notice), more ...migrate.Option) *migrate.Goose {
	options := append([]migrate.Option{migrate.InSchema(e.Profile.Schema), migrate.InFormat(m.Format), migrate.Told(tell)}, more...)
	if m.AsWritten {
		options = append(options, migrate.AsWritten())
	}
	if m.Target == "live" {
		options = append(options, migrate.Live(e.budget()), migrate.Allow(m.Allow...), migrate.Defer(m.Defer...), migrate.EndBlockers(m.EndBlockers...))
	}
	if m.Source == "bundled" {
		return migrate.NewGoose(schema.Files(), m.To, options...)
	}
	return migrate.NewGoose(os.DirFS(relative(e.Dir, m.Source)), m.To, options...)
}

// Replayer is the run's one replayer; it is made when first asked for.
func (e *Env) Replayer() (*replay.Replayer, error) {
	e.replayOnce.Do(func() {
		m, err := e.migrator()
		if err != nil {
			e.replayErr = err
			return
		}
		batch := 0
		for _, spec := range e.Runbook.Steps {
			if r, ok := spec.Config.(*plan.ReplaySpec); ok {
				batch = r.Batch
			}
		}
		e.replayer, e.replayErr = replay.NewReplayer(replay.Config{
			Blue: e.Blue, Green: e.Green, Profile: e.Profile, Migrator: m, Rules: e.rules(true), Batch: batch, Source: e.source(),
		})
	})
	return e.replayer, e.replayErr
}

// judge returns what the oracle migrates with: the same files, but as written, so that it owes nothing to what it judges.
func (e *Env) judge() (migrator, error) {
	own := *e.Runbook
	own.Steps = slices.Clone(own.Steps)
	for i, spec := range own.Steps {
		if m, ok := spec.Config.(*plan.MigrateSpec); ok && m.Target == "offline" && len(m.Command) == 0 {
			asWritten := *m
			asWritten.AsWritten = true
			own.Steps[i].Config = &asWritten
		}
	}
	return (&Env{Runbook: &own, Profile: e.Profile, Dir: e.Dir}).migrator()
}

// Migrator is what migrates green in a runbook, for the oracle.
func Migrator(rb *plan.Runbook, profile *plan.Profile) (interface {
	Migrate(ctx context.Context, dsn string) error
}, error) {
	return (&Env{Runbook: rb, Profile: profile, Dir: filepath.Dir(rb.Path)}).judge()
}

// relative is a path of the runbook, seen from its folder.
func relative(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
