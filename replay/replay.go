// Package replay brings what changes on one side of an upgrade over to the other, whose tables have another shape.
//
// [Capture] records changes on blue, each in the transaction of the change. [Replayer] takes them in batches:
//
//	claim     the unapplied changes, by transaction, never by a high-water mark: a number can become visible late
//	closure   the changed rows as they are now, with all that the migrations join them with, from one snapshot
//	scratch   an empty database of blue's schema on green's server takes those rows, is repaired by the profile's
//	          rules and migrated by the very migrations that the bulk went through
//	merge     the outcome goes into green in one transaction: replaced by every unique key, deleted, inserted
//	revoke    revocations are applied by meaning as well, and all changes go into a ledger, in that transaction
//	mark      the changes are marked as applied on blue
//
// A crash anywhere repeats a batch or finds it in the ledger: exactly once. [Fence] ends the writes to blue, so that a
// last batch ends the backlog. [Reverse] carries revocations back after a switch.
package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

// Migrator migrates the database at dsn as the bulk was.
type Migrator interface {
	Migrate(ctx context.Context, dsn string) error
}

// RuleRunner runs the profile's rules of a phase, "before" or "after" the migrations, on a scratch database.
// Quarantined rows come back in the results or are left in the scratch's tideover.quarantine; either way they end in
// green's.
type RuleRunner interface {
	Apply(ctx context.Context, conn *pgx.Conn, phase string) ([]cleanup.Result, error)
}

// Config is what a Replayer works on.
type Config struct {
	Blue, Green *postgres.DB
	Profile     *plan.Profile
	Migrator    Migrator
	Rules       RuleRunner
	Batch       int           // changes of the first batch; later ones of a long queue take about a second; 0: 2000
	Poll        time.Duration // how long Run waits when there is nothing to do; 0: 100ms
	Source      Source        // what brings blue's changes into the queue; nil: triggers do
	KeptOnly    bool          // changes are recorded with what the profile keeps alone; so they are by the log and an outbox
	Began       time.Time     // of the run, by this machine's clock: what migrations take from the clock is of since then; zero: the audit wants it to be the same
	Sample      int           // revocations that Verify asks green about at most, the newest and some of the others; 0: 5000
	// Schema gives the empty database at intoDSN blue's schema and the rows of its bookkeeping tables; nil:
	// snapshot.Schema.
	Schema func(ctx context.Context, intoDSN string) error
}

// Applied is what batches did.
type Applied struct {
	Changes, Upserted, Deleted, Revoked int64
	Parked                              []string // changes that could not be applied: table, key and error
}

func (a *Applied) add(b Applied) {
	a.Changes += b.Changes
	a.Upserted += b.Upserted
	a.Deleted += b.Deleted
	a.Revoked += b.Revoked
	a.Parked = append(a.Parked, b.Parked...)
}

// Replayer applies blue's changes to green. There is one at a time for a database: the second is refused with a
// [*BusyError]. Its methods may be called from several goroutines; batches never overlap.
type Replayer struct {
	Config

	mu       sync.Mutex
	conn     *pgx.Conn // to blue; holds the lock
	blue     map[string]*relation
	green    map[string]*relation
	keys     map[string][]string // of blue's tables
	homes    map[string]home     // by table of blue, where its rows live on green
	derived  map[string][]home   // by table of blue, where else rows of green are made of its rows
	retyped  map[string][]retype // by table of blue, what becomes of columns of its key
	blurred  map[string]bool     // of those, where two keys may become one
	seeded   map[string][]byte   // by table of green, the rows that the migrations make of nothing, as COPY writes them
	company  map[string][]tuple  // rows of blue that come along in this attempt
	judges   judges
	edges    map[string][]edge // by the table that they lead from
	bound    []edge            // foreign keys of green, by blue's names
	loose    []edge            // of them those that no foreign key keeps
	epoch    string            // of blue's capture: numbers count from 1 again in the next
	scratch  scratch
	pace     pace
	more     bool // the queue has more than the batch under way
	prepared bool
	// someParked is false where a look at the queue found nothing parked, and nothing has been since.
	someParked bool
	strict     []habit       // foreign keys of green that must be deferrable while we write
	patience   time.Duration // for the lock
	audit      *Audit        // is told what was changed; nil without one

	sequences map[snapshot.SequenceName]snapshot.SequenceName // of blue that the migrations give another name, and that
	trail     trail                                           // what a way back needs to know
}

