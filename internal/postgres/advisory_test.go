package postgres_test

import (
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
)

// A lock that another session holds is not had, until that session ends.
func TestAwaitLock(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const try = `SELECT pg_catalog.pg_try_advisory_lock($1, $2)`
	db := open(t, pgtest.NewDatabase(t))
	holder, err := db.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waiter, err := db.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer postgres.HangUp(t.Context(), waiter)
	if got, err := postgres.AwaitLock(t.Context(), holder, 0, try, 7, 8); !got || err != nil {
		t.Fatal(got, err)
	}
	if got, err := postgres.AwaitLock(t.Context(), waiter, 0, try, 7, 8); got || err != nil {
		t.Fatal(got, err)
	}
	postgres.HangUp(t.Context(), holder)
	if got, err := postgres.AwaitLock(t.Context(), waiter, time.Minute, try, 7, 8); !got || err != nil {
		t.Error(got, err)
	}
}
