package replay

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Watch notices writes to the tables of blue that no profile names. They are copied, and nobody brings their changes over: one
// that is written after the copy would be stale on green. What it finds stops a run before anybody waits.
//
// A statement trigger on each such table notes that the table was written, in the writer's transaction; where the table inherits
// from another, a trigger of rows. It asks before it notes, so that a busy table costs its writers one look at a table of a few
// rows.
type Watch struct {
	db      *postgres.DB
	profile *plan.Profile
}

// NewWatch is the watch of blue.
func NewWatch(blue *postgres.DB, p *plan.Profile) *Watch { return &Watch{db: blue, profile: p} }

const watchSQL = `
CREATE SCHEMA IF NOT EXISTS tideover;
CREATE TABLE IF NOT EXISTS tideover.written (relation oid NOT NULL);
CREATE OR REPLACE FUNCTION tideover.note_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	INSERT INTO tideover.written (relation) SELECT TG_RELID
		WHERE NOT EXISTS (SELECT 1 FROM tideover.written w WHERE w.relation OPERATOR(pg_catalog.=) TG_RELID);
	RETURN NULL;
END $$`

// unnamedSQL are the guarded tables that a profile does not name ($2 its tables, $3 its schema), without the partitions of
// those that it names, and whether the watch is on them.
const unnamedSQL = `
SELECT g.nspname, g.relname, g.heir, count(t.oid) = 2
FROM (` + guardedSQL + `) g
LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = g.oid AND t.tgname IN ('tideover_watch', 'tideover_watch_truncate') AND t.tgenabled = 'A'
WHERE NOT EXISTS (
	SELECT 1 FROM pg_catalog.pg_class root JOIN pg_catalog.pg_namespace n ON n.oid = root.relnamespace
	WHERE root.oid = coalesce(pg_catalog.pg_partition_root(g.oid), g.oid) AND CASE WHEN n.nspname = $3 THEN root.relname::pg_catalog.text ELSE n.nspname || '.' || root.relname END = ANY ($2))
GROUP BY g.nspname, g.relname, g.heir ORDER BY g.nspname, g.relname`

// named are the tables that a profile has a word about.
func named(p *plan.Profile) []string {
	all := append([]string{}, p.Bookkeeping...)
	all = append(all, p.Green.Ignore...)
	for _, t := range p.Tables {
		all = append(all, t.Name)
	}
	return all
}

func (w *Watch) unnamed(ctx context.Context) (all, missing []guarded, err error) {
	rows, err := w.db.Pool().Query(ctx, unnamedSQL, append([]string{}, w.profile.Others...), named(w.profile), schemaOf(w.profile))
	if err != nil {
		return nil, nil, fmt.Errorf("list the tables of %s that the profile does not name: %w", w.db.Name(), err)
	}
	var g guarded
	var watched bool
	_, err = pgx.ForEachRow(rows, []any{&g.schema, &g.name, &g.heir, &watched}, func() error {
		all = append(all, g)
		if !watched {
			missing = append(missing, g)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list the tables of %s that the profile does not name: %w", w.db.Name(), err)
	}
	return all, missing, nil
}

// Installed says whether every table that the profile does not name is watched.
func (w *Watch) Installed(ctx context.Context) (bool, error) {
	all, missing, err := w.unnamed(ctx)
	return err == nil && (len(all) == 0 || len(missing) == 0), err
}

// Install begins to watch. It may be called again; a table is a transaction of its own, under the lock budget.
func (w *Watch) Install(ctx context.Context, budget postgres.Budget) error {
	_, missing, err := w.unnamed(ctx)
	if err != nil || len(missing) == 0 {
		return err
	}
	err = w.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		if err := alone(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, watchSQL, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.db.Name(), err)
	}
	for _, table := range missing {
		each := "STATEMENT"
		if table.heir { // a statement on what it inherits from is none on it
			each = "ROW"
		}
		sql := `CREATE OR REPLACE TRIGGER tideover_watch AFTER INSERT OR UPDATE OR DELETE ON ` + table.ident() + ` FOR EACH ` + each + ` EXECUTE FUNCTION tideover.note_write();
CREATE OR REPLACE TRIGGER tideover_watch_truncate AFTER TRUNCATE ON ` + table.ident() + ` FOR EACH STATEMENT EXECUTE FUNCTION tideover.note_write();
ALTER TABLE ` + table.ident() + ` ENABLE ALWAYS TRIGGER tideover_watch, ENABLE ALWAYS TRIGGER tideover_watch_truncate`
		err := w.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
			return err
		})
		if err != nil {
			return notOurs(fmt.Errorf("watch table %q of %s: %w", table.schema+"."+table.name, w.db.Name(), err), table)
		}
	}
	return nil
}

