package sqlrewrite_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/sqlrewrite"
)

const bulkSQL = `ALTER TABLE t ADD COLUMN c int;
UPDATE t SET c = 1;
UPDATE t SET a = 'x' WHERE a = 'y';
UPDATE t SET b = a || 'z';
CREATE INDEX i ON t (a);
ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (c) REFERENCES u (id);
DROP INDEX i;`

func bulkCommands(t testing.TB, sql string, c sqlrewrite.Catalog) (commands []string) {
	t.Helper()
	s, err := sqlrewrite.Parse("a.sql", sql)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range sqlrewrite.Bulk([]*sqlrewrite.Script{s}, c) {
		for _, c := range task.Commands {
			commands = append(commands, c.SQL)
		}
	}
	return commands
}

func known(watched bool) sqlrewrite.Catalog {
	return sqlrewrite.Catalog{Schema: "public", Watched: watched, Tables: map[string]sqlrewrite.Table{
		"t": {Plain: true, Types: map[string]string{"a": "text", "b": "text"}}, "u": {Plain: true, Types: map[string]string{"id": "int4"}}}}
}

// TestBulkLeavesWhatItDoesNotKnow: a table that nothing is known of, or an event trigger, leaves every statement as written.
func TestBulkLeavesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	written := strings.Split(strings.TrimSuffix(bulkSQL, ";"), ";\n")
	for name, c := range map[string]sqlrewrite.Catalog{"nothing known": {Schema: "public"}, "watched": known(true)} {
		if d := cmp.Diff(written, bulkCommands(t, bulkSQL, c)); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
	if got := bulkCommands(t, bulkSQL, known(false)); len(got) != 4 {
		t.Errorf("%d commands of a known table, want the filled column, one update, the key and its validation: %q", len(got), got)
	}
}

// FuzzBulk: whatever the SQL is, arranging it doesn't panic, and gives SQL.
func FuzzBulk(f *testing.F) {
	for _, sql := range []string{bulkSQL, "CREATE TABLE x (LIKE t); DROP TABLE x CASCADE; ALTER TABLE t RENAME TO y; UPDATE y SET a = b, b = a; UPDATE y SET (a, b) = (SELECT 'p', 'q');",
		"UPDATE t AS z SET a = z.b WHERE z.* IS NULL; UPDATE ONLY t SET a = DEFAULT; UPDATE t SET b = (SELECT a FROM u LIMIT 1); INSERT INTO t SELECT * FROM u; ALTER INDEX i RENAME TO j; CREATE INDEX ON t ((a || b))"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if _, err := sqlrewrite.Parse("a.sql", sql); err != nil {
			return // no SQL, which Parse has its own tests for
		}
		for _, c := range bulkCommands(t, sql, known(false)) {
			if _, err := sqlrewrite.Parse("b.sql", c); err != nil {
				t.Errorf("%s: %v", c, err)
			}
		}
	})
}
