package world

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// judge compares green with blue's last state, restored and migrated by Postgres' own programs. It returns what differs;
// an error is a state that the migrations themselves refuse.
func (s *scene) judge(ctx context.Context) ([]string, error) {
	expected, err := create(ctx, s.Green, s.expectedName())
	if err != nil {
		return nil, err
	}
	if err := s.restore(ctx, expected); err != nil {
		return nil, err
	}
	fresh, err := caches(ctx, s.blue)
	if err != nil {
		return nil, err
	}
	times, err := s.times(ctx, expected)
	if err != nil {
		return nil, err
	}
	before, err := ask[string](ctx, expected, sequencesQuery)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx, expected); err != nil {
		return nil, &migrationError{err}
	}
	found, err := s.compareRows(ctx, expected, fresh, times)
	if err != nil {
		return nil, err
	}
	schema, err := s.compareSchema(ctx, expected)
	if err != nil {
		return nil, err
	}
	sequences, err := s.compareSequences(ctx, expected, before)
	return slices.Concat(found, schema, sequences), err
}

// migrationError: the migrations refuse blue's last state. Right is then a refusal.
type migrationError struct{ err error }

func (e *migrationError) Error() string {
	return "the migrations refuse blue's last state: " + e.err.Error()
}
func (e *migrationError) Unwrap() error { return e.err }

// restore brings blue's last state into an empty database. What tideover has on blue goes along and is dropped there: so
// the dump is Postgres' own, whole. pg_dump's empty search_path is left out: functions that name things without a schema
// need the clients' own.
func (s *scene) restore(ctx context.Context, into string) error {
	dump, _, err := s.client(ctx, "pg_dump", s.blue, "", "--no-owner", "--no-privileges")
	if err != nil {
		return err
	}
	const empty = `SELECT pg_catalog.set_config('search_path', '', false);`
	if !strings.Contains(dump, empty) {
		return fmt.Errorf("pg_dump sets no search_path any more")
	}
	dump = strings.Replace(dump, empty, "", 1)
	if err := s.psql(ctx, into, dump+"\nDROP SCHEMA IF EXISTS tideover CASCADE;\n"); err != nil {
		return fmt.Errorf("restore blue's last state: %w", err)
	}
	return nil
}

// migrate runs the migrations by psql, each file as one transaction, under the settings of green's database.
func (s *scene) migrate(ctx context.Context, dsn string) error {
	settings, err := ask[string](ctx, s.green, `
SELECT pg_catalog.format('SET %s = %s;', pg_catalog.split_part(c, '=', 1),
	CASE WHEN c = 'search_path=""' THEN '''''' -- an empty one, which can't be set as it is written there
		WHEN pg_catalog.split_part(c, '=', 1) = 'search_path' THEN pg_catalog.substr(c, 13)
		ELSE pg_catalog.quote_literal(pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)) END)
FROM pg_catalog.pg_db_role_setting CROSS JOIN LATERAL pg_catalog.unnest(setconfig) AS c
WHERE setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AND setrole = 0`)
	if err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(s.world.Migrations)) {
		script := strings.Join(settings, "\n") + "\nBEGIN;\n" + s.world.Migrations[file] + "\n;COMMIT;\n"
		if err := s.psql(ctx, dsn, script); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// books is the table in which migrations are ticked off. It is green's alone.
const books = "goose_db_version"

// pinned is what rows are printed under.
const pinned = `SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex';
SET timezone = 'UTC'; SET client_encoding = 'UTF8'; SET row_security = off; SET xmloption = 'content'; SET statement_timeout = 0;
SET lock_timeout = 0; SET search_path = pg_catalog`

// tablesQuery lists what holds rows: tables, partitions and materialized views, with their columns.
const tablesQuery = `
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, n.nspname AS schema, c.relname AS bare, c.relkind = 'm' AS cache,
	pg_catalog.array_agg(a.attname::text ORDER BY a.attname) FILTER (WHERE a.attname IS NOT NULL) AS columns
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tideover') AND n.nspname NOT LIKE 'pg\_%'
	AND c.relname <> '` + books + `'
	AND (c.relkind = 'r' OR c.relispopulated)
GROUP BY 1, 2, 3, 4 ORDER BY 1`

type table struct {
	Name, Schema, Bare string
	Cache              bool
	Columns            []string
}

// compareRows compares all tables that both sides have; that one is missing is for compareSchema to find. A materialized
// view may be as fresh as blue's own was.
func (s *scene) compareRows(ctx context.Context, expected string, caches map[string][]string, times []string) ([]string, error) {
	print := func(t table, column string) string { return s.world.print(t, column, times) }
	want, err := contents(ctx, expected, print)
	if err != nil {
		return nil, err
	}
	got, err := contents(ctx, s.green, print)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		rows, ok := got[name]
		if !ok {
			continue
		}
		if old, is := caches[name]; is && slices.Equal(old, rows) {
			continue
		}
		if lines := difference(want[name], rows); len(lines) > 0 {
			found = append(found, fmt.Sprintf("table %s: %d rows want, %d got\n%s", name, len(want[name]), len(rows), cut(lines, 12)))
		}
	}
	return found, nil
}

