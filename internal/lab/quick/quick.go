// Package quick keeps the quick loop quick.
package quick

import "testing"

// Skip leaves a test that takes long out of go test -short, which is what make check runs. make test and CI never say
// -short: they skip nothing.
func Skip(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: make test runs it")
	}
}
