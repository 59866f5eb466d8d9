// Package proof takes an upgrade through in miniature, before it begins: on databases of its own, on green's server, and
// with the very capture, migrations, rules and replay that the run will use.
//
// Some rows of blue, each with its entity, go into a database of blue's schema. That is migrated at one go into a second
// one, as the bulk will be. Then rows of the first are written, changed, deleted and revoked, replay brings that over,
// and the second is held against the first, migrated anew. Whatever a profile, a migration or a shape of
// a table would make replay lose or distort is a difference there, and has a name before anything is at stake: a table that
// is renamed, a column whose name is given to another, a trigger that fires twice, a key that a migration changes.
//
// What it can't see is what no sampled row shows. A table without rows is named in the report as not tried.
package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// Options describe the upgrade.
type Options struct {
	Blue, Green *postgres.DB // blue is only read; databases are made on green's server
	Profile     *plan.Profile
	Migrator    replay.Migrator
	Rules       func(collect bool) *cleanup.Runner // collect: what is quarantined comes back, as replay wants it
	Rows        int                                // sampled of each table; 0: 3
	KeptOnly    bool                               // as in [replay.Config]
	BinDir      string                             // of pg_dump and pg_restore; "": found
}

// Report is what the proof saw. Objections stop an upgrade; Untried is what it could not look at.
type Report struct {
	Rows       int // sampled, of all tables
	Deeds      int // changes that were brought over and compared
	Objections []Objection
	Untried    []string // each as "table access: it has no rows"
}

// Objection is one thing that the upgrade would get wrong.
type Objection struct {
	Deed string // what was done: "insert", "update", "delete", "revoke" or "revoke on green", or several that were compared together
	Text string // what came of it, with the table
	Way  string
}

// Run proves the profile. The error is for what kept it from looking; what it found is in the report.
func Run(ctx context.Context, o Options) (_ Report, err error) {
	if o.Rows == 0 {
		o.Rows = 3
	}
	p := &proof{Options: o}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	if err := p.open(ctx); err != nil || len(p.report.Objections) > 0 {
		return p.report, err
	}
	deeds := []deed{{"insert", p.insert}, {"update", p.rewrite}}
	for _, t := range p.tables { // one after the other: what a row becomes may depend on a row of another table, which must not come along by chance
		deeds = append(deeds, deed{"update", func(ctx context.Context, conn *pgx.Conn) error { return p.swap(ctx, conn, t) }})
	}
	for _, d := range append(deeds, deed{"delete", p.delete}, deed{"revoke", p.revocations}) {
		if err := p.try(ctx, d); err != nil || len(p.report.Objections) > 0 {
			return p.report, err
		}
	}
	for _, look := range []func(context.Context) error{p.compare, p.wayBack} {
		if err := look(ctx); err != nil || len(p.report.Objections) > 0 {
			return p.report, err
		}
	}
	return p.report, p.revocationsBack(ctx)
}

// deed is something that is done on old.
type deed struct {
	name string
	do   func(context.Context, *pgx.Conn) error
}

// proof is one in the making.
type proof struct {
	Options
	made     []*postgres.Throwaway
	old, new *postgres.DB // blue and green in miniature
	replayer *replay.Replayer
	began    time.Time      // by the clock of green's server
	rows     map[string]int // sampled of each captured table
	tables   []table        // of old that are captured, parents first
	bound    []plan.Follow  // foreign keys that only the migrations make
	report   Report
}

// open makes the two databases and begins to capture.
func (p *proof) open(ctx context.Context) error {
	old, err := p.database(ctx, "old")
	if err != nil {
		return err
	}
	p.old = old
	if err := p.furnish(ctx, old.DSN(), nil); err != nil {
		return fmt.Errorf("copy blue's schema: %w", err)
	}
	if err := p.bind(ctx); err != nil {
		return err
	}
	if err := p.fill(ctx); err != nil {
		return err
	}
	if p.tables, err = tables(ctx, p.old, p.Profile); err != nil {
		return err
	}
	if err := p.on(ctx, p.holdBack); err != nil {
		return fmt.Errorf("hold rows of the sample back: %w", err)
	}
	if p.new, err = p.database(ctx, "new"); err != nil {
		return err
	}
	if p.began, err = p.now(ctx); err != nil {
		return err
	}
	if err := p.migrated(ctx, p.new); err != nil {
		return err
	}
	if err := p.policed(ctx); err != nil || len(p.report.Objections) > 0 {
		return err
	}
	if err := replay.NewCapture(p.old, p.Profile, plan.Blue).Install(ctx, postgres.DefaultBudget()); err != nil {
		return err
	}
	p.replayer, err = replay.NewReplayer(replay.Config{
		Blue: p.old, Green: p.new, Profile: p.Profile, Migrator: p.Migrator, Rules: p.Rules(true), KeptOnly: p.KeptOnly,
		Schema: func(ctx context.Context, into string) error { return p.furnish(ctx, into, nil) },
	})
	if err != nil {
		return err
	}
	return p.replayer.Prepare(ctx)
}