// NewReplayer makes a Replayer and opens nothing.
func NewReplayer(c Config) (*Replayer, error) {
	if c.Blue == nil || c.Green == nil || c.Profile == nil || c.Migrator == nil || c.Rules == nil {
		return nil, errors.New("a replayer needs blue, green, a profile, a migrator and rules")
	}
	c.Batch = cmp.Or(c.Batch, 2000)
	c.Poll = cmp.Or(c.Poll, 100*time.Millisecond)
	c.KeptOnly = c.KeptOnly || c.Source != nil && !RecordsWhatIsWanted(c.Source)
	c.Sample = cmp.Or(c.Sample, defaultSample)
	if c.Schema == nil {
		c.Schema = func(ctx context.Context, into string) error {
			return snapshot.Schema(ctx, c.Blue.DSN(), into, snapshot.SchemaOptions{Profile: c.Profile})
		}
	}
	for _, rev := range c.Profile.Revocations {
		t := c.Profile.Table(rev.Blue.Table)
		if t == nil {
			return nil, fmt.Errorf("profile: revocation %q: table %q is not in tables", rev.Kind, rev.Blue.Table)
		}
		if len(rev.Blue.Key) > 0 && len(rev.Green.Key) > 0 && len(rev.Blue.Key) != len(rev.Green.Key) {
			return nil, fmt.Errorf("profile: revocation %q: blue.key and green.key are compared in pairs", rev.Kind)
		}
	}
	return &Replayer{Config: c, patience: lockPatience, scratch: scratch{green: c.Green}, pace: newPace(c.Batch)}, nil
}

// Prepare reads both catalogs and makes the empty template of blue's schema on green's server, and one scratch database
// of it, so that the first batch need not wait for that. Green is migrated by then. It may be called again.
func (r *Replayer) Prepare(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.prepare(ctx)
}

const ledgerSQL = `
CREATE SCHEMA IF NOT EXISTS tideover;` + postgres.PassSQL + `
CREATE TABLE IF NOT EXISTS tideover.applied (
	epoch uuid NOT NULL,
	change_id bigint NOT NULL,
	at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (change_id, epoch)
);` + postgres.KeepSQL

