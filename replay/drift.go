package replay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// Drift is what DDL on blue has changed since blue's schema was copied. A delta goes through a database of the copied schema:
// what a new column holds, or a new table, would never come to green.
type Drift struct {
	blue, green *postgres.DB
	privileges  bool
}

// NewDrift compares blue's schema with the one that was copied into green; where owners and grants were copied too, also these.
func NewDrift(blue, green *postgres.DB, privileges bool) *Drift {
	return &Drift{blue: blue, green: green, privileges: privileges}
}

// definitionsVersion is that of what is recorded. It changes with definitionsSQL: what another binary has recorded can't be compared.
const definitionsVersion = "2"

// grantsOf begins the names of what owners and grants are recorded under.
const grantsOf = "owner and grants of "

// definitionsSQL are the definitions of all that the database's users have made, one row an object, with comments, owners and grants. What
// is ours is left out, and so is the replica identity of tables, which capture by the log changes.
var definitionsSQL = `
WITH ns AS (
	SELECT oid, nspname FROM pg_catalog.pg_namespace
	WHERE nspname NOT IN ('tideover', 'information_schema', 'pg_catalog', 'pg_toast') AND nspname NOT LIKE 'pg\_temp\_%' AND nspname NOT LIKE 'pg\_toast\_temp\_%'
), rel AS (
	SELECT c.*, ns.nspname || '.' || c.relname AS full_name FROM pg_catalog.pg_class c JOIN ns ON ns.oid = c.relnamespace
	WHERE c.relpersistence <> 't'
)
SELECT 'table ' || full_name, pg_catalog.concat_ws(' ', relkind, relpersistence, relispartition, pg_catalog.pg_get_expr(relpartbound, oid), relrowsecurity, relforcerowsecurity, relam, reloptions)
	FROM rel WHERE relkind IN ('r', 'p', 'f')
UNION ALL SELECT 'column ' || full_name || '.' || a.attname,
	pg_catalog.concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attcollation, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
		a.attstattarget, a.attstorage, a.attcompression, a.attoptions, a.attfdwoptions)
	FROM rel JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
	LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE relkind IN ('r', 'p', 'f')
UNION ALL SELECT 'constraint ' || full_name || '.' || k.conname, pg_catalog.concat_ws(' ', pg_catalog.pg_get_constraintdef(k.oid), k.convalidated)
	FROM rel JOIN pg_catalog.pg_constraint k ON k.conrelid = rel.oid
UNION ALL SELECT 'index ' || full_name, pg_catalog.concat_ws(' ', pg_catalog.pg_get_indexdef(oid), (SELECT i.indisclustered FROM pg_catalog.pg_index i WHERE i.indexrelid = rel.oid))
	FROM rel WHERE relkind IN ('i', 'I')
UNION ALL SELECT 'parent of ' || full_name, i.inhparent::pg_catalog.regclass::pg_catalog.text FROM rel JOIN pg_catalog.pg_inherits i ON i.inhrelid = rel.oid
UNION ALL SELECT 'view ' || full_name, pg_catalog.concat_ws(' ', pg_catalog.pg_get_viewdef(oid), reloptions) FROM rel WHERE relkind IN ('v', 'm')
UNION ALL SELECT 'sequence ' || full_name, pg_catalog.concat_ws(' ', s.seqtypid, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle, s.seqstart, s.seqcache,
		(SELECT pg_catalog.pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) FROM pg_catalog.pg_depend d
			WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = rel.oid AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0))
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
		p.prosecdef, p.proleakproof, p.prolang, p.prosqlbody, p.procost, p.prorows, p.proparallel, p.prosupport, pg_catalog.pg_get_function_arguments(p.oid), pg_catalog.pg_get_function_result(p.oid))
	FROM pg_catalog.pg_proc p JOIN ns ON ns.oid = p.pronamespace WHERE p.prokind IN ('f', 'p', 'w')
UNION ALL SELECT 'aggregate ' || p.oid::pg_catalog.regprocedure, pg_catalog.to_jsonb(a)::pg_catalog.text
	FROM pg_catalog.pg_proc p JOIN ns ON ns.oid = p.pronamespace JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid
UNION ALL SELECT name, definition FROM (` + catalogsSQL + `) made (name, definition) WHERE name NOT LIKE '%tideover%'
UNION ALL SELECT 'comment on ' || name, text FROM (
	SELECT pg_catalog.pg_describe_object(classoid, objoid, objsubid), description FROM pg_catalog.pg_description WHERE objoid >= 16384) said (name, text)
	WHERE name NOT LIKE '%tideover%'
UNION ALL SELECT '` + grantsOf + `' || name, pg_catalog.concat_ws(' ', owner, (SELECT pg_catalog.string_agg(a::pg_catalog.text, ',' ORDER BY a::pg_catalog.text) FROM unnest(acl) a)) FROM (` + grantsSQL + `
	) g (name, owner, acl) WHERE name NOT LIKE '%tideover%'`

