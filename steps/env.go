package steps

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// Env is what the steps of one run work with: what is to be done, and what this run is.
type Env struct {
	Upgrade
	Run   string
	Term  int64
	Blue  *postgres.DB         // nil until connect
	Green *postgres.DB         // nil in an upgrade in place
	State func() journal.State // the run as it is now; outside of a run, the zero value or what the journal says
	// Override names guardrails of the cutover that a person goes past.
	Override []string
	// Pin is called in the hold, when green is complete and nothing has been served by it yet. A rehearsal keeps a
	// snapshot of green there, for the oracle. May be nil.
	Pin func(ctx context.Context) error
	// ApprovedRows are the rows that persons have approved during the run, by rule, above what it expects.
	ApprovedRows map[string]int64

	// Timed is told how long calls and batches took. May be nil.
	Timed func(journal.Timing)

	opened     []*postgres.DB
	calls      atomic.Int64 // to participants and routers, in this term
	steps      []Step
	sourceOnce sync.Once
	captured   replay.Source
	replayOnce sync.Once
	replayer   *replay.Replayer
	audit      *replay.Audit // what it brings over; nil where the runbook has none
	replayErr  error
}

// connect opens blue and, where there is one, green.
func (e *Env) connect(ctx context.Context) (err error) {
	if e.Blue, err = e.open(ctx, "blue", e.Runbook.Blue.DSN); err != nil {
		return err
	}
	if e.Runbook.Green.DSN != "" {
		e.Green, err = e.open(ctx, "green", e.Runbook.Green.DSN)
	}
	return err
}

// open opens a database that close closes.
func (e *Env) open(ctx context.Context, name, dsn string) (*postgres.DB, error) {
	db, err := postgres.Open(ctx, name, dsn)
	if err == nil {
		e.opened = append(e.opened, db)
	}
	return db, err
}

// close ends the connections that open has made.
func (e *Env) close() {
	for _, db := range e.opened {
		db.Close()
	}
}

// pastPointOfNoReturn says whether green has served: from then on it is not emptied by an undo.
func (e *Env) pastPointOfNoReturn() bool { return e.State().PastPointOfNoReturn }

// rules runs the profile's clean-up and repair rules, with the approvals of the runbook and the run. With collect, quarantined rows
// come back to the caller: a delta puts them into green's quarantine in the transaction that applies it.
func (e *Env) rules(collect bool) *cleanup.Runner {
	approved := e.approved()
	for rule, rows := range e.ApprovedRows {
		approved[rule] = max(approved[rule], rows)
	}
	return cleanup.New(e.Profile.Rules, cleanup.Options{Schemas: e.Profile.Schemas(), Approved: approved, Collect: collect})
}

// Replayer is the run's one replayer; it is made when first asked for.
func (e *Env) Replayer() (*replay.Replayer, error) {
	e.replayOnce.Do(func() {
		m, err := e.migrator()
		if err != nil {
			e.replayErr = err
			return
		}
		var own plan.ReplaySpec
		for _, spec := range e.Runbook.Steps {
			if r, ok := spec.Config.(*plan.ReplaySpec); ok {
				own = *r
			}
		}
		e.replayer, e.replayErr = replay.NewReplayer(replay.Config{
			Blue: e.Blue, Green: e.Green, Profile: e.Profile, Migrator: m, Rules: e.rules(true), Batch: own.Batch, Source: e.source(), Began: e.State().Started,
		})
		if e.replayErr == nil && own.Audit > 0 {
			e.audit = replay.NewAudit(e.replayer, float64(own.Audit)/100)
		}
	})
	return e.replayer, e.replayErr
}
