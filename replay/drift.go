package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// Drift is what DDL on blue has changed since blue's schema was copied. A delta goes through a database of the copied schema:
// what a new column holds, or a new table, would never come to green.
type Drift struct {
	blue, green *postgres.DB
}

// NewDrift compares blue's schema with the one that was copied into green.
func NewDrift(blue, green *postgres.DB) *Drift { return &Drift{blue: blue, green: green} }

// definitionsSQL are the definitions of all that the database's users have made, one row an object. What is ours is left out,
// and so are names that only grants and comments have.
const definitionsSQL = `
WITH ns AS (
	SELECT oid, nspname FROM pg_catalog.pg_namespace
	WHERE nspname NOT IN ('tideover', 'information_schema', 'pg_catalog', 'pg_toast') AND nspname NOT LIKE 'pg\_temp\_%' AND nspname NOT LIKE 'pg\_toast\_temp\_%'
), rel AS (
	SELECT c.*, ns.nspname || '.' || c.relname AS full_name FROM pg_catalog.pg_class c JOIN ns ON ns.oid = c.relnamespace
	WHERE c.relpersistence <> 't'
)
SELECT 'table ' || full_name, pg_catalog.concat_ws(' ', relkind, relpersistence, relispartition, pg_catalog.pg_get_expr(relpartbound, oid), relrowsecurity, relforcerowsecurity)
	FROM rel WHERE relkind IN ('r', 'p', 'f')
UNION ALL SELECT 'column ' || full_name || '.' || a.attname,
	pg_catalog.concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attcollation, pg_catalog.pg_get_expr(d.adbin, d.adrelid))
	FROM rel JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
	LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE relkind IN ('r', 'p', 'f')
UNION ALL SELECT 'constraint ' || full_name || '.' || k.conname, pg_catalog.concat_ws(' ', pg_catalog.pg_get_constraintdef(k.oid), k.convalidated)
	FROM rel JOIN pg_catalog.pg_constraint k ON k.conrelid = rel.oid
UNION ALL SELECT 'index ' || full_name, pg_catalog.pg_get_indexdef(oid) FROM rel WHERE relkind IN ('i', 'I')
UNION ALL SELECT 'parent of ' || full_name, i.inhparent::pg_catalog.regclass::pg_catalog.text FROM rel JOIN pg_catalog.pg_inherits i ON i.inhrelid = rel.oid
UNION ALL SELECT 'view ' || full_name, pg_catalog.concat_ws(' ', pg_catalog.pg_get_viewdef(oid), reloptions) FROM rel WHERE relkind IN ('v', 'm')
UNION ALL SELECT 'sequence ' || full_name, pg_catalog.concat_ws(' ', s.seqtypid, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle)
	FROM rel JOIN pg_catalog.pg_sequence s ON s.seqrelid = rel.oid
UNION ALL SELECT 'trigger ' || full_name || '.' || t.tgname, pg_catalog.concat_ws(' ', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled)
	FROM rel JOIN pg_catalog.pg_trigger t ON t.tgrelid = rel.oid WHERE NOT t.tgisinternal AND t.tgname NOT LIKE 'tideover\_%'
UNION ALL SELECT 'rule ' || full_name || '.' || r.rulename, pg_catalog.concat_ws(' ', pg_catalog.pg_get_ruledef(r.oid), r.ev_enabled)
	FROM rel JOIN pg_catalog.pg_rewrite r ON r.ev_class = rel.oid WHERE r.rulename <> '_RETURN'
UNION ALL SELECT 'policy ' || full_name || '.' || p.polname, pg_catalog.concat_ws(' ', p.polcmd, p.polpermissive, p.polroles,
		pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'CHECK', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
	FROM rel JOIN pg_catalog.pg_policy p ON p.polrelid = rel.oid
UNION ALL SELECT 'statistics ' || ns.nspname || '.' || x.stxname, pg_catalog.pg_get_statisticsobjdef(x.oid)
	FROM pg_catalog.pg_statistic_ext x JOIN ns ON ns.oid = x.stxnamespace
UNION ALL SELECT 'type ' || ns.nspname || '.' || t.typname, pg_catalog.concat_ws(' ', t.typtype, pg_catalog.format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault,
		(SELECT pg_catalog.string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
		(SELECT pg_catalog.string_agg(pg_catalog.pg_get_constraintdef(k.oid), ',' ORDER BY k.conname) FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid),
		(SELECT pg_catalog.string_agg(a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND NOT a.attisdropped))
	FROM pg_catalog.pg_type t JOIN ns ON ns.oid = t.typnamespace
	WHERE t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c')
UNION ALL SELECT 'function ' || p.oid::pg_catalog.regprocedure, pg_catalog.concat_ws(' ', p.prosrc, p.probin, p.provolatile, p.proisstrict, p.proconfig,
		p.prosecdef, p.proleakproof, p.prolang, p.prosqlbody, pg_catalog.pg_get_function_arguments(p.oid), pg_catalog.pg_get_function_result(p.oid))
	FROM pg_catalog.pg_proc p JOIN ns ON ns.oid = p.pronamespace WHERE p.prokind IN ('f', 'p')
UNION ALL SELECT 'aggregate ' || p.oid::pg_catalog.regprocedure, pg_catalog.to_jsonb(a)::pg_catalog.text
	FROM pg_catalog.pg_proc p JOIN ns ON ns.oid = p.pronamespace JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid`

