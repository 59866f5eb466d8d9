package e2e

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/deployment"
)

// shared is the Postgres servers of all deployments of this test binary. It is package state because a testing.M cannot carry
// a value to the tests it runs.
var shared struct {
	once sync.Once
	pair *deployment.Pair
	err  error
}

// sharedPair is the servers that deployments have their databases on, started by the first call. Tests that kill a Postgres, or
// look at all databases of one, want their own.
func sharedPair(t testing.TB) *deployment.Pair {
	t.Helper()
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		shared.pair, shared.err = deployment.NewPair(ctx, deployment.Options{})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.pair
}

// onPair lets a demo or a rehearsal have its databases on the shared servers. Two may not do so at a time.
func onPair(t testing.TB) (env map[string]string) {
	t.Helper()
	p := sharedPair(t)
	return map[string]string{"TIDEOVER_TEST_DSN_BLUE": p.Blue.DSN(), "TIDEOVER_TEST_DSN_GREEN": p.Green.DSN()}
}

// closePair ends the shared servers, if there were any.
func closePair() error {
	shared.once.Do(func() { shared.err = errors.New("the tests are over") })
	if shared.pair == nil {
		return nil
	}
	return shared.pair.Close()
}