// furnish gives an empty database blue's schema, and the rows of another one that has it. Blue's own schema is read each time,
// not that of old: old lives on green's server, for which this machine may have no pg_dump that is new enough.
func (p *proof) furnish(ctx context.Context, into string, rows *postgres.DB) error {
	return snapshot.Schema(ctx, p.Blue.DSN(), into, snapshot.SchemaOptions{Profile: p.Profile, BinDir: p.BinDir, Rows: rows})
}

// bind follows the foreign keys that only the migrations make, as replay will.
func (p *proof) bind(ctx context.Context) error {
	empty, err := p.database(ctx, "empty")
	if err != nil {
		return err
	}
	defer empty.Close()
	if err := p.furnish(ctx, empty.DSN(), nil); err != nil {
		return fmt.Errorf("copy blue's schema: %w", err)
	}
	if p.bound, err = replay.MigratedKeys(ctx, empty.DSN(), p.Profile, p.Migrator); err != nil {
		return err
	}
	own := *p.Profile
	own.Follow = slices.Clone(own.Follow)
	for _, f := range p.bound {
		if !slices.ContainsFunc(own.Follow, func(o plan.Follow) bool {
			return o.From == f.From && o.To == f.To && slices.Equal(o.FromColumns, f.FromColumns) && slices.Equal(o.ToColumns, f.ToColumns)
		}) {
			own.Follow = append(own.Follow, f)
		}
	}
	p.Profile = &own
	return nil
}

// policed objects to row security that the migrations put in force for our role on green: rows that replay merges would be refused,
// and others not seen.
func (p *proof) policed(ctx context.Context) error {
	const sql = `
SELECT c.oid::pg_catalog.regclass::pg_catalog.text, current_user::pg_catalog.text FROM pg_catalog.pg_class c
WHERE c.relrowsecurity AND c.relkind IN ('r', 'p') AND pg_catalog.row_security_active(c.oid) ORDER BY 1`
	rows, err := p.new.Pool().Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("look for row security on green: %w", err)
	}
	var table, role string
	_, err = pgx.ForEachRow(rows, []any{&table, &role}, func() error {
		p.object("migrate", fmt.Sprintf("the migrations put row security of table %s in force for role %q, by which replay writes on green", table, role),
			fmt.Sprintf("ALTER ROLE %s BYPASSRLS on green's server, or leave FORCE ROW LEVEL SECURITY of %s to after the switch", pgx.Identifier{role}.Sanitize(), table))
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for row security on green: %w", err)
	}
	return nil
}

// fill copies the sample.
func (p *proof) fill(ctx context.Context) error {
	into, err := p.old.Connect(ctx)
	if err != nil {
		return err
	}
	defer hang(ctx, into)
	if p.rows, err = replay.CopySample(ctx, p.Blue, p.Profile, into, p.Rows); err != nil {
		return err
	}
	for _, t := range p.Profile.Tables {
		p.report.Rows += p.rows[t.Name]
		if n, asked := p.rows[t.Name]; asked && n == 0 {
			p.report.Untried = append(p.report.Untried, fmt.Sprintf("table %s: it has no rows", t.Name))
		}
	}
	return nil
}

// database makes one more database, empty.
func (p *proof) database(ctx context.Context, name string) (*postgres.DB, error) {
	made, err := postgres.NewThrowaway(ctx, p.Green, "tideover_proof")
	if err != nil {
		return nil, err
	}
	p.made = append(p.made, made)
	return postgres.Open(ctx, name, made.DSN)
}

// migrated makes of an empty database what old's present state becomes at one go.
func (p *proof) migrated(ctx context.Context, into *postgres.DB) error {
	if err := p.furnish(ctx, into.DSN(), p.old); err != nil {
		return fmt.Errorf("copy the sample: %w", err)
	}
	conn, err := into.Connect(ctx)
	if err != nil {
		return err
	}
	defer hang(ctx, conn)
	rules := p.Rules(false)
	if _, err := rules.Apply(ctx, conn, "before"); err != nil {
		return fmt.Errorf("clean the sample up: %w", err)
	}
	if err := p.Migrator.Migrate(ctx, into.DSN()); err != nil {
		return fmt.Errorf("migrate the sample: %w", err)
	}
	if _, err := rules.Apply(ctx, conn, "after"); err != nil {
		return fmt.Errorf("clean the sample up: %w", err)
	}
	return nil
}

// try does something on old and has it replayed.
func (p *proof) try(ctx context.Context, d deed) error {
	if err := p.on(ctx, d.do); err != nil {
		return fmt.Errorf("%s on the sample: %w", d.name, err)
	}
	if len(p.report.Objections) > 0 {
		return nil
	}
	return p.drain(ctx, d.name, "")
}

