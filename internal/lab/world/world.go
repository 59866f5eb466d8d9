// Package world tries whole upgrades on databases that nobody has thought of, and judges them by a comparison of its own.
//
// A [World] is everything that an upgrade meets: blue's schema and rows, settings, a profile, migrations, what clients
// write at which moment, and when the process is killed. [Generate] makes one from a seed; a fixed one can be written
// down. [Pair.Play] takes it through the real program, and [Outcome] says what came of it: green is equal to blue's last
// state migrated by psql, or the run was refused before the hold and blue is as it was. Anything else is a finding.
//
// The judge shares no code with the engines: rows are compared as the text that Postgres gives under pinned settings, of
// every table of every schema, and so are the schemas (pg_dump -s) and the sequences.
package world

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Moment says when clients write.
type Moment string

const (
	BeforeCapture Moment = "before capture" // between the preflight and the capture
	DuringCopy    Moment = "during the copy"
	Between       Moment = "between copy and replay"
	DuringReplay  Moment = "during replay"
	InHold        Moment = "in the hold"
)

// World is an upgrade as data.
type World struct {
	Name       string            // names its databases: letters, digits and _
	Blue       string            // psql script for blue's empty database; :"db" is the database's name
	Green      string            // the same for green's, such as settings
	Profile    string            // YAML
	Migrations map[string]string // file → SQL
	Writes     []Write           // in order
	Kills      []int             // the n-th process is killed after so many stored events of its own
	Clock      []string          // names of columns that blue's own triggers set from the clock, also when a migration writes the row
	Cast       *Cast             // nil: all that connects is the servers' superuser
	Leave      []Column          // filled at random by the migrations, and named as volatile in the profile: not compared
}

// Write is one transaction of a client.
type Write struct {
	When Moment
	SQL  string
}

// Column is a column of a table on green.
type Column struct{ Schema, Table, Name string }

// script is what is written at a moment, as one psql script.
func (w *World) script(m Moment) string {
	var b strings.Builder
	for _, x := range w.Writes {
		if x.When == m {
			b.WriteString(x.SQL)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// String shows a world to a person.
func (w *World) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- blue\n%s\n-- green\n%s\n", w.Blue, w.Green)
	for _, file := range slices.Sorted(maps.Keys(w.Migrations)) {
		fmt.Fprintf(&b, "-- migration %s\n%s\n", file, w.Migrations[file])
	}
	fmt.Fprintf(&b, "-- profile\n%s\n", w.Profile)
	for _, x := range w.Writes {
		fmt.Fprintf(&b, "-- %s\n%s\n", x.When, x.SQL)
	}
	if len(w.Kills) > 0 {
		fmt.Fprintf(&b, "-- killed after so many events: %v\n", w.Kills)
	}
	return b.String()
}
