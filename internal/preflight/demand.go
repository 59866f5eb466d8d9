package preflight

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// demand is something that a table's rows must meet.
type demand struct {
	Kind, Table, Name string
	Columns           []string // of blue's table that the condition needs; where one is new, blue cannot be asked
	Needs             []string // tables that the condition needs besides
	// Where picks the rows t that do not meet it, as a rule's where does: without schema, search_path is set.
	Where string
	// Orphaned is, for a foreign key, the condition of the rows whose parent is among those of its table that %s leaves
	// out; the parents are called t in it.
	Orphaned string
	// Column and Default are, for a type of JSON, the column and its new default: its rows can be repaired.
	Column, Default string
}

// demandsQuery reads what the rows of a schema's tables must meet. Of rows that a unique index or an exclusion constraint
// does not let stand together, the one with the greatest primary key meets it: it is the newest where keys are in the order of
// time, and the same one on blue, on its copy and in a delta, which is what matters.
const demandsQuery = `
WITH rel AS (
	SELECT c.oid, c.relname, coalesce(k.list, 't.ctid') AS key, coalesce(k.other, 'o.ctid') AS other, coalesce(k.bare, 'ctid') AS bare
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary
	LEFT JOIN LATERAL (SELECT string_agg(pg_catalog.format('t.%I', a.attname), ', ' ORDER BY k.n) AS list, string_agg(pg_catalog.format('o.%I', a.attname), ', ' ORDER BY k.n) AS other,
		string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.n) AS bare
		FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n) JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts) k ON true
	WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
)
SELECT 'not null' AS kind, r.relname AS "table", a.attname::text AS name, ARRAY[a.attname::text] AS columns, '{}'::text[] AS needs,
	pg_catalog.format('t.%I IS NULL', a.attname) AS where, '' AS "column", '' AS default, '' AS orphaned
FROM rel r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
UNION ALL
SELECT 'unique', r.relname, x.relname, k.names, '{}',
	pg_catalog.format('(%s) IN (SELECT %s FROM (SELECT %s, pg_catalog.row_number() OVER (PARTITION BY %s ORDER BY %s DESC) AS tideover_n FROM %I t WHERE %s%s) q WHERE q.tideover_n > 1)',
		r.key, r.bare, r.bare, k.list, r.bare, r.relname, k.present, coalesce(' AND (' || pg_catalog.pg_get_expr(i.indpred, i.indrelid) || ')', '')), '', '', ''
FROM rel r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid AND i.indisunique JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid,
LATERAL (SELECT string_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k.n::int, true), ', ' ORDER BY k.n) AS list,
	string_agg('(' || pg_catalog.pg_get_indexdef(i.indexrelid, k.n::int, true) || ') IS NOT NULL', ' AND ' ORDER BY k.n) AS present,
	coalesce((SELECT array_agg(DISTINCT a.attname::text) FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = d.refobjsubid
		WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid AND d.refobjid = r.oid AND d.refobjsubid > 0),
		(SELECT array_agg(a.attname::text) FROM unnest(i.indkey::int2[]) u JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = u)) AS names
	FROM pg_catalog.generate_series(1, i.indnkeyatts) k(n)) k
UNION ALL
SELECT 'exclusion', r.relname, c.conname, k.names, '{}',
	pg_catalog.format('EXISTS (SELECT FROM %I o WHERE (%s) > (%s) AND %s)', r.relname, r.other, r.key, k.clash), '', '', ''
FROM rel r JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid AND c.contype = 'x' JOIN pg_catalog.pg_index i ON i.indexrelid = c.conindid AND i.indexprs IS NULL AND i.indpred IS NULL,
LATERAL (SELECT array_agg(a.attname::text) AS names, string_agg(pg_catalog.format('t.%I OPERATOR(%I.%s) o.%I', a.attname, s.nspname, p.oprname, a.attname), ' AND ') AS clash
	FROM unnest(c.conkey, c.conexclop) k(attnum, op) JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = k.attnum
	JOIN pg_catalog.pg_operator p ON p.oid = k.op JOIN pg_catalog.pg_namespace s ON s.oid = p.oprnamespace) k
UNION ALL
SELECT 'foreign key', r.relname, c.conname, k.names, ARRAY[p.relname::text],
	pg_catalog.format('%s AND NOT EXISTS (SELECT FROM %I p WHERE %s)', k.present, p.relname, k.matched), '', '',
	pg_catalog.format('(%s) IN (SELECT %s FROM %I t WHERE %%s)', k.child, k.parent, p.relname)
FROM rel r JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid AND c.contype = 'f' JOIN rel p ON p.oid = c.confrelid,
LATERAL (SELECT array_agg(a.attname::text) AS names, string_agg(pg_catalog.format('t.%I IS NOT NULL', a.attname), ' AND ') AS present,
	string_agg(pg_catalog.format('p.%I = t.%I', b.attname, a.attname), ' AND ') AS matched,
	string_agg(pg_catalog.format('t.%I', a.attname), ', ' ORDER BY a.attnum) AS child, string_agg(pg_catalog.format('t.%I', b.attname), ', ' ORDER BY a.attnum) AS parent
	FROM unnest(c.conkey, c.confkey) k(child, parent) JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.child
	JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.parent) k
UNION ALL
SELECT 'check', r.relname, c.conname, coalesce((SELECT array_agg(a.attname::text) FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.oid AND a.attnum = ANY(c.conkey)), '{}'), '{}',
	pg_catalog.format('NOT (%s)', pg_catalog.pg_get_expr(c.conbin, c.conrelid)), '', '', ''
FROM rel r JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid AND c.contype = 'c'
UNION ALL
SELECT CASE WHEN json THEN 'json' ELSE 'type' END, r.relname, a.attname || ' ' || f.type, ARRAY[a.attname::text], '{}',
	CASE WHEN json THEN pg_catalog.format('NOT pg_temp.tideover_is_json(t.%I::text)', a.attname)
		WHEN a.atttypid IN ('varchar'::pg_catalog.regtype, 'bpchar'::pg_catalog.regtype) AND a.atttypmod > 4
			THEN pg_catalog.format('pg_catalog.length(t.%I::text) > %s', a.attname, a.atttypmod - 4)
		ELSE pg_catalog.format('NOT pg_temp.tideover_is(t.%I::text, %L)', a.attname, f.type) END,
	CASE WHEN json THEN a.attname ELSE '' END, CASE WHEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE '''[]''%' THEN '[]' ELSE '{}' END, ''
FROM rel r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum,
LATERAL (SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, a.atttypid IN ('json'::pg_catalog.regtype, 'jsonb'::pg_catalog.regtype) AS json) f`

