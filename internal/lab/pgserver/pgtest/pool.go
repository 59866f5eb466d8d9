package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Pool is a pool of connections such as others have: bare names mean those of the database's own search_path. It is
// closed when the test is over.
func Pool(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