// on runs f on a connection to old.
func (p *proof) on(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	conn, err := p.old.Connect(ctx)
	if err != nil {
		return err
	}
	defer hang(ctx, conn)
	return f(ctx, conn)
}

// drain has what was done replayed. about goes before what is said of an objection.
func (p *proof) drain(ctx context.Context, deed, about string) error {
	applied, err := p.replayer.Drain(ctx)
	p.report.Deeds += int(applied.Changes)
	switch {
	case err != nil:
		p.object(deed, fmt.Sprintf("%sreplay stops: %v", about, err), hintOf(err))
		return ctx.Err()
	case len(applied.Parked) > 0:
		p.object(deed, about+"replay could not apply: "+strings.Join(applied.Parked, "; "), "mend the profile, or what the rows break on green")
	}
	return nil
}

// now is the clock of green's server.
func (p *proof) now(ctx context.Context) (now time.Time, err error) {
	err = p.Green.Pool().QueryRow(ctx, `SELECT pg_catalog.clock_timestamp()`).Scan(&now)
	return now, err
}

// compare holds new against what old is now, migrated at one go. No deed undoes another one, so that once is enough.
func (p *proof) compare(ctx context.Context) error {
	want, err := p.database(ctx, "expected")
	if err != nil {
		return err
	}
	defer want.Close()
	clock := oracle.Clock{Since: p.began}
	if clock.Began, err = p.now(ctx); err != nil {
		return err
	}
	if err := p.migrated(ctx, want); err != nil {
		return err
	}
	if clock.Ended, err = p.now(ctx); err != nil {
		return err
	}
	expected, err := want.Connect(ctx)
	if err != nil {
		return err
	}
	defer hang(ctx, expected)
	actual, err := p.new.Connect(ctx)
	if err != nil {
		return err
	}
	defer hang(ctx, actual)
	found, err := oracle.Compare(ctx, expected, actual, p.Profile, clock)
	if err != nil {
		return err
	}
	const done = "insert, update, delete, revoke"
	for _, d := range found.Differences {
		if d.Kind == oracle.Schema && slices.Equal(d.Columns, []string{oracle.Behind}) {
			continue // sequences are set in the switch
		}
		way := "if the table's rows live elsewhere on green, say so in the profile (tables: green, on_delete, follow); if a column is filled at random there, name it in green.volatile"
		if d.Kind == oracle.Differs {
			way = "if such a column has another value each time that it is filled (at random, or numbered: serial, identity), name it in green.volatile; else what fills it looks at more than its row, or at where it runs: write it so that it doesn't, or say which rows belong together (follow)"
		}
		p.object(done, said(d), way)
		if len(p.report.Objections) == mostObjections {
			break
		}
	}
	return nil
}

// wayBack objects to rows that would go back (carry_back) as others than old has, though nobody has written them on new.
func (p *proof) wayBack(ctx context.Context) error {
	found, err := p.replayer.TryWayBack(ctx, mostReturning)
	if err != nil {
		return fmt.Errorf("try the way back: %w", err)
	}
	for _, d := range found {
		p.object("roll back", d.String(), replay.WayOfReturns)
	}
	return nil
}

// mostReturning is how many rows of a table are tried on the way back.
const mostReturning = 1000

// mostObjections is how many are named: the first ones are what a person mends, the others follow from them.
const mostObjections = 5

func (p *proof) object(deed, text, way string) {
	p.report.Objections = append(p.report.Objections, Objection{Deed: deed, Text: text, Way: way})
}

// said puts a difference into words.
func said(d oracle.Difference) string {
	const after = "after changes of rows on blue"
	switch d.Kind {
	case oracle.Missing:
		return fmt.Sprintf("%s table %q of green lacks a row (%s) that the migrations make of blue", after, d.Table, d.Key)
	case oracle.Extra:
		return fmt.Sprintf("%s table %q of green has a row (%s) that the migrations make no more", after, d.Table, d.Key)
	case oracle.Differs:
		return fmt.Sprintf("%s a row (%s) of table %q of green has other values (%s) than the migrations make", after, d.Key, d.Table, strings.Join(d.Columns, ", "))
	}
	return fmt.Sprintf("%s %s", after, d)
}

// close drops all that was made.
func (p *proof) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	if p.replayer != nil {
		errs = append(errs, p.replayer.Close(ctx))
	}
	for _, db := range []*postgres.DB{p.old, p.new} {
		if db != nil {
			db.Close()
		}
	}
	for _, made := range p.made {
		errs = append(errs, made.Drop(ctx))
	}
	return errors.Join(errs...)
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return "mend the cause; nothing was changed on blue"
}

func hang(ctx context.Context, conn *pgx.Conn) { _ = conn.Close(context.WithoutCancel(ctx)) }
