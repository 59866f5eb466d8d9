package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// schemaOf describes what is in a database outside of our own schema: columns, constraints, indexes and triggers.
func schemaOf(t *testing.T, dsn string) string {
	t.Helper()
	const sql = `
SELECT coalesce(string_agg(line, E'\n' ORDER BY line), '') FROM (
	SELECT format('column %s.%s.%s %s %s', table_schema, table_name, column_name, data_type, column_default)
		FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'tideover')
	UNION ALL SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid))
		FROM pg_constraint WHERE connamespace = 'public'::regnamespace
	UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
	UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
) AS lines(line)`
	return query[string](t, dsn, sql)
}

// tablesOf names the tables outside of our own schema.
func tablesOf(t *testing.T, dsn string) []string {
	t.Helper()
	return query[[]string](t, dsn, `SELECT coalesce(array_agg(tablename::text), '{}') FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'tideover')`)
}

func query[T any](t *testing.T, dsn, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// leaveScratch makes a database such as a killed preflight leaves beside green.
func leaveScratch(t *testing.T, dsn string) {
	t.Helper()
	const name = `SELECT format('tideover_preflight_%s_leftbyakill0', oid) FROM pg_database WHERE datname = current_database()`
	execute(t, dsn, "CREATE DATABASE "+query[string](t, dsn, name))
}

// scratchBeside names the databases of ours on a server.
func scratchBeside(t *testing.T, dsn string) []string {
	t.Helper()
	return query[[]string](t, dsn, `SELECT coalesce(array_agg(datname::text), '{}') FROM pg_database WHERE datname LIKE 'tideover%'`)
}

func difference(before, after string) string { return cmp.Diff(before, after) }
