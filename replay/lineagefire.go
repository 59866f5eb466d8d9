package replay

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/sqlrewrite"
)

// firing is a trigger of blue's own, which fires when a migration writes rows of its table.
type firing struct {
	Table, Name      string
	Before, Row      bool
	Events           []string
	Columns          []string // of UPDATE OF
	Language, Source string   // of its function
}

// firingsSQL lists the triggers that fire for ordinary sessions.
const firingsSQL = `
SELECT ` + calledSQL + `, t.tgname, t.tgtype & 2 > 0, t.tgtype & 1 > 0,
	array_remove(ARRAY[CASE WHEN t.tgtype & 4 > 0 THEN 'INSERT' END, CASE WHEN t.tgtype & 8 > 0 THEN 'DELETE' END, CASE WHEN t.tgtype & 16 > 0 THEN 'UPDATE' END], NULL),
	ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr::int2[])),
	l.lanname, CASE WHEN l.lanname IN ('c', 'internal') THEN p.proname ELSE p.prosrc END
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND n.nspname = ANY ($1) AND t.tgtype & 28 > 0
	AND p.pronamespace IS DISTINCT FROM pg_catalog.to_regnamespace('tideover')
ORDER BY n.nspname, c.relname, t.tgname`

func firings(ctx context.Context, q queryer, schemas []string) ([]firing, error) {
	rows, err := q.Query(ctx, firingsSQL, schemas)
	if err != nil {
		return nil, fmt.Errorf("read blue's triggers: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[firing])
}

// rowLocal are functions that come with Postgres and its extensions, and look at their own row alone.
var rowLocal = []string{"tsvector_update_trigger", "tsvector_update_trigger_column", "suppress_redundant_updates_trigger", "moddatetime", "insert_username"}

var (
	// quotedText are comments and texts of PL/pgSQL, which do nothing.
	quotedText = regexp.MustCompile(`(?s)--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'`)
	writesRows = regexp.MustCompile(`(?i)\b(insert|update|delete|merge|truncate|execute|call|copy|perform)\b`)
	readsRows  = regexp.MustCompile(`(?i)\b(select|from|table|exists|nextval|setval|lastval|currval)\b`)
)

// alone says whether what a trigger does hangs on its row alone, and is of that row alone. defined are functions that may look at
// rows, brought the tables whose rows are merged: an outbox or a log of the server's is none.
func (f firing) alone(defined map[string]bool, brought []string, schemas plan.Schemas) bool {
	if f.Language != "plpgsql" {
		return slices.Contains(rowLocal, f.Source)
	}
	body := quotedText.ReplaceAllString(f.Source, " ")
	if f.Before {
		if !f.Row || writesRows.MatchString(body) || readsRows.MatchString(body) {
			return false
		}
	} else { // one that fires afterwards, and reads, can only refuse
		names := func(table string) bool {
			_, name := schemas.Place(table)
			return regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(name) + `\b`).MatchString(body)
		}
		return !writesRows.MatchString(body) || !slices.ContainsFunc(brought, names)
	}
	for name := range defined {
		if regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(name) + `\s*\(`).MatchString(body) {
			return false
		}
	}
	return true
}

// fires: what triggers and foreign keys of blue do when a migration writes rows becomes of more than those rows.
func (l *lineal) fires(w sqlrewrite.Write, triggers []firing, defined map[string]bool) {
	asleep := func(name string) bool { return slices.Contains(w.Asleep, "*") || slices.Contains(w.Asleep, name) }
	var brought []string
	for _, t := range l.Profile.Tables {
		brought = append(brought, t.Name)
	}
	for _, f := range triggers {
		of := len(f.Columns) == 0 || w.Event != "UPDATE" || slices.ContainsFunc(w.Columns, func(c string) bool { return slices.Contains(f.Columns, c) })
		if f.Table != w.Table || !slices.Contains(f.Events, w.Event) || !of || asleep(f.Name) || f.alone(defined, brought, l.Profile.Schemas()) {
			continue
		}
		l.object(w.Place, w.Table, "", fmt.Sprintf("trigger %q of table %q fires, and may look at other rows or write them", f.Name, w.Table),
			fmt.Sprintf("switch it off around the statement (ALTER TABLE %s DISABLE TRIGGER %s, then ENABLE), and write out what is to become of other rows", w.Table, f.Name))
	}
	if w.Event != "UPDATE" {
		return
	}
	for _, child := range sortedNames(l.blue) {
		for _, e := range l.blue[child].parents {
			if e.to == w.Table && e.updates && slices.ContainsFunc(e.toColumns, func(c string) bool { return slices.Contains(w.Columns, c) }) {
				l.object(w.Place, child, w.Table, fmt.Sprintf("foreign key %q of table %q changes rows there when %s of table %q get other values", e.foreignKey, child, strings.Join(e.toColumns, ", "), w.Table),
					"write out what is to become of those rows, and let the foreign key have no ON UPDATE action meanwhile")
			}
		}
	}
}
