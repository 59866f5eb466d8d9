package steps

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Upgrade is what a runbook and its profile say is to be done. It is the same in every process of a run, and opens no
// connection.
type Upgrade struct {
	Runbook *plan.Runbook
	Profile *plan.Profile
	// Bundled are the migrations that "source: bundled" stands for. Nil: there are none.
	Bundled fs.FS
}

func (u *Upgrade) budget() postgres.Budget {
	return postgres.Budget{Timeout: u.Runbook.Locks.Timeout, Retry: u.Runbook.Locks.Retry}
}

// migrator returns what migrates green: the runbook's one migrate step with target offline. The delta and the oracle
// go through the same.
func (u *Upgrade) migrator() (migrator, error) {
	for _, spec := range u.Runbook.Steps {
		if m, ok := spec.Config.(*plan.MigrateSpec); ok && m.Target == "offline" {
			return u.migratorOf(m), nil
		}
	}
	return nil, fmt.Errorf("runbook %s has no migrate step with target: offline", u.Runbook.Path)
}

// migrator is migrate.Goose or migrate.Command.
type migrator interface {
	Migrate(ctx context.Context, dsn string) error
	MigrateWith(ctx context.Context, dsn string, applied migrate.Applied) error
	Pending(ctx context.Context, dsn string) (int, error) // -1: nobody knows
}

func (u *Upgrade) migratorOf(m *plan.MigrateSpec) migrator {
	if len(m.Command) > 0 {
		return migrate.NewCommand(m.Command, m.Env...).InSchema(u.Profile.Schema)
	}
	return u.gooseOf(m, nil)
}

// approved are the rows that the runbook approves, by rule, above what it expects.
func (u *Upgrade) approved() map[string]int64 {
	approved := map[string]int64{}
	for _, spec := range u.Runbook.Steps {
		if c, ok := spec.Config.(*plan.CleanupSpec); ok {
			for rule, rows := range c.Approve {
				approved[rule] = rows
			}
		}
	}
	return approved
}

// files are the migrations of a source.
func (u *Upgrade) files(source string) fs.FS {
	switch {
	case source != "bundled":
		return os.DirFS(u.Runbook.Resolve(source))
	case u.Bundled == nil:
		return notBundled{}
	}
	return u.Bundled
}

// notBundled stands for bundled migrations where the program has none.
type notBundled struct{}

// Open says so.
func (notBundled) Open(string) (fs.File, error) {
	return nil, fmt.Errorf("source: bundled: no migrations are bundled here")
}

// gooseOf runs the files of a source; tell may be nil.
func (u *Upgrade) gooseOf(m *plan.MigrateSpec, tell func(migrate.Notice), more ...migrate.Option) *migrate.Goose {
	options := append([]migrate.Option{migrate.InSchema(u.Profile.Schema), migrate.InFormat(m.Format), migrate.Placeholders(m.Placeholders), migrate.Told(tell), migrate.FromVersion(m.From), migrate.ToVersion(m.To)}, more...)
	if m.AsWritten {
		options = append(options, migrate.AsWritten())
	}
	if m.Target == "live" {
		options = append(options, migrate.Live(u.budget()), migrate.Allow(m.Allow...), migrate.Defer(m.Defer...), migrate.EndBlockers(m.EndBlockers...))
	}
	return migrate.NewGoose(u.files(m.Source), 0, options...)
}

// judge returns what the oracle migrates with: the same files, but as written, so that it owes nothing to what it judges.
func (u *Upgrade) judge() (migrator, error) {
	own := *u.Runbook
	own.Steps = slices.Clone(own.Steps)
	for i, spec := range own.Steps {
		if m, ok := spec.Config.(*plan.MigrateSpec); ok && m.Target == "offline" && len(m.Command) == 0 {
			asWritten := *m
			asWritten.AsWritten = true
			own.Steps[i].Config = &asWritten
		}
	}
	return (&Upgrade{Runbook: &own, Profile: u.Profile, Bundled: u.Bundled}).migrator()
}

// Migrator is what migrates green in a runbook, for the oracle.
func Migrator(u Upgrade) (interface {
	Migrate(ctx context.Context, dsn string) error
}, error) {
	return u.judge()
}
