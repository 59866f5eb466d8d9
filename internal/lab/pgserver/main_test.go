package pgserver_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
)

// ownerVariable makes this test binary an owner that starts a server of the source it names, says so, and waits
// to be killed.
const ownerVariable = "TIDEOVER_PGSERVER_TEST_OWNER"

func TestMain(m *testing.M) {
	if source := os.Getenv(ownerVariable); source != "" {
		os.Exit(own(pgserver.Origin(source)))
	}
	os.Exit(pgtest.RunTests(m))
}

func own(source pgserver.Origin) int {
	fmt.Println("starting")
	s, err := pgserver.Start(context.Background(), pgserver.Options{Source: source, Name: "orphan"})
	if err != nil {
		fmt.Println("error", err)
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			fmt.Println("hint", h.Hint())
		}
		return 1
	}
	fmt.Println("pid", s.PID())
	fmt.Println("dsn", s.DSN())
	_, _ = os.Stdin.Read(make([]byte, 1)) // until killed; end-of-file when the test has died
	return 1
}
