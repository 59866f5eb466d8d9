package replay

import (
	"fmt"
	"strings"
)

// Difference is a row of green that is not what the migrations make of blue.
type Difference struct {
	Kind    DifferenceKind
	Table   string   // of green
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
)

func (d Difference) String() string {
	row := fmt.Sprintf("table %q, row (%s)", d.Table, d.Key)
	switch d.Kind {
	case RowMissing:
		return row + " is missing"
	case RowExtra:
		return row + " is not to be there"
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
	return "audit: green is not what the migrations make of blue: " + strings.Join(parts, "; ")
}

// Hint says what a person can do.
func (e *AuditError) Hint() string {
	return `blue serves, nothing is lost; "tideover verify --full" lists all that differs; find out what has written to green beside replay (a server, a job, a trigger), or what the migrations make of such a row only in company of others (follow: in the profile), then roll back and begin anew`
}

// ExitCode is 4: stopped safely before the point of no return.
func (e *AuditError) ExitCode() int { return 4 }

func extras(h home, keys []tuple) (found []Difference) {
	for _, k := range keys {
		key := make([]*string, len(k))
		for i := range k {
			key[i] = &k[i]
		}
		found = append(found, Difference{Kind: RowExtra, Table: h.table, Key: keyWords(h.key, key)})
	}
	return found
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
