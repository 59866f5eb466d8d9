// Package schema holds the bundled OAuth server's stock migrations, written as a vendor would write them: table locks,
// whole-table updates, and one migration that marks valid sessions invalid.
//
// File numbers name the generation: 10000-10999 is 1.0, 11000-11999 is 1.1, 20000-20999 is 2.0.
package schema

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed *.sql
var files embed.FS

// Files returns all migrations of every generation, in goose's format, in one flat folder.
func Files() fs.FS { return files }

// Target returns the highest goose version that belongs to a generation ("1.0", "1.1", "2.0").
func Target(generation string) (int64, error) {
	switch generation {
	case "1.0":
		return 10001, nil
	case "1.1":
		return 11004, nil
	case "2.0":
		return 20009, nil
	}
	return 0, fmt.Errorf("generation %q is unknown; there are 1.0, 1.1 and 2.0", generation)
}
