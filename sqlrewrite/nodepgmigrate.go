package sqlrewrite

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// NodePgMigrateFormat is node-pg-migrate's .sql files, with "-- Up Migration" and "-- Down Migration".
const NodePgMigrateFormat Format = "node-pg-migrate"

var (
	nodePgUp     = regexp.MustCompile(`(?mi)^\s*--[\s-]*up\s+migration`)
	nodePgDown   = regexp.MustCompile(`(?mi)^\s*--[\s-]*down\s+migration`)
	nodePgPrefix = regexp.MustCompile(`^\d+`)
)

// Source: node-pg-migrate's src/migration.ts, sqlMigration.ts, runner.ts and utils. What the table has must be how the files begin, in
// their order: a file that comes late is refused.
func nodePgMigrateLayout() *layout {
	r := &Records{Table: "pgmigrations",
		Create: "CREATE TABLE IF NOT EXISTS pgmigrations (id SERIAL PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL)",
		Read:   "SELECT ARRAY[name] FROM pgmigrations ORDER BY run_on, id",
		// Sessions differ in their time zones, and the tool goes by the order of these times.
		up:   "INSERT INTO pgmigrations (name, run_on) VALUES (%[1]s, (SELECT greatest(now()::timestamp, max(run_on)) FROM pgmigrations))",
		down: "DELETE FROM pgmigrations WHERE name = %[1]s"}
	r.inPlace = func(rows [][]string, scripts []*Script) ([]*Script, error) {
		for i, row := range rows {
			if i < len(scripts) && row[0] != scripts[i].vendor {
				return nil, refused(scripts[i].Name, fmt.Sprintf("%s has %s in its place, and node-pg-migrate stops there", r.Table, row[0]), "give the file a number above those that have run, or put back the one that is missing")
			}
		}
		return noted(rows, scripts)
	}
	return &layout{name: NodePgMigrateFormat, claims: func(t *tree) string {
		return t.annotated(func(line string) bool { return nodePgUp.MatchString(line) || nodePgDown.MatchString(line) })
	}, read: func(t *tree) ([]*Script, error) { return nodePgFolder(t, r) }, places: true, records: r}
}

// nodePgFolder reads the files in the order of the numbers that they begin with.
func nodePgFolder(t *tree, r *Records) ([]*Script, error) {
	for _, n := range t.others {
		if !strings.HasPrefix(n, ".") {
			return nil, refused(n, "node-pg-migrate takes every file of the folder for a migration, and this one isn't SQL", "put it elsewhere; of migrations in JavaScript or TypeScript use the vendor's own command (command: …)")
		}
	}
	var scripts []*Script
	at := map[*Script]int64{}
	for _, n := range sorted(t.files) {
		if strings.HasPrefix(n, ".") {
			continue
		}
		if path.Ext(n) != ".sql" || strings.HasSuffix(n, ".up.sql") || strings.HasSuffix(n, ".down.sql") {
			return nil, refused(n, "what node-pg-migrate makes of it depends on its configuration", "name files <number>_<text>.sql, with both ways in one")
		}
		place, err := nodePgNumber(n)
		if err != nil {
			return nil, err
		}
		text := t.files[n]
		up, down, err := nodePgSections(n, text)
		if err != nil {
			return nil, err
		}
		s, err := parsePair(n, up, "", "")
		if err != nil {
			return nil, err
		}
		if down != "" {
			s.withDown(n, down)
		}
		s.unwrap()
		s.vendor, at[s] = strings.TrimSuffix(n, ".sql"), place
		if err := s.record(r.up, r.down); err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	slices.SortStableFunc(scripts, func(a, b *Script) int { return int(max(-1, min(1, at[a]-at[b]))) })
	for i := 1; i < len(scripts); i++ {
		if at[scripts[i]] == at[scripts[i-1]] {
			return nil, twice(scripts[i].Name, scripts[i-1].Name)
		}
	}
	byPlace(scripts, func(s *Script) string { return s.vendor })
	return scripts, nil
}

// nodePgNumber is the number that a name begins with; 17 digits are a time, which counts in milliseconds.
func nodePgNumber(n string) (int64, error) {
	digits := nodePgPrefix.FindString(n)
	if len(digits) == 17 {
		when, err := time.Parse("20060102150405.000", digits[:14]+"."+digits[14:])
		if err != nil {
			return 0, refused(n, "its number is no time", "name files <number>_<text>.sql")
		}
		return when.UnixMilli(), nil
	}
	v, err := strconv.ParseInt(digits, 10, 53)
	if err != nil {
		return 0, refused(n, "its name has no number that node-pg-migrate understands", "name files <number>_<text>.sql")
	}
	return v, nil
}

// nodePgSections gives each way, as long as the whole text, with what is the other's blanked.
func nodePgSections(n, text string) (up, down string, _ error) {
	u, d := nodePgUp.FindStringIndex(text), nodePgDown.FindStringIndex(text)
	switch {
	case u == nil && d == nil:
		return text, "", nil
	case u == nil:
		return "", "", failure(n, text, d[0]+len(text[d[0]:d[1]])-len(strings.TrimLeft(text[d[0]:d[1]], " \t\r\n")), `there is a way back and no "-- Up Migration": node-pg-migrate would run both`, "put that line before the statements")
	case d == nil:
		return blanked(text[:u[0]]) + text[u[0]:], "", nil
	case u[0] < d[0]:
		return blanked(text[:u[0]]) + text[u[0]:d[0]], blanked(text[:d[0]]) + text[d[0]:], nil
	}
	return blanked(text[:u[0]]) + text[u[0]:], blanked(text[:d[0]]) + text[d[0]:u[0]], nil
}
