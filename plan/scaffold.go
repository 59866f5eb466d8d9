package plan

import (
	_ "embed"
	"fmt"
	"strings"
	"time"
)

//go:embed scaffold.yaml
var scaffold string

// InitOptions is what a new runbook is about.
type InitOptions struct {
	Name    string // of the run; default "upgrade"
	Profile string // default "bundled"
}

// Init is a runbook to start from: blue-green, with every step and a word on each. It loads without error once the
// environment variables that it names are set.
func Init(opts InitOptions) []byte {
	if opts.Name == "" {
		opts.Name = "upgrade"
	}
	if opts.Profile == "" {
		opts.Profile = "bundled"
	}
	source := "source: migrations # a folder of goose migrations, relative to this file; or the vendor's own program in command: [...]"
	replay, cutover := "until_lag: 100", "deadline: 10s\n    drain_logins: 5s"
	switch opts.Profile {
	case "bundled":
		source = "source: bundled # the migrations of the bundled server; else a folder of goose migrations, or command: [...]\n    to: 20009 # the version to stop at; without it the newest"
	case "hydra": // as in testdata/runbooks/hydra-2x.yaml, which is tried; a test holds the two together
		source = "command: [hydra, migrate, sql, --read-from-env, --yes] # the new version, on the PATH; docs/hydra/2x.md has a faster way for large databases"
		replay = "batch: 10000 # each batch runs the vendor's migrations, whatever its size\n    until_lag: 1000\n    until_age: 10s\n    steady_for: 3s"
		cutover = "deadline: 20s\n    drain_logins: 2s\n    max_lag: 2000 # what two batches bring over"
	}
	return []byte(strings.NewReplacer(
		"@name@", fmt.Sprintf("%q", opts.Name), "@profile@", fmt.Sprintf("%q", opts.Profile), "@source@", source, "@replay@", replay, "@cutover@", cutover,
	).Replace(scaffold))
}

// written is a duration without the zeros that String adds: 5m, not 5m0s.
func written(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
