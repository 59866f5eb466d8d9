package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Query gives the one value that a statement asks for. It may be called from a clean-up, when the test's context has ended.
func Query[T any](t testing.TB, dsn, sql string, args ...any) T {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var v T
	if err := conn.QueryRow(ctx, sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Exec runs statements. It may be called from a clean-up, when the test's context has ended.
func Exec(t testing.TB, dsn, sql string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatal(err)
	}
}

// Tables names the tables outside of our own schema.
func Tables(t testing.TB, dsn string) []string {
	t.Helper()
	return Query[[]string](t, dsn, `SELECT coalesce(array_agg(tablename::text), '{}') FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'tideover')`)
}

// Schema describes what is in a database outside of our own schema: columns, constraints, indexes and triggers.
func Schema(t testing.TB, dsn string) string {
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
	return Query[string](t, dsn, sql)
}
