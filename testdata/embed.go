// Package testdata has the runbooks that demo and tests use. They are part of the program, so that `tideover demo` works
// from an empty directory.
package testdata

import "embed"

// Runbooks has runbooks/*.yaml.
//
//go:embed runbooks/*.yaml
var Runbooks embed.FS
