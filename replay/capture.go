package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Capture records a side's changes in its table tideover.change, in the transaction of the change. A change that can't
// be recorded fails: nothing is lost. See [Capture.MarkIncomplete] for another choice.
//
// Only keys and the columns that the profile keeps are recorded. On green, sessions of ours (postgres.Passed) are not
// captured, so that what is replayed is not replayed back.
type Capture struct {
	db      *postgres.DB
	profile *plan.Profile
	side    plan.Side
	lenient bool
}

// NewCapture is the capture of one side.
func NewCapture(db *postgres.DB, p *plan.Profile, side plan.Side) *Capture {
	return &Capture{db: db, profile: p, side: side}
}

// MarkIncomplete is the same capture of blue, installed so that a change that can't be recorded goes through. From then on
// [Capture.Sync] and [Capture.Installed] return a [*LostError]. It costs the server a savepoint for each change.
func (c *Capture) MarkIncomplete() *Capture {
	lenient := *c
	lenient.lenient = c.side == plan.Blue
	return &lenient
}

// recorded is a table whose changes are recorded.
type recorded struct {
	table     string
	key, keep []string
	judge     string
}

// changeSQL makes the queue, with one index: that of what is unapplied, by transaction. What is applied is deleted;
// revocations stay.
const changeSQL = `
CREATE SCHEMA IF NOT EXISTS tideover;` + postgres.PassSQL + `
CREATE TABLE IF NOT EXISTS tideover.change (
	id bigint GENERATED ALWAYS AS IDENTITY,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
	table_name text NOT NULL,
	op text NOT NULL,
	key jsonb NOT NULL,
	kept jsonb,
	kind text,
	applied_at timestamptz,
	parked_at timestamptz,
	error text
);
CREATE INDEX IF NOT EXISTS change_unapplied ON tideover.change (txid, (op = 'D'), id) WHERE applied_at IS NULL;
CREATE TABLE IF NOT EXISTS tideover.capture (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	epoch uuid NOT NULL DEFAULT gen_random_uuid(),
	applied bigint NOT NULL DEFAULT 0
);
INSERT INTO tideover.capture DEFAULT VALUES ON CONFLICT DO NOTHING;
-- It has no primary key. A publication FOR ALL TABLES, such as others' change data capture has, refuses its updates
-- otherwise.
DO $$ BEGIN
	IF (SELECT relreplident FROM pg_catalog.pg_class WHERE oid = 'tideover.change'::regclass) <> 'f' THEN
		ALTER TABLE tideover.change REPLICA IDENTITY FULL;
	END IF;
END $$;`

func schemaOf(p *plan.Profile) string {
	if p.Schema == "" {
		return "public"
	}
	return p.Schema
}

// schemasOf are the schemas of a profile's tables, its own first.
func schemasOf(p *plan.Profile) []string { return p.Schemas() }

// sources lists what is captured, with keys filled in from the catalog.
func (c *Capture) sources(all map[string]*relation) ([]recorded, error) {
	var found []recorded
	if c.side == plan.Blue {
		for _, t := range c.profile.Tables {
			if t.Captured() {
				found = append(found, recorded{t.Name, t.Key, t.Keep, t.Judge})
			}
		}
	} else {
		for _, r := range c.profile.Revocations {
			g := r.Green
			i := slices.IndexFunc(found, func(s recorded) bool { return s.table == g.Table })
			if i < 0 {
				found = append(found, recorded{table: g.Table, judge: g.Judge})
				i = len(found) - 1
			}
			if found[i].judge != g.Judge {
				return nil, fmt.Errorf("profile: revocation %q judges table %q of green otherwise than another does", r.Kind, g.Table)
			}
			found[i].keep = append(found[i].keep, slices.Concat(g.Key, g.Keep)...)
		}
	}
	for i := range found {
		s := &found[i]
		r := all[s.table]
		if r == nil {
			return nil, fmt.Errorf("profile: %s has no table %q", c.side, s.table)
		}
		if len(s.key) == 0 {
			s.key = r.primary
		}
		if len(s.key) == 0 {
			return nil, fmt.Errorf("profile: table %q of %s has no primary key: name key columns in the profile", s.table, c.side)
		}
		s.keep = slices.DeleteFunc(dedupe(s.keep), func(name string) bool { return slices.Contains(s.key, name) })
		for _, name := range slices.Concat(s.key, s.keep) {
			if _, ok := r.column(name); !ok {
				return nil, fmt.Errorf("profile: table %q of %s has no column %q", s.table, c.side, name)
			}
		}
		for _, name := range s.key {
			if k, _ := r.column(name); !k.notNull {
				return nil, fmt.Errorf("profile: key column %q of table %q of %s can be NULL, and such a row is not found again: name a key that is NOT NULL", name, s.table, c.side)
			}
		}
	}
	return found, nil
}

