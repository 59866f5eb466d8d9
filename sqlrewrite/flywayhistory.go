package sqlrewrite

import (
	"fmt"
	"slices"
	"strings"
)

// flywayRow is one of flyway_schema_history.
type flywayRow struct {
	version, title, kind, script, sum string
	failed, deleted                   bool
}

// flywayInPlace reads the history as Flyway's migrate does when it has validated: what failed, what has changed since, what is missing, and
// what comes late is refused by name.
func flywayInPlace(rows [][]string, scripts []*Script) ([]*Script, error) {
	var list []*flywayRow
	base := ""
	for _, r := range rows {
		row := &flywayRow{r[0], r[1], r[2], r[3], r[4], r[5] != "true", false}
		switch row.kind {
		case "SQL":
		case "SCHEMA":
			continue
		case "BASELINE":
			if base == "" || compareVersions(row.version, base) > 0 {
				base = row.version
			}
			continue
		case "DELETE": // repair has found no file for it
			for _, had := range slices.Backward(list) {
				if had.version == row.version && (row.version != "" || had.title == row.title) {
					had.deleted = true
					break
				}
			}
			continue
		default:
			return nil, &Error{File: flywayTable, Msg: fmt.Sprintf("%s is of type %s, which isn't read here", row.script, row.kind), Try: "use the vendor's own command (command: …)"}
		}
		list = append(list, row)
	}
	list = slices.DeleteFunc(list, func(r *flywayRow) bool { return r.deleted })
	has, newest := map[*Script]bool{}, base
	for i, row := range list {
		if row.failed {
			return nil, halfDone(flywayTable, row.script, "success is false: flyway repair")
		}
		if row.version == "" && slices.ContainsFunc(list[i+1:], func(r *flywayRow) bool { return r.version == "" && r.title == row.title }) {
			continue // it has run again since
		}
		s, err := row.file(scripts, base)
		if err != nil {
			return nil, err
		}
		if row.version != "" && (newest == "" || compareVersions(row.version, newest) > 0) {
			newest = row.version
		}
		if s != nil {
			has[s] = row.version != "" || s.sum == row.sum
		}
	}
	var done []*Script
	for _, s := range scripts {
		versioned := !strings.HasPrefix(s.vendor, "R__")
		switch {
		case has[s] || versioned && base != "" && compareVersions(s.vendor, base) <= 0:
			done = append(done, s)
		case versioned && newest != "" && compareVersions(s.vendor, newest) < 0:
			return nil, refused(s.Name, "it was never applied, but the later version "+newest+" was, and Flyway stops there", "give the file a version above it, or apply it by hand")
		}
	}
	return done, nil
}

// file is the row's file; nil where there is none and Flyway doesn't mind, since it is of a later release.
func (r *flywayRow) file(scripts []*Script, base string) (*Script, error) {
	i := slices.IndexFunc(scripts, func(s *Script) bool {
		if r.version == "" {
			return strings.HasPrefix(s.vendor, "R__") && flywayShort(s.title) == r.title
		}
		return !strings.HasPrefix(s.vendor, "R__") && compareVersions(s.vendor, r.version) == 0
	})
	if i < 0 {
		future := r.version != "" && !slices.ContainsFunc(scripts, func(s *Script) bool {
			return !strings.HasPrefix(s.vendor, "R__") && compareVersions(s.vendor, r.version) > 0
		})
		if future {
			return nil, nil
		}
		return nil, &Error{File: flywayTable, Msg: "it has " + r.script + ", which is not among the files, and Flyway stops there", Try: "put the file back, or let flyway repair mark it as deleted"}
	}
	s := scripts[i]
	switch {
	case r.version == "" || base != "" && compareVersions(r.version, base) <= 0:
	case r.sum != s.sum:
		return nil, changed(s.Name, flywayTable)
	case r.title != flywayShort(s.title):
		return nil, refused(s.Name, fmt.Sprintf("its description isn't that in %s (%s), and Flyway stops there", flywayTable, r.title), "name the file as it was, or let flyway repair mend the table")
	}
	return s, nil
}
