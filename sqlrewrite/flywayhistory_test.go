package sqlrewrite

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// What Flyway's table says of its files: rows are version, description, type, script, checksum and success.
func TestFlywayHistory(t *testing.T) {
	t.Parallel()
	m, err := ReadFolder(fstest.MapFS{
		"V1__one.sql": {Data: []byte("CREATE TABLE one ();")}, "V2__two.sql": {Data: []byte("CREATE TABLE two ();")}, "V3__three.sql": {Data: []byte("CREATE TABLE three ();")},
		"R__view.sql": {Data: []byte("CREATE OR REPLACE VIEW v AS SELECT 1;")},
	}, FlywayFormat)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for _, s := range m.Scripts {
		sums[s.Name] = s.sum
	}
	row := func(version, title, kind, script string) []string {
		return []string{version, title, kind, script, sums[script], "true"}
	}
	one, two := row("1", "one", "SQL", "V1__one.sql"), row("2", "two", "SQL", "V2__two.sql")
	view := row("", "view", "SQL", "R__view.sql")
	changed := []string{"", "view", "SQL", "R__view.sql", "1", "true"}
	for _, tc := range []struct {
		name string
		rows [][]string
		want string // the files that are in place, or the error
	}{
		{"nothing", nil, ""},
		{"the first", [][]string{one}, "V1__one.sql"},
		{"a repeatable file", [][]string{one, view}, "V1__one.sql R__view.sql"},
		{"a repeatable file that has changed runs again", [][]string{one, changed}, "V1__one.sql"},
		{"a repeatable file that has run again since", [][]string{one, changed, view}, "V1__one.sql R__view.sql"},
		{"a repeatable file that is back at what it was before", [][]string{one, view, changed}, "V1__one.sql"},
		{"a baseline", [][]string{row("2", "<< Flyway Baseline >>", "BASELINE", "<< Flyway Baseline >>")}, "V1__one.sql V2__two.sql"},
		{"a schema that Flyway has made", [][]string{row("", "<< Flyway Schema Creation >>", "SCHEMA", `"public"`), one}, "V1__one.sql"},
		{"a file that repair has marked as deleted", [][]string{one, row("1.5", "gone", "SQL", "V1.5__gone.sql"), row("1.5", "gone", "DELETE", "V1.5__gone.sql")}, "V1__one.sql"},
		{"a file of a later release", [][]string{one, two, row("3", "three", "SQL", "V3__three.sql"), row("9", "nine", "SQL", "V9__nine.sql")}, "V1__one.sql V2__two.sql V3__three.sql"},
		{"a file that is missing", [][]string{one, row("1.5", "gone", "SQL", "V1.5__gone.sql")}, "it has V1.5__gone.sql, which is not among the files"},
		{"a file that came late", [][]string{two}, "it was never applied"},
		{"half done", [][]string{{"1", "one", "SQL", "V1__one.sql", sums["V1__one.sql"], "false"}}, "left half done"},
		{"changed since", [][]string{{"1", "one", "SQL", "V1__one.sql", "7", "true"}}, "it has changed since it ran"},
		{"in another language", [][]string{row("1", "one", "JDBC", "V1__one")}, "of type JDBC"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			done, err := flywayInPlace(tc.rows, m.Scripts)
			var names []string
			for _, s := range done {
				names = append(names, s.Name)
			}
			got := strings.Join(names, " ")
			if err != nil {
				if got = err.Error(); tc.want != "" && strings.Contains(got, tc.want) {
					got = tc.want
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
