// Package pgtest gives tests real Postgres servers and databases. It is apart from pgserver so that the testing
// package is not linked into the program.
//
// A package whose tests want databases says
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }
//
// and calls [NewDatabase] in each. All of them share one server, which the first one starts.
// A server that cannot be started is a failure of the test, never a skip.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/pgserver"
)

// shared is the one server of this test binary. It is package state because a testing.M cannot carry a value to
// the tests it runs.
var shared struct {
	once   sync.Once
	server *pgserver.Server
	err    error
}

// RunTests runs the tests, closes the shared server, and returns the exit code for os.Exit.
func RunTests(m *testing.M) int {
	code := m.Run()
	shared.once.Do(func() { shared.err = errors.New("the tests are over") })
	if shared.server == nil {
		return code
	}
	if err := shared.server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// Shared is the test binary's own server, started by the first call. A test must not kill, restart or close it.
func Shared(t testing.TB) *pgserver.Server {
	t.Helper()
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		shared.server, shared.err = pgserver.Start(ctx, pgserver.Options{Name: "test", Memory: true})
		if shared.err == nil {
			preferPrograms(shared.server.BinDir())
		}
	})
	if shared.err != nil {
		fatal(t, shared.err)
	}
	return shared.server
}

// NewDatabase creates an empty database on the shared server and drops it when the test is over, whoever is still
// connected. It returns a superuser's DSN.
func NewDatabase(t testing.TB) (dsn string) {
	t.Helper()
	s := Shared(t)
	name := "test_" + strings.ToLower(rand.Text()[:12])
	dsn, err := s.CreateDatabase(t.Context(), name)
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.DropDatabase(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return dsn
}

// preferPrograms lets what is tested find the programs themselves: Debian's pg_dump in PATH is one in Perl that looks for the
// real one, which takes longer than to dump a test's database.
func preferPrograms(dir string) {
	if dir != "" {
		os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
}

// NewServer starts a server of the test's own and closes it when the test is over. One that is not to keep what has been
// committed through a crash keeps nothing on a disk.
func NewServer(t testing.TB, o pgserver.Options) *pgserver.Server {
	t.Helper()
	o.Memory = o.Memory || !o.Fsync
	s, err := pgserver.Start(t.Context(), o)
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fatal(t testing.TB, err error) {
	t.Helper()
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		t.Fatalf("%v\nhint: %s", err, h.Hint())
	}
	t.Fatal(err)
}