// definitions are the objects of a database by name, each with a hash of what defines it.
func definitions(ctx context.Context, db *postgres.DB) (map[string]string, error) {
	found := make(map[string]string)
	err := pgx.BeginTxFunc(ctx, db.Pool(), pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Whatever path the session has, names in definitions come with their schemas.
		if _, err := tx.Exec(ctx, `SET LOCAL search_path = pg_catalog`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT name, pg_catalog.md5(coalesce(definition, '')) FROM ("+definitionsSQL+") d (name, definition)")
		if err != nil {
			return err
		}
		var name, sum string
		_, err = pgx.ForEachRow(rows, []any{&name, &sum}, func() error { found[name] = sum; return nil })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the definitions of %s: %w", db.Name(), err)
	}
	return found, nil
}

const copiedSQL = `
CREATE SCHEMA IF NOT EXISTS tideover;
CREATE TABLE IF NOT EXISTS tideover.copied_schema (name text PRIMARY KEY, sum text NOT NULL)`

// Record keeps blue's definitions on green, before the copy. Where they are recorded already, by a copy that is gone on with, they
// stay.
func (d *Drift) Record(ctx context.Context, budget postgres.Budget) error {
	now, err := definitions(ctx, d.blue)
	if err != nil {
		return err
	}
	var names, sums []string
	for _, name := range sortedNames(now) {
		names, sums = append(names, name), append(sums, now[name])
	}
	err = d.green.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		if err := alone(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, copiedSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO tideover.copied_schema SELECT * FROM unnest($1::text[], $2::text[]) WHERE NOT EXISTS (SELECT 1 FROM tideover.copied_schema)`, names, sums)
		return err
	})
	if err != nil {
		return fmt.Errorf("record blue's schema on green: %w", err)
	}
	return nil
}

// Check is a [*DriftError] where blue's schema is not the one that was copied. Without a record, such as of a run that an older
// binary began, there is nothing to compare with.
func (d *Drift) Check(ctx context.Context) error {
	var there bool
	if err := d.green.Pool().QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.copied_schema') IS NOT NULL`).Scan(&there); err != nil || !there {
		return err
	}
	rows, err := d.green.Pool().Query(ctx, `SELECT name, sum FROM tideover.copied_schema`)
	if err != nil {
		return fmt.Errorf("read the copied schema: %w", err)
	}
	copied := make(map[string]string)
	var name, sum string
	if _, err := pgx.ForEachRow(rows, []any{&name, &sum}, func() error { copied[name] = sum; return nil }); err != nil {
		return fmt.Errorf("read the copied schema: %w", err)
	}
	if len(copied) == 0 {
		return nil
	}
	now, err := definitions(ctx, d.blue)
	if err != nil {
		return err
	}
	var found []string
	for _, name := range sortedNames(now) {
		if was, ok := copied[name]; !ok {
			found = append(found, name+" is new")
		} else if was != now[name] {
			found = append(found, name+" is another")
		}
	}
	for _, name := range sortedNames(copied) {
		if _, ok := now[name]; !ok {
			found = append(found, name+" is gone")
		}
	}
	if len(found) > 0 {
		return &DriftError{Objects: found}
	}
	return nil
}

// Forget drops the record from green.
func (d *Drift) Forget(ctx context.Context, budget postgres.Budget) error {
	err := d.green.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DO $$ BEGIN
	IF pg_catalog.to_regnamespace('tideover') IS NOT NULL THEN
		DROP TABLE IF EXISTS tideover.copied_schema;
	END IF;
END $$`)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget the copied schema: %w", err)
	}
	return nil
}

// DriftError names what DDL has changed on blue since the copy.
type DriftError struct{ Objects []string }

func (e *DriftError) Error() string {
	const most = 10
	shown := e.Objects
	if len(shown) > most {
		shown = append(slices.Clone(shown[:most]), fmt.Sprintf("and %d more", len(e.Objects)-most))
	}
	return "blue's schema has changed since it was copied: " + strings.Join(shown, ", ")
}

// Hint says what a person can do.
func (e *DriftError) Hint() string {
	return "green can't follow: undo the change on blue and resume, or roll the run back and begin again; keep migrations off blue until the upgrade is over"
}

// ExitCode is 4: stopped safely before the point of no return.
func (e *DriftError) ExitCode() int { return 4 }
