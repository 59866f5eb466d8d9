package sqlrewrite

import (
	"fmt"
	"regexp"
	"strings"
)

// DbmateFormat has "-- migrate:up".
const DbmateFormat Format = "dbmate"

// Source: dbmate's pkg/driver/postgres.
func dbmateLayout() *layout {
	l := &layout{name: DbmateFormat, claims: func(t *tree) string {
		return t.annotated(func(line string) bool { _, _, is, err := dbmateMarker(line); return is || err != nil })
	}, records: &Records{Table: "schema_migrations", Create: "CREATE TABLE IF NOT EXISTS schema_migrations (version varchar(128) PRIMARY KEY)",
		Read: "SELECT ARRAY[version] FROM schema_migrations", inPlace: noted,
		up: "INSERT INTO schema_migrations (version) VALUES (%[1]s)", down: "DELETE FROM schema_migrations WHERE version = %[1]s"}}
	l.read = func(t *tree) ([]*Script, error) {
		return vendorFolder(t, l, dbmateMarker, func(_, digits string) string { return digits })
	}
	return l
}

var dbmateLine = regexp.MustCompile(`^\s*--\s*migrate:(\w+)(.*)$`)

func dbmateMarker(line string) (direction string, noTx, is bool, err error) {
	m := dbmateLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
	if m == nil {
		return "", false, false, nil
	}
	if m[1] != "up" && m[1] != "down" {
		return "", false, false, fmt.Errorf("dbmate has no section %q", m[1])
	}
	for _, option := range strings.Fields(m[2]) {
		switch option {
		case "transaction:false":
			noTx = true
		case "transaction:true":
		default:
			return "", false, false, fmt.Errorf("unknown option of dbmate's: %s", option)
		}
	}
	return m[1], noTx, true, nil
}
