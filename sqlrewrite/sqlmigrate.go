package sqlrewrite

import (
	"fmt"
	"regexp"
	"strings"
)

// SQLMigrateFormat has "-- +migrate Up".
const SQLMigrateFormat Format = "sql-migrate"

// Source: sql-migrate's migrate.go: an id is a file's name.
func sqlMigrateLayout() *layout {
	l := &layout{name: SQLMigrateFormat, claims: func(t *tree) string {
		return t.annotated(func(line string) bool { _, _, is, err := sqlMigrateMarker(line); return is || err != nil })
	}, records: &Records{Table: "gorp_migrations", Create: "CREATE TABLE IF NOT EXISTS gorp_migrations (id text NOT NULL PRIMARY KEY, applied_at timestamp with time zone)",
		Read: "SELECT ARRAY[id] FROM gorp_migrations", inPlace: noted,
		up: "INSERT INTO gorp_migrations (id, applied_at) VALUES (%[1]s, now())", down: "DELETE FROM gorp_migrations WHERE id = %[1]s"}}
	l.read = func(t *tree) ([]*Script, error) {
		return vendorFolder(t, l, sqlMigrateMarker, func(name, _ string) string { return name })
	}
	return l
}

var sqlMigrateLine = regexp.MustCompile(`^\s*--\s*\+migrate\s+(\w+)(.*)$`)

func sqlMigrateMarker(line string) (direction string, noTx, is bool, err error) {
	m := sqlMigrateLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
	if m == nil {
		return "", false, false, nil
	}
	switch m[1] {
	case "StatementBegin", "StatementEnd":
		return "", false, true, nil
	case "Up", "Down":
	default:
		return "", false, false, fmt.Errorf("sql-migrate has no annotation %q", m[1])
	}
	for _, option := range strings.Fields(m[2]) {
		if option != "notransaction" {
			return "", false, false, fmt.Errorf("unknown option of sql-migrate's: %s", option)
		}
		noTx = true
	}
	return strings.ToLower(m[1]), noTx, true, nil
}
