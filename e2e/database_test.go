package e2e

import (
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
)

// leaveScratch makes a database such as a killed preflight leaves beside green.
func leaveScratch(t *testing.T, dsn string) {
	t.Helper()
	const name = `SELECT format('tideover_preflight_%s_leftbyakill0', oid) FROM pg_database WHERE datname = current_database()`
	pgtest.Exec(t, dsn, "CREATE DATABASE "+pgtest.Query[string](t, dsn, name))
}

// scratchBeside names the databases that our tools have made for this one and left on its server.
func scratchBeside(t *testing.T, dsn string) []string {
	t.Helper()
	return pgtest.Query[[]string](t, dsn, `SELECT coalesce(array_agg(d.datname::text), '{}') FROM pg_database d
		JOIN pg_database own ON own.datname = current_database() AND d.datname LIKE format('tideover%%\_%s\_%%', own.oid)`)
}