// Remove ends the watch and forgets what it saw.
func (w *Watch) Remove(ctx context.Context, budget postgres.Budget) error {
	const list = `
SELECT n.nspname, c.relname FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgname IN ('tideover_watch', 'tideover_watch_truncate') AND t.tgparentid = 0 GROUP BY 1, 2`
	rows, err := w.db.Pool().Query(ctx, list)
	if err != nil {
		return fmt.Errorf("end the watch of %s: %w", w.db.Name(), err)
	}
	var watched []guarded
	var g guarded
	if _, err := pgx.ForEachRow(rows, []any{&g.schema, &g.name}, func() error { watched = append(watched, g); return nil }); err != nil {
		return fmt.Errorf("end the watch of %s: %w", w.db.Name(), err)
	}
	drop := func(sql string) error {
		return w.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
			return err
		})
	}
	for _, g := range watched {
		if err := drop(`DROP TRIGGER IF EXISTS tideover_watch ON ` + g.ident() + `; DROP TRIGGER IF EXISTS tideover_watch_truncate ON ` + g.ident()); err != nil {
			return fmt.Errorf("end the watch of table %q of %s: %w", g.schema+"."+g.name, w.db.Name(), err)
		}
	}
	const rest = `DO $$ BEGIN
	IF pg_catalog.to_regnamespace('tideover') IS NOT NULL THEN
		DROP FUNCTION IF EXISTS tideover.note_write();
		DROP TABLE IF EXISTS tideover.written;
	END IF;
END $$`
	if err := drop(rest); err != nil {
		return fmt.Errorf("end the watch of %s: %w", w.db.Name(), err)
	}
	return nil
}

// Check is a [*WrittenError] where a table that the profile does not name was written since the watch began.
func (w *Watch) Check(ctx context.Context) error {
	var there, objects bool
	const look = `SELECT pg_catalog.to_regclass('tideover.written') IS NOT NULL, EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)`
	if err := w.db.Pool().QueryRow(ctx, look).Scan(&there, &objects); err != nil {
		return fmt.Errorf("look for the watch of %s: %w", w.db.Name(), err)
	}
	var written []string
	var err error
	if there { // not where the profile names all tables
		const sql = `
SELECT DISTINCT n.nspname || '.' || c.relname FROM tideover.written w
JOIN pg_catalog.pg_class c ON c.oid = w.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1`
		written, err = collect[string](ctx, w.db.Pool(), "ask which tables were written", sql)
	}
	if objects { // preflight has found none; they have no triggers
		written = append(written, "large objects")
	}
	if err == nil && len(written) > 0 {
		err = &WrittenError{Side: w.db.Name(), Tables: written}
	}
	return err
}

// WrittenError names tables of blue that were written after the copy and whose changes nothing brings over.
type WrittenError struct {
	Side   string
	Tables []string // schema.table
}

func (e *WrittenError) Error() string {
	return fmt.Sprintf("%s: written since changes are captured, and not in the profile: %s", e.Side, strings.Join(e.Tables, ", "))
}

// Hint says what a person can do.
func (e *WrittenError) Hint() string {
	return "what was written there would be missing on green: roll the run back and name the table in the profile (tables:), or under others: if its changes need not come along"
}

// ExitCode is 4: stopped safely before the point of no return.
func (e *WrittenError) ExitCode() int { return 4 }