func dedupe(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func (c *Capture) plan(ctx context.Context) (map[string]*relation, []recorded, error) {
	all, err := catalog(ctx, c.db.Pool(), schemasOf(c.profile))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.db.Name(), err)
	}
	found, err := c.sources(all)
	return all, found, err
}

// Install begins to record. It may be called again at any time, under any load: the queue and its functions come in
// one transaction, then each table's triggers in one of their own, under the lock budget. CREATE TRIGGER waits for the
// table's writers, so that no write under way slips by.
func (c *Capture) Install(ctx context.Context, budget postgres.Budget) error {
	all, found, err := c.plan(ctx)
	if err != nil {
		return err
	}
	if c.side == plan.Blue {
		for i, s := range found { // whether all that refers to a row went with it is asked by these, and what hung on it
			found[i].keep = append(slices.Clone(s.keep), slices.DeleteFunc(dedupe(slices.Concat(referred(all, s.table), linking(all, c.profile, s.table))), func(column string) bool {
				return slices.Contains(s.key, column) || slices.Contains(s.keep, column)
			})...)
		}
	}
	err = c.openQueue(ctx, budget, all, found, func(ctx context.Context, tx pgx.Tx) error {
		for _, s := range found {
			shape := 0
			if c.side == plan.Blue {
				var err error
				if shape, err = shapeOf(ctx, tx, s); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, functionsSQL(triggersOf(c.side, all[s.table], s, shape), c.lenient), pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("table %q: %w", s.table, err)
			}
		}
		if c.side == plan.Blue {
			return nil
		}
		return installJudge(ctx, tx, schemaOf(c.profile), all, found)
	})
	if err != nil {
		return err
	}
	missing, err := c.missing(ctx, all, found)
	if err != nil {
		return err
	}
	for _, s := range missing {
		err := c.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, triggersSQL(all[s.table], triggersOf(c.side, all[s.table], s, 0)), pgx.QueryExecModeSimpleProtocol)
			return err
		})
		if err != nil {
			return fmt.Errorf("install the capture on table %q of %s: %w", s.table, c.db.Name(), err)
		}
	}
	return nil
}

