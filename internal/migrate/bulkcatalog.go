package migrate

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/sqlrewrite"
)

// catalogOf asks a database for what sqlrewrite wants to know.
func catalogOf(ctx context.Context, conn *pgx.Conn, schema string) (sqlrewrite.Catalog, error) {
	const tables = `SELECT c.relname,
			c.relkind = 'r' AND c.relpersistence = 'p' AND NOT c.relispartition AND NOT c.relrowsecurity
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE c.oid IN (inhrelid, inhparent))
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE ev_class = c.oid)
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attgenerated <> '')
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = d.refobjid
				WHERE p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace AND (
					d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid IN (SELECT oid FROM pg_catalog.pg_attrdef WHERE adrelid = c.oid)
					OR d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid IN (SELECT oid FROM pg_catalog.pg_constraint WHERE conrelid = c.oid)
					OR d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid IN (SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = c.oid))
				AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype = 'e')) AS plain,
			(SELECT coalesce(pg_catalog.jsonb_object_agg(a.attname, CASE WHEN a.atttypmod = -1 AND a.attcollation IN (0, 'pg_catalog."default"'::pg_catalog.regcollation) AND t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace THEN t.typname ELSE '' END), '{}')
				FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS types,
			(SELECT coalesce(pg_catalog.jsonb_object_agg(a.attname, true), '{}') FROM pg_catalog.pg_constraint k
				JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = ANY(k.confkey) WHERE k.contype = 'f' AND k.confrelid = c.oid) AS referenced
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')`
	const indexes = `SELECT coalesce(pg_catalog.jsonb_object_agg(i.relname, c.relname), '{}') FROM pg_catalog.pg_index x
		JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
		JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace WHERE n.nspname = $1`
	const overloads = `SELECT coalesce(pg_catalog.jsonb_object_agg(name, true), '{}') FROM (
		SELECT proname AS name FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1
		UNION SELECT oprname FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace WHERE n.nspname = $1) f`
	const watched = `SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D')`
	c := sqlrewrite.Catalog{Schema: schema, Tables: map[string]sqlrewrite.Table{}}
	rows, err := conn.Query(ctx, tables, schema)
	if err != nil {
		return c, fmt.Errorf("read the catalog: %w", err)
	}
	var name string
	var t sqlrewrite.Table
	if _, err := pgx.ForEachRow(rows, []any{&name, &t.Plain, &t.Types, &t.Referenced}, func() error {
		c.Tables[name], t = t, sqlrewrite.Table{}
		return nil
	}); err != nil {
		return c, fmt.Errorf("read the catalog: %w", err)
	}
	for sql, into := range map[string]any{indexes: &c.Indexes, overloads: &c.Overloads} {
		if err := conn.QueryRow(ctx, sql, schema).Scan(into); err != nil {
			return c, fmt.Errorf("read the catalog: %w", err)
		}
	}
	if err := conn.QueryRow(ctx, watched).Scan(&c.Watched); err != nil {
		return c, fmt.Errorf("read the catalog: %w", err)
	}
	return c, nil
}
