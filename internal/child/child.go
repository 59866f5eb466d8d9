// Package child says what programs that we start find in their environment: what any program needs, and what the runbook names
// for them. Ours has the connection strings and tokens of the whole runbook, which are nobody else's affair.
package child

import (
	"os"
	"slices"
	"strings"
)

// common are the variables that every program gets: where things are, how to speak, and what time it is.
var common = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// Environment lists, as NAME=value, what of our environment a program gets: the common variables, those of the names, and those
// whose names begin like one that ends in "*".
func Environment(names ...string) []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		if slices.Contains(common, name) || strings.HasPrefix(name, "LC_") {
			return false
		}
		return !slices.ContainsFunc(names, func(n string) bool {
			prefix, all := strings.CutSuffix(n, "*")
			return n == name || all && strings.HasPrefix(name, prefix)
		})
	})
}
