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