// openQueue makes the queue, tries the profile's judges and has more done, in one transaction.
func (c *Capture) openQueue(ctx context.Context, budget postgres.Budget, all map[string]*relation, found []recorded, more func(ctx context.Context, tx pgx.Tx) error) error {
	err := c.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		if err := alone(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, changeSQL+intakeSQL+";"+postgres.KeepSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if err := more(ctx, tx); err != nil {
			return err
		}
		if err := within(ctx, tx, schemaOf(c.profile)); err != nil {
			return err
		}
		judges, err := judgesOf(all, found)
		if err != nil {
			return err
		}
		return judges.try(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("install the capture on %s: %w", c.db.Name(), err)
	}
	c.db.Renew()
	return nil
}

// Installed says whether every table's changes are recorded. The error is a [*LostError] where some were not.
func (c *Capture) Installed(ctx context.Context) (bool, error) {
	there, err := c.there(ctx)
	if err != nil || !there {
		return false, err
	}
	if err := c.complete(ctx); err != nil {
		return false, err
	}
	all, found, err := c.plan(ctx)
	if err != nil {
		return false, err
	}
	missing, err := c.missing(ctx, all, found)
	return err == nil && len(missing) == 0, err
}

func (c *Capture) there(ctx context.Context) (there bool, err error) {
	const sql = `SELECT pg_catalog.to_regclass('tideover.change') IS NOT NULL AND pg_catalog.to_regclass('tideover.capture') IS NOT NULL`
	if err := c.db.Pool().QueryRow(ctx, sql).Scan(&there); err != nil {
		return false, fmt.Errorf("look for the capture on %s: %w", c.db.Name(), err)
	}
	return there, nil
}

// capturingSQL lists our triggers that fire always, with their functions.
const capturingSQL = `
SELECT n.nspname, c.relname, t.tgname, p.proname FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace ours ON ours.oid = p.pronamespace
WHERE ours.nspname = 'tideover' AND t.tgname LIKE 'tideover\_capture%' AND t.tgenabled = 'A'`

// missing are the tables whose triggers are not all there and firing always, on each of their partitions too.
func (c *Capture) missing(ctx context.Context, all map[string]*relation, found []recorded) ([]recorded, error) {
	rows, err := c.db.Pool().Query(ctx, capturingSQL)
	if err != nil {
		return nil, fmt.Errorf("look for the capture on %s: %w", c.db.Name(), err)
	}
	there := make(map[[3]string]bool)
	var schema, table, name, function string
	_, err = pgx.ForEachRow(rows, []any{&schema, &table, &name, &function}, func() error {
		there[[3]string{pgx.Identifier{schema, table}.Sanitize(), name, function}] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for the capture on %s: %w", c.db.Name(), err)
	}
	return slices.DeleteFunc(slices.Clone(found), func(s recorded) bool {
		r := all[s.table]
		return !slices.ContainsFunc(triggersOf(c.side, r, s, 0), func(t trigger) bool {
			return !there[[3]string{r.ident(), t.name, t.function}] || slices.ContainsFunc(r.partitions, func(table string) bool {
				return !there[[3]string{table, t.name, t.function}]
			})
		})
	}), nil
}

// Remove stops recording and drops the queue. It may be called again, and where Install never finished.
func (c *Capture) Remove(ctx context.Context, budget postgres.Budget) error {
	const list = `
SELECT c.relname, string_agg(pg_catalog.format('DROP TRIGGER IF EXISTS %I ON %I.%I', t.tgname, n.nspname, c.relname), '; ')
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace ours ON ours.oid = p.pronamespace
WHERE ours.nspname = 'tideover' AND t.tgname LIKE 'tideover\_capture%' AND t.tgparentid = 0
GROUP BY n.nspname, c.relname`
	rows, err := c.db.Pool().Query(ctx, list)
	if err != nil {
		return fmt.Errorf("remove the capture from %s: %w", c.db.Name(), err)
	}
	type captured struct{ Table, Drop string }
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[captured])
	if err != nil {
		return fmt.Errorf("remove the capture from %s: %w", c.db.Name(), err)
	}
	drop := func(sql string) error {
		return c.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
			return err
		})
	}
	for _, t := range tables {
		if err := drop(t.Drop); err != nil {
			return fmt.Errorf("remove the capture from table %q of %s: %w", t.Table, c.db.Name(), err)
		}
	}
	if err := drop(removeSQL); err != nil {
		return fmt.Errorf("remove the capture from %s: %w", c.db.Name(), err)
	}
	return nil
}

// Lag is how far the other side is behind.
type Lag struct {
	Changes     int64         // not applied yet
	Oldest      time.Duration // how long ago the transaction of the oldest of them began
	Parked      int64         // could not be applied; they stop the cutover
	Captured    int64         // all changes so far
	Applied     int64
	Revocations int64 // changes so far that took authority away
}

// Lag reads the queue. Its time grows with the backlog, not with what was applied.
func (c *Capture) Lag(ctx context.Context) (Lag, error) {
	const sql = `
SELECT queued.n + new.n, queued.parked, coalesce(extract(epoch FROM clock_timestamp() - least(queued.oldest, new.oldest)), 0)::float8,
	(SELECT applied FROM tideover.capture),
	(SELECT count(*) FROM tideover.change WHERE kind = 'revoked')
FROM (SELECT count(*) FILTER (WHERE parked_at IS NULL) AS n, count(*) FILTER (WHERE parked_at IS NOT NULL) AS parked,
	min(at) FILTER (WHERE parked_at IS NULL) AS oldest FROM tideover.change WHERE applied_at IS NULL) queued,
	(SELECT count(*) AS n, min(at) AS oldest FROM tideover.captured) new`
	var l Lag
	var oldest float64
	err := c.db.Pool().QueryRow(ctx, sql).Scan(&l.Changes, &l.Parked, &oldest, &l.Applied, &l.Revocations)
	if postgres.Code(err) == "42P01" {
		return l, fmt.Errorf("read the queue of %s: %w", c.db.Name(), errors.Join(ErrNoCapture, err))
	}
	if err != nil {
		return l, fmt.Errorf("read the queue of %s: %w", c.db.Name(), err)
	}
	l.Oldest = max(0, time.Duration(oldest*float64(time.Second)))
	l.Captured = l.Applied + l.Changes + l.Parked
	return l, nil
}