// caches is what blue's materialized views hold.
func caches(ctx context.Context, dsn string) (map[string][]string, error) {
	return contents(ctx, dsn, func(_ table, column string) string { return ident(column) }, "m")
}

// print is a column as it is compared: "" not at all; of a clock's column what blue had brought (times), or that there is another
// value, which a migration's trigger has made.
func (w *World) print(t table, column string, times []string) string {
	if slices.Contains(w.Leave, Column{t.Schema, t.Bare, column}) {
		return ""
	}
	if !slices.Contains(w.Clock, column) {
		return ident(column)
	}
	brought := make([]string, len(times))
	for i, when := range times {
		brought[i] = "'" + when + "'"
	}
	return fmt.Sprintf("CASE WHEN %[1]s::text = ANY (ARRAY[%[2]s]::text[]) THEN %[1]s::text WHEN %[1]s IS NOT NULL THEN 'made' END", ident(column), strings.Join(brought, ", "))
}

// times are the values of the clock's columns that blue had.
func (s *scene) times(ctx context.Context, expected string) ([]string, error) {
	if len(s.world.Clock) == 0 {
		return nil, nil
	}
	rows, err := contents(ctx, expected, func(_ table, column string) string {
		if slices.Contains(s.world.Clock, column) {
			return ident(column)
		}
		return ""
	})
	var times []string
	for _, lines := range rows {
		for _, line := range lines {
			if when := strings.Trim(line, `()"`); when != "" {
				times = append(times, when)
			}
		}
	}
	return times, err
}

