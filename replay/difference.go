package replay

import (
	"fmt"
	"slices"
	"strings"
)

// Difference is a row of green that is not what the migrations make of blue.
type Difference struct {
	Kind    DifferenceKind
	Table   string   // of green; of blue where it is RowReturns
	Key     string   // as "id=42"
	Columns []string // that differ; none where a row is missing, or is one too many
}

// DifferenceKind is what is wrong with a row of green.
type DifferenceKind string

// The kinds of differences.
const (
	RowDiffers DifferenceKind = ""
	RowMissing DifferenceKind = "missing"
	RowExtra   DifferenceKind = "extra"
	// RowReturns is a row that would go back to blue (carry_back) as another than blue has, though nobody has written it on green.
	RowReturns DifferenceKind = "returns"
)

func (d Difference) String() string {
	row := fmt.Sprintf("table %q, row (%s)", d.Table, d.Key)
	switch d.Kind {
	case RowMissing:
		return row + " is missing"
	case RowExtra:
		return row + " is not to be there"
	case RowReturns:
		return row + " would go back to blue with another value than blue has in " + strings.Join(d.Columns, ", ") + ", though nobody has written it on green: the migrations convert it"
	}
	return row + " has other values in " + strings.Join(d.Columns, ", ")
}

// AuditError says that green is not what the migrations make of blue.
type AuditError struct{ Differences []Difference }

func (e *AuditError) Error() string {
	parts := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		parts[i] = d.String()
	}
	if e.returns() {
		return "audit: " + strings.Join(parts, "; ")
	}
	return "audit: green is not what the migrations make of blue: " + strings.Join(parts, "; ")
}

// returns says whether green is right, and only the way back would not be.
func (e *AuditError) returns() bool {
	return !slices.ContainsFunc(e.Differences, func(d Difference) bool { return d.Kind != RowReturns })
}

// Hint says what a person can do.
func (e *AuditError) Hint() string {
	if e.returns() {
		return "blue serves, nothing is lost; roll back, " + WayOfReturns + ", and begin anew"
	}
	return `blue serves, nothing is lost; "tideover verify --full" lists all that differs; find out what has written to green beside replay (a server, a job, a trigger), or what the migrations make of such a row only in company of others (follow: in the profile), then roll back and begin anew`
}

// ExitCode is 4: stopped safely before the point of no return.
func (e *AuditError) ExitCode() int { return 4 }

// WayOfReturns is what helps where a row would go back as another.
const WayOfReturns = "say in the profile what blue's value is (carry_back: columns: [{column: …, sql: …}]), of a row g of green, or leave the table out of carry_back"

func extras(h home, keys []tuple) (found []Difference) {
	for _, k := range keys {
		found = append(found, Difference{Kind: RowExtra, Table: h.table, Key: keyWords(h.key, pointers(k))})
	}
	return found
}

func pointers(k tuple) []*string {
	key := make([]*string, len(k))
	for i := range k {
		key[i] = &k[i]
	}
	return key
}

func keyWords(columns []string, key []*string) string {
	parts := make([]string, len(key))
	for i, v := range key {
		parts[i] = columns[i] + " is NULL"
		if v != nil {
			parts[i] = columns[i] + "=" + *v
		}
	}
	return strings.Join(parts, ", ")
}
