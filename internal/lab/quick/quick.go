// Package quick keeps the quick loop quick.
package quick

import "testing"

// Skip leaves a test that takes long out of go test -short, which is what make check runs. make test and CI never say
// -short: what they leave out is only another slice's (internal/lab/slice).
func Skip(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: make test runs it")
	}
}

// First leaves all but the first n cases out of go test -short: those that follow would take long together.
func First[T any](t testing.TB, n int, cases []T) []T {
	t.Helper()
	if !testing.Short() || len(cases) <= n {
		return cases
	}
	t.Logf("%d of %d cases: make test runs all", n, len(cases))
	return cases[:n]
}