// grantsSQL are owners and grants. A grant that is given and taken again leaves the list written out that stood for itself before.
const grantsSQL = `
	SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, oid, 0), relowner::pg_catalog.regrole::pg_catalog.text,
		coalesce(relacl, pg_catalog.acldefault(CASE relkind WHEN 'S' THEN 's'::pg_catalog."char" ELSE 'r' END, relowner)) FROM rel WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
	UNION ALL SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, rel.oid, a.attnum), '', a.attacl
		FROM rel JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid WHERE a.attnum > 0 AND NOT a.attisdropped AND pg_catalog.cardinality(a.attacl) > 0
	UNION ALL SELECT pg_catalog.pg_describe_object('pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, 0), n.nspowner::pg_catalog.regrole::pg_catalog.text,
		coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner)) FROM pg_catalog.pg_namespace n JOIN ns ON ns.oid = n.oid
	UNION ALL SELECT pg_catalog.pg_describe_object('pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0), p.proowner::pg_catalog.regrole::pg_catalog.text,
		coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) FROM pg_catalog.pg_proc p JOIN ns ON ns.oid = p.pronamespace
	UNION ALL SELECT pg_catalog.pg_describe_object('pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0), t.typowner::pg_catalog.regrole::pg_catalog.text,
		coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner)) FROM pg_catalog.pg_type t JOIN ns ON ns.oid = t.typnamespace WHERE t.typtype IN ('e', 'd', 'r', 'c')
	UNION ALL SELECT pg_catalog.pg_describe_object('pg_catalog.pg_default_acl'::pg_catalog.regclass, oid, 0), '', defaclacl FROM pg_catalog.pg_default_acl`

// catalogsSQL are catalogs of which each row is an object as a whole, but for its owner and grants.
var catalogsSQL = func() string {
	var all []string
	for _, catalog := range []string{"pg_cast", "pg_operator", "pg_opclass", "pg_opfamily", "pg_collation", "pg_conversion", "pg_ts_config", "pg_ts_dict",
		"pg_ts_parser", "pg_ts_template", "pg_language", "pg_am", "pg_transform", "pg_extension", "pg_foreign_data_wrapper", "pg_foreign_server",
		"pg_namespace", "pg_event_trigger"} {
		more, only := "", ""
		if catalog == "pg_ts_config" {
			more = " || (SELECT coalesce(pg_catalog.string_agg(m::pg_catalog.text, ',' ORDER BY m.maptokentype, m.mapseqno), '') FROM pg_catalog.pg_ts_config_map m WHERE m.mapcfg = o.oid)"
		}
		if catalog == "pg_namespace" {
			only = " AND o.oid IN (SELECT oid FROM ns)"
		}
		all = append(all, `SELECT pg_catalog.pg_describe_object('pg_catalog.`+catalog+`'::pg_catalog.regclass, o.oid, 0),
	(SELECT pg_catalog.string_agg(f.key || f.value, ',' ORDER BY f.key) FROM pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(o)) f WHERE f.key !~ '(acl|owner)$')`+more+`
	FROM pg_catalog.`+catalog+` o WHERE o.oid >= 16384`+only)
	}
	return strings.Join(all, "\nUNION ALL ")
}()

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
CREATE TABLE IF NOT EXISTS tideover.copied_schema (name text PRIMARY KEY, sum text NOT NULL);` + postgres.KeepSQL

// Record keeps blue's definitions on green, before the copy. Where they are recorded already, by a copy that is gone on with, they
// stay.
func (d *Drift) Record(ctx context.Context, budget postgres.Budget) error {
	now, err := definitions(ctx, d.blue)
	if err != nil {
		return err
	}
	names, sums := []string{""}, []string{definitionsVersion}
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

// Check is a [*DriftError] where blue's schema is not the one that was copied. Without a record, or with one that another
// version of this program has made, there is nothing to compare with.
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
	if copied[""] != definitionsVersion {
		return nil
	}
	delete(copied, "")
	now, err := definitions(ctx, d.blue)
	if err != nil {
		return err
	}
	if !d.privileges {
		alike := func(name, _ string) bool { return strings.HasPrefix(name, grantsOf) }
		maps.DeleteFunc(now, alike)
		maps.DeleteFunc(copied, alike)
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
