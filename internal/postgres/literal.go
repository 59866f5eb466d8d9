package postgres

import "strings"

// Literal is s as a SQL string, for statements that take no parameters. The backslash form is right whatever
// standard_conforming_strings says (Postgres manual 4.1.2.2); the space keeps its E apart from a name before it.
func Literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