// catalog reads the demands of the schema of the database at dsn.
func (c *check) catalog(ctx context.Context, dsn string) ([]demand, error) {
	conn, err := postgres.Connect(ctx, "preflight", dsn)
	if err != nil {
		return nil, err
	}
	defer postgres.HangUp(ctx, conn)
	if _, err := conn.Exec(ctx, "SET search_path = "+postgres.Path(c.schema)); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, demandsQuery, c.schema)
	if err != nil {
		return nil, fmt.Errorf("read the migrated catalog: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[demand])
}

func (d demand) key() string { return strings.Join([]string{d.Kind, d.Table, d.Where}, "\x00") }

// String names the demand: unique of table "t" (t_v_key).
func (d demand) String() string { return fmt.Sprintf("%s of table %q (%s)", d.Kind, d.Table, d.Name) }

// rule is what would see to the rows that do not meet d: JSON is repaired, all else is set aside, because only a person
// knows a better value. at most so many rows are expected.
func (d demand) rule(rows int64) plan.Rule {
	r := plan.Rule{
		Name: ruleName(d), Phase: "before", Table: d.Table, Where: d.Where, ExpectAtMost: &rows,
		Description: "Rows that the new " + d.String() + " would refuse.",
	}
	if d.Kind == "json" {
		column := pgx.Identifier{d.Column}.Sanitize()
		r.Fix = []string{fmt.Sprintf("UPDATE %s t SET %s = pg_temp.tideover_json(t.%[2]s::text, '%s') WHERE %s", pgx.Identifier{d.Table}.Sanitize(), column, d.Default, d.Where)}
		return r
	}
	r.Quarantine = true
	return r
}

// ruleName is a name in the letters that rules' names have.
func ruleName(d demand) string {
	name := d.Table + "-" + d.Kind + "-" + strings.TrimPrefix(d.Name, d.Table+"_")
	name = strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			return c
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		}
		return '-'
	}, name)
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	return strings.Trim(name[:min(len(name), 60)], "-")
}