// contents is every table's rows as sorted text, each column as print has it; with kinds, those kinds only.
func contents(ctx context.Context, dsn string, print func(table, string) string, kinds ...string) (map[string][]string, error) {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, pinned, pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, tablesQuery)
	if err != nil {
		return nil, err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByName[table])
	if err != nil {
		return nil, err
	}
	all := make(map[string][]string)
	for _, t := range tables {
		if len(kinds) > 0 && !t.Cache {
			continue
		}
		var columns []string
		for _, c := range t.Columns {
			if shown := print(t, c); shown != "" {
				columns = append(columns, shown)
			}
		}
		if all[t.Name], err = lines(ctx, conn, t, columns); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// lines is a table's rows as sorted text; a row without columns is a line all the same.
func lines(ctx context.Context, conn *pgx.Conn, t table, columns []string) ([]string, error) {
	only := "ONLY "
	if t.Cache {
		only = ""
	}
	sql := fmt.Sprintf(`COPY (SELECT ROW(%s)::text FROM %s%s ORDER BY ROW(%[1]s)::text COLLATE "C") TO STDOUT`, strings.Join(columns, ", "), only, t.Name)
	var b strings.Builder
	if _, err := conn.PgConn().CopyTo(ctx, &b, sql); err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Name, err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n"), nil
}

// compareSchema compares what pg_dump says of both, without owners, grants and publications, which don't come along.
func (s *scene) compareSchema(ctx context.Context, expected string) ([]string, error) {
	dump := func(dsn string) ([]string, error) {
		text, _, err := s.client(ctx, "pg_dump", dsn, "", "--schema-only", "--no-owner", "--no-privileges", "--no-publications", "--exclude-schema=tideover", "--exclude-table=*."+books+"*")
		return statements(text), err
	}
	want, err := dump(expected)
	if err != nil {
		return nil, err
	}
	got, err := dump(s.green)
	if err != nil {
		return nil, err
	}
	if lines := difference(want, got); len(lines) > 0 {
		return []string{"schema:\n" + cut(lines, 30)}, nil
	}
	return nil, nil
}

// statements is a dump as a sorted list: what belongs together stays together, and an order of pg_dump's that hangs on
// object ids does not count. Our own triggers are left out.
func statements(dump string) []string {
	var all []string
	for block := range strings.SplitSeq(dump, "\n\n") {
		var kept []string
		for line := range strings.Lines(block) {
			line = strings.TrimRight(line, "\n")
			if line == "" || strings.HasPrefix(line, "--") || strings.HasPrefix(line, `\restrict`) || strings.HasPrefix(line, `\unrestrict`) || strings.Contains(line, "TRIGGER tideover_") {
				continue
			}
			kept = append(kept, line)
		}
		if len(kept) > 0 {
			all = append(all, strings.Join(kept, "\n"))
		}
	}
	slices.Sort(all)
	return all
}

const sequencesQuery = `SELECT pg_catalog.format('%I.%I %s', schemaname, sequencename, coalesce(last_value::text, 'fresh'))
FROM pg_catalog.pg_sequences WHERE schemaname <> 'tideover' AND sequencename NOT LIKE '` + books + `%' ORDER BY 1`

// compareSequences compares the sequences that blue had: a value that green gives again would be taken already.
func (s *scene) compareSequences(ctx context.Context, expected string, before []string) ([]string, error) {
	want, err := ask[string](ctx, expected, sequencesQuery)
	if err != nil {
		return nil, err
	}
	got, err := ask[string](ctx, s.green, sequencesQuery)
	if err != nil {
		return nil, err
	}
	old := func(line string) bool { return slices.Contains(before, line) }
	want = slices.DeleteFunc(want, func(l string) bool { return !old(l) })
	var found []string
	for _, l := range want {
		if !slices.Contains(got, l) {
			name, _, _ := strings.Cut(l, " ")
			is := slices.IndexFunc(got, func(g string) bool { return strings.HasPrefix(g, name+" ") })
			if is < 0 {
				continue // compareSchema says so
			}
			found = append(found, fmt.Sprintf("sequence: want %s, got %s", l, got[is]))
		}
	}
	return found, nil
}

// difference is what only one of two sorted lists has: "-" is wanted and missing, "+" is there and not wanted.
func difference(want, got []string) []string {
	var d []string
	i, j := 0, 0
	for i < len(want) || j < len(got) {
		switch {
		case j == len(got) || i < len(want) && want[i] < got[j]:
			d = append(d, "- "+want[i])
			i++
		case i == len(want) || got[j] < want[i]:
			d = append(d, "+ "+got[j])
			j++
		default:
			i++
			j++
		}
	}
	return d
}

func cut(lines []string, most int) string {
	if len(lines) > most {
		lines = append(slices.Clone(lines[:most]), fmt.Sprintf("… and %d lines more", len(lines)-most))
	}
	return "\t" + strings.ReplaceAll(strings.Join(lines, "\n"), "\n", "\n\t")
}
