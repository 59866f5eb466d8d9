package preflight

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// object is something on a schema's tables that goes with what it hangs on: DROP … CASCADE says nothing of it.
type object struct {
	Kind, Name, On string
	Definition     string // that makes it again
}

// objectsQuery reads what stands on tables, in all schemas but the system's and ours. Their names are enough to know them again: a
// table may have been renamed, or merged into another one, and has kept them.
const objectsQuery = `
WITH theirs AS (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname NOT IN ('tideover', 'information_schema') AND n.nspname !~ '^pg_')
SELECT 'index' AS kind, x.relname AS name, i.indrelid::pg_catalog.regclass::text AS "on", pg_catalog.pg_get_indexdef(x.oid) AS definition
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
WHERE x.relnamespace IN (SELECT oid FROM theirs) AND NOT x.relispartition AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conindid = x.oid AND c.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT CASE c.contype WHEN 'f' THEN 'foreign key' ELSE 'constraint' END, c.conname, c.conrelid::pg_catalog.regclass::text,
	pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::pg_catalog.regclass, c.conname, pg_catalog.pg_get_constraintdef(c.oid))
FROM pg_catalog.pg_constraint c WHERE c.connamespace IN (SELECT oid FROM theirs) AND c.conrelid <> 0 AND c.conparentid = 0 AND c.contype IN ('c', 'f', 'p', 'u', 'x')
UNION ALL
SELECT 'trigger', t.tgname, t.tgrelid::pg_catalog.regclass::text, pg_catalog.pg_get_triggerdef(t.oid)
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class r ON r.oid = t.tgrelid WHERE r.relnamespace IN (SELECT oid FROM theirs) AND NOT t.tgisinternal AND t.tgparentid = 0
UNION ALL
SELECT CASE v.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, v.relname, '',
	pg_catalog.format('CREATE %s %s AS %s', CASE v.relkind WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, v.oid::pg_catalog.regclass, pg_catalog.pg_get_viewdef(v.oid))
FROM pg_catalog.pg_class v WHERE v.relnamespace IN (SELECT oid FROM theirs) AND v.relkind IN ('v', 'm')
UNION ALL
SELECT 'rule', w.rulename, w.ev_class::pg_catalog.regclass::text, pg_catalog.pg_get_ruledef(w.oid)
FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class r ON r.oid = w.ev_class WHERE r.relnamespace IN (SELECT oid FROM theirs) AND w.rulename <> '_RETURN'
UNION ALL
SELECT 'policy', p.polname, p.polrelid::pg_catalog.regclass::text, ''
FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class r ON r.oid = p.polrelid WHERE r.relnamespace IN (SELECT oid FROM theirs)
UNION ALL
SELECT 'table', '', r.oid::pg_catalog.regclass::text, '' FROM pg_catalog.pg_class r WHERE r.relnamespace IN (SELECT oid FROM theirs) AND r.relkind IN ('r', 'p')
ORDER BY 1, 2, 3`

// objects reads what stands on the tables of the database at dsn.
func (c *check) objects(ctx context.Context, dsn string) ([]object, error) {
	conn, err := postgres.Connect(ctx, "preflight", dsn)
	if err != nil {
		return nil, err
	}
	defer postgres.HangUp(ctx, conn)
	if _, err := conn.Exec(ctx, "SET search_path = "+postgres.Path(c.schema)); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, objectsQuery)
	if err != nil {
		return nil, fmt.Errorf("read what stands on the tables: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[object])
}

// mostDropped is how many are named.
const mostDropped = 20

// dropped names what blue has, and what is not there any more after the migrations, but for what the profile says that they drop
// of the server's own: it is the company's, and nothing else would speak of it. Indexes and constraints of a table that goes say
// nothing without it; what a trigger there has done has to be done elsewhere.
func (c *check) dropped(before, after []object) {
	named, left := 0, map[string]bool{}
	for _, o := range after {
		left[o.On] = left[o.On] || o.Kind == "table"
	}
	for _, o := range before {
		same := func(other object) bool { return other.Kind == o.Kind && other.Name == o.Name }
		if o.Kind == "table" || slices.ContainsFunc(after, same) || slices.Contains(c.Profile.Dropped, o.Name) {
			continue
		}
		if !left[o.On] && (o.Kind == "index" || o.Kind == "constraint" || o.Kind == "foreign key") {
			continue
		}
		if named++; named > mostDropped {
			continue
		}
		text := fmt.Sprintf("the migrations drop the %s %q", o.Kind, o.Name)
		if o.On != "" {
			text += " of " + o.On
		}
		hint := "if it is yours, make it again on green when the migrations are through, before the cutover"
		if o.Definition != "" {
			hint += ", such as: " + o.Definition
		}
		c.add(Warn, "dropped", text, hint+"; if it is the server's own, name it under dropped in the profile", 0)
	}
	if named > mostDropped {
		c.add(Warn, "dropped", fmt.Sprintf("the migrations drop %d more indexes, constraints, triggers or views", named-mostDropped), "compare the schemas after a rehearsal", 0)
	}
}