func (r *Replayer) prepare(ctx context.Context) (err error) {
	if _, err := r.connect(ctx); err != nil || r.prepared {
		return err
	}
	if r.blue, err = catalog(ctx, r.Blue.Pool(), schemasOf(r.Profile)); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	if r.green, err = catalog(ctx, r.Green.Pool(), schemasOf(r.Profile)); err != nil {
		return fmt.Errorf("green: %w", err)
	}
	for _, name := range slices.Concat(r.Profile.Green.Ignore, r.Profile.Bookkeeping) {
		delete(r.green, name)
	}
	r.strict = stubborn(r.green)
	if err := r.entities(); err != nil {
		return err
	}
	if err := r.identities(); err != nil {
		return err
	}
	found, err := NewCapture(r.Blue, r.Profile, plan.Blue).sources(r.blue)
	if err != nil {
		return err
	}
	if r.judges, err = judgesOf(r.blue, found); err != nil {
		return err
	}
	err = r.Green.InTx(ctx, postgres.DefaultBudget(), func(ctx context.Context, tx pgx.Tx) error {
		if err := alone(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, ledgerSQL, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the ledger on green: %w", err)
	}
	r.Green.Renew() // its merges are to pass by the capture of the way back, whenever that comes
	if err := r.scratch.prepare(ctx, r.Schema); err != nil {
		return err
	}
	if err := r.findHomes(ctx); err != nil {
		return err
	}
	if err := r.scratch.refresh(ctx); err != nil {
		return err
	}
	r.prepared, r.someParked = true, true
	return nil
}

// Batch applies one batch. Zero changes mean that nothing is unapplied, or that all that is left is parked.
func (r *Replayer) Batch(ctx context.Context) (Applied, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.batch(ctx)
}

// Drain applies batches until nothing is left. With blue fenced, nothing comes after it. Parked are all changes that
// are parked now, from earlier batches too.
func (r *Replayer) Drain(ctx context.Context) (Applied, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var total Applied
	for {
		a, err := r.batch(ctx)
		total.add(a)
		if err != nil {
			return total, err
		}
		if a.Changes == 0 && len(a.Parked) == 0 {
			break
		}
	}
	var err error
	total.Parked, err = r.stuck(ctx)
	return total, err
}

// Retry tries once more what is parked: what was wrong may be mended. It returns what is parked then.
func (r *Replayer) Retry(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest, err := r.unpark(ctx)
	if err != nil {
		return nil, err
	}
	for {
		const waiting = `SELECT EXISTS (SELECT 1 FROM tideover.change WHERE applied_at IS NULL AND parked_at IS NULL AND id <= $1)`
		var more bool
		if err := r.Blue.Pool().QueryRow(ctx, waiting, newest).Scan(&more); err != nil {
			return nil, fmt.Errorf("read the queue: %w", err)
		}
		if !more {
			return r.stuck(ctx)
		}
		if _, err := r.batch(ctx); err != nil {
			return nil, err
		}
	}
}

// Run applies batches until ctx ends, which is no error, and reports the lag after each. Its [Audit], where there is one,
// has its share of the time.
func (r *Replayer) Run(ctx context.Context, report func(Lag)) error {
	capture := NewCapture(r.Blue, r.Profile, plan.Blue)
	for {
		a, err := r.Batch(ctx)
		var lag Lag
		if err == nil {
			lag, err = capture.Lag(ctx)
		}
		if err == nil && a.Changes < int64(r.Config.Batch)/2 {
			err = r.idle(ctx)
		}
		if err == nil && r.audit != nil && r.audit.Due() {
			_, err = r.audit.Page(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if report != nil {
			report(lag)
		}
		if a.Changes > 0 || len(a.Parked) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(r.Poll):
		}
	}
}

// idle uses a quiet moment: it gets the next scratch database ready and drops the used ones.
func (r *Replayer) idle(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scratch.release()
	return r.scratch.refresh(ctx)
}

// Enqueue puts rows of a table into the queue again, by the value of the first key column. A row that is not on blue
// any more is deleted from green.
func (r *Replayer) Enqueue(ctx context.Context, table string, keys []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	key, rel := r.keys[table], r.blue[table]
	if t := r.Profile.Table(table); t == nil || !t.Captured() || len(key) == 0 {
		return fmt.Errorf("profile: table %q is not captured", table)
	}
	c, _ := rel.column(key[0])
	first := pgx.Identifier{c.name}.Sanitize()
	sql := `
INSERT INTO tideover.change (table_name, op, key, kept, kind)
SELECT $1, 'R', CASE WHEN t.` + first + ` IS NOT NULL THEN ` + object(rel, "t", key) + ` ELSE jsonb_build_object($3::text, k.v) END, '{}', 'written'
FROM unnest($2::text[]) k(v) LEFT JOIN ` + rel.rows() + ` t ON t.` + first + ` ` + c.equals + ` k.v::` + c.typ
	if len(key) > 1 { // without its row, the rest of the key is not known
		sql += " WHERE t." + first + " IS NOT NULL"
	}
	if _, err := r.Blue.Pool().Exec(ctx, sql, table, keys, key[0]); err != nil {
		return fmt.Errorf("put rows of table %q into the queue: %w", table, err)
	}
	return nil
}

// Close drops the scratch databases, those of a process that died too, and gives the replay up to others. It need not
// have been prepared. The error is a [*BusyError] where another process replays: the databases are its own then.
func (r *Replayer) Close(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prepared = false
	defer r.disconnect()
	if _, err := r.connect(ctx); err != nil {
		return err
	}
	return r.scratch.close(ctx)
}

// Disconnect gives the replay up to others and leaves the scratch databases for them to drop.
func (r *Replayer) Disconnect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prepared = false
	r.disconnect()
}
