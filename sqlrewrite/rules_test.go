package sqlrewrite_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/sqlrewrite"
)

// rule is a rule of a linter for migrations, an example that breaks it, and what becomes of the example here.
type rule struct {
	name, sql string
	verdict   string // "rewrite", "gate" (a hazard must be allowed) or "not" (deliberately: nothing is done)
	why       string // for "not", and where the verdict needs a word
}

const (
	style  = "style: changing it would give a schema that is not the vendor's"
	moment = "a lock for a moment only, under the executor's lock_timeout; nothing that the server in use needs goes"
)

var linters = []struct {
	tool, about string
	rules       []rule
}{
	{"squawk", "A linter for SQL files. It warns; nothing is rewritten.", []rule{
		{"adding-field-with-default", "ALTER TABLE t ADD COLUMN a uuid DEFAULT gen_random_uuid()", "rewrite", "a constant default is free since Postgres 11 and stays"},
		{"adding-foreign-key-constraint", "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id)", "rewrite", ""},
		{"adding-not-nullable-field", "ALTER TABLE t ALTER COLUMN a SET NOT NULL", "rewrite", ""},
		{"adding-required-field", "ALTER TABLE t ADD COLUMN a int NOT NULL", "gate", "`fails-on-rows`: there is no value to fill it with"},
		{"adding-serial-primary-key-field", "ALTER TABLE t ADD COLUMN a serial PRIMARY KEY", "gate", "`rewrites-table`; without PRIMARY KEY a serial is rewritten"},
		{"application-rollback-compatibility", "ALTER TABLE t RENAME COLUMN a TO b", "gate", ""},
		{"ban-add-column", "ALTER TABLE t ADD COLUMN a int", "not", moment + "; for a server that reads with SELECT * there is the step compat-views"},
		{"ban-add-composite-attribute", "ALTER TYPE pair ADD ATTRIBUTE a int", "not", moment},
		{"ban-add-enum-value", "ALTER TYPE mood ADD VALUE 'bad'", "not", moment},
		{"ban-alter-database-options", "ALTER DATABASE d SET work_mem = '1MB'", "gate", ""},
		{"ban-alter-domain-with-add-constraint", "ALTER DOMAIN d ADD CHECK (VALUE > 0)", "gate", ""},
		{"ban-alter-extension", "ALTER EXTENSION e UPDATE", "gate", ""},
		{"ban-alter-function-options", "ALTER FUNCTION f() STABLE", "gate", ""},
		{"ban-alter-generated-expression", "ALTER TABLE t ALTER COLUMN a SET EXPRESSION AS (b + 1)", "gate", ""},
		{"ban-alter-identity", "ALTER TABLE t ALTER COLUMN a SET GENERATED ALWAYS", "gate", ""},
		{"ban-alter-policy-condition", "ALTER POLICY p ON t USING (true)", "gate", ""},
		{"ban-alter-policy-roles", "ALTER POLICY p ON t TO PUBLIC", "gate", ""},
		{"ban-alter-role-options", "ALTER ROLE r NOLOGIN", "gate", ""},
		{"ban-alter-row-level-security", "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "gate", ""},
		{"ban-alter-sequence-values", "ALTER SEQUENCE s RESTART WITH 1", "gate", ""},
		{"ban-alter-system-options", "ALTER SYSTEM SET work_mem = '1MB'", "gate", ""},
		{"ban-alter-view-options", "ALTER VIEW v SET (security_barrier)", "not", moment},
		{"ban-char-field", "CREATE TABLE n (a char(5))", "not", style},
		{"ban-concurrent-index-creation-in-transaction", "CREATE INDEX CONCURRENTLY i ON t (a)", "rewrite", "into a file without a transaction"},
		{"ban-create-domain-with-constraint", "CREATE DOMAIN d AS int CHECK (VALUE > 0)", "not", "nobody uses it yet"},
		{"ban-create-policy", "CREATE POLICY p ON t USING (true)", "not", "a permissive one only shows more rows; AS RESTRICTIVE is a gate"},
		{"ban-detach-inheritance", "ALTER TABLE t NO INHERIT u", "gate", ""},
		{"ban-disable-trigger", "ALTER TABLE t DISABLE TRIGGER ALL", "gate", ""},
		{"ban-drop-column", "ALTER TABLE t DROP COLUMN a", "gate", ""},
		{"ban-drop-constraint", "ALTER TABLE t DROP CONSTRAINT c", "not", moment},
		{"ban-drop-database", "DROP DATABASE d", "gate", ""},
		{"ban-drop-default", "ALTER TABLE t ALTER COLUMN a DROP DEFAULT", "gate", "the server in use may leave the column out"},
		{"ban-drop-domain", "DROP DOMAIN d", "gate", ""},
		{"ban-drop-extension", "DROP EXTENSION e", "gate", ""},
		{"ban-drop-function", "DROP FUNCTION f()", "gate", ""},
		{"ban-drop-generated-expression", "ALTER TABLE t ALTER COLUMN a DROP EXPRESSION", "gate", ""},
		{"ban-drop-index", "DROP INDEX i", "rewrite", "concurrently; whether the server in use needs the index, only its queries tell"},
		{"ban-drop-not-null", "ALTER TABLE t ALTER COLUMN a DROP NOT NULL", "not", moment},
		{"ban-drop-policy", "DROP POLICY p ON t", "gate", ""},
		{"ban-drop-schema", "DROP SCHEMA s", "gate", ""},
		{"ban-drop-sequence", "DROP SEQUENCE s", "gate", ""},
		{"ban-drop-table", "DROP TABLE t", "gate", ""},
		{"ban-drop-trigger", "DROP TRIGGER g ON t", "gate", ""},
		{"ban-drop-type", "DROP TYPE mood", "gate", ""},
		{"ban-drop-view", "DROP VIEW v", "gate", ""},
		{"ban-duplicate-column-assignments", "UPDATE t SET a = 1, b = 2 WHERE id = 1", "not", "Postgres refuses a column that is assigned twice"},
		{"ban-new-write-restriction", "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID", "not", "that the vendor wants it is taken for granted; preflight counts the rows that it would refuse"},
		{"ban-replace-view-function", "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "gate", ""},
		{"ban-replica-identity", "ALTER TABLE t REPLICA IDENTITY FULL", "not", moment},
		{"ban-revoke", "REVOKE SELECT ON t FROM r", "gate", ""},
		{"ban-set-default", "ALTER TABLE t ALTER COLUMN a SET DEFAULT 1", "not", moment},
		{"ban-set-schema", "ALTER TABLE t SET SCHEMA s", "gate", ""},
		{"ban-truncate-cascade", "TRUNCATE t CASCADE", "gate", ""},
		{"ban-uncommitted-transaction", "BEGIN; CREATE INDEX i ON t (a)", "gate", "`not-split`; BEGIN and COMMIT around a whole file are taken off"},
		{"changing-column-type", "ALTER TABLE t ALTER COLUMN a TYPE bigint", "gate", "what only changes the catalog passes, where the folder says which type the column has; allow column-order, and a second column takes its place"},
		{"constraint-missing-not-valid", "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", "rewrite", ""},
		{"disallowed-unique-constraint", "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)", "rewrite", ""},
		{"identifier-too-long", "CREATE TABLE n (a int)", "not", "Postgres cuts it off for original and rewritten alike"},
		{"prefer-big-int, prefer-bigint-over-int, prefer-bigint-over-smallint", "CREATE TABLE n (a int, b smallint)", "not", style},
		{"prefer-identity", "CREATE TABLE n (a serial)", "not", style},
		{"prefer-repack", "VACUUM FULL t", "gate", ""},
		{"prefer-robust-stmts", "CREATE TABLE n (a int)", "not", "a file is a transaction, or noted step by step; IF NOT EXISTS would hide a table of another shape"},
		{"prefer-text-field", "CREATE TABLE n (a varchar(5))", "not", style},
		{"prefer-timestamptz", "CREATE TABLE n (a timestamp)", "not", style},
		{"renaming-column", "ALTER TABLE t RENAME COLUMN a TO b", "gate", ""},
		{"renaming-object", "ALTER FUNCTION f() RENAME TO g", "gate", ""},
		{"renaming-table", "ALTER TABLE t RENAME TO n", "gate", ""},
		{"require-concurrent-index-creation", "CREATE INDEX i ON t (a)", "rewrite", ""},
		{"require-concurrent-index-deletion", "DROP INDEX i", "rewrite", ""},
		{"require-concurrent-partition-detach", "ALTER TABLE t DETACH PARTITION p", "rewrite", ""},
		{"require-concurrent-reindex", "REINDEX TABLE t", "rewrite", ""},
		{"require-enum-value-ordering", "ALTER TYPE mood ADD VALUE 'bad'", "not", style},
		{"require-table-schema", "CREATE TABLE n (a int)", "not", "the executor sets search_path to the profile's schema"},
		{"require-timeout-settings, require-lock-timeout, require-statement-timeout", "ALTER TABLE t ADD COLUMN a int", "not", "the executor sets them for each step"},
		{"transaction-nesting", "BEGIN; ALTER TABLE t ADD CHECK (a > 0); COMMIT", "gate", "`not-split`; BEGIN and COMMIT around a whole plain file are taken off"},
	}},
	{"strong_migrations", "Checks of Rails migrations, in Rails' own language.", []rule{
		{"removing a column", "ALTER TABLE t DROP COLUMN a", "gate", ""},
		{"changing the type of a column", "ALTER TABLE t ALTER COLUMN a TYPE bigint", "gate", ""},
		{"renaming a column", "ALTER TABLE t RENAME COLUMN a TO b", "gate", ""},
		{"renaming a table", "ALTER TABLE t RENAME TO n", "gate", ""},
		{"renaming a schema", "ALTER SCHEMA s RENAME TO n", "gate", ""},
		{"creating a table with the force option", "DROP TABLE IF EXISTS t; CREATE TABLE t (a int)", "gate", ""},
		{"adding an auto-incrementing column", "ALTER TABLE t ADD COLUMN a serial", "rewrite", "an identity column is a gate: it must be numbered in one go"},
		{"adding a stored generated column", "ALTER TABLE t ADD COLUMN a int GENERATED ALWAYS AS (b + 1) STORED", "gate", ""},
		{"adding a check constraint", "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", "rewrite", ""},
		{"executing SQL directly", "DO $$ BEGIN PERFORM 1; END $$", "gate", "`opaque`"},
		{"backfilling data", "UPDATE t SET a = 1", "rewrite", ""},
		{"adding a column with a default value", "ALTER TABLE t ADD COLUMN a timestamptz DEFAULT clock_timestamp()", "rewrite", ""},
		{"using change_column_null with a default value", "UPDATE t SET a = 1 WHERE a IS NULL; ALTER TABLE t ALTER COLUMN a SET NOT NULL", "rewrite", ""},
		{"adding an index non-concurrently", "CREATE INDEX i ON t (a)", "rewrite", ""},
		{"removing an index non-concurrently", "DROP INDEX i", "rewrite", ""},
		{"adding a reference", "ALTER TABLE t ADD COLUMN a int REFERENCES u (id); CREATE INDEX i ON t (a)", "rewrite", ""},
		{"adding a foreign key", "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id)", "rewrite", ""},
		{"adding a unique constraint", "ALTER TABLE t ADD UNIQUE (a)", "rewrite", ""},
		{"adding an exclusion constraint", "ALTER TABLE t ADD EXCLUDE USING gist (a WITH =)", "gate", "Postgres has no way to add one without reading behind the lock"},
		{"adding a json column", "ALTER TABLE t ADD COLUMN a json", "not", "the server in use doesn't know the column; SELECT DISTINCT * of it would fail, as behind any linter"},
		{"setting NOT NULL on an existing column", "ALTER TABLE t ALTER COLUMN a SET NOT NULL", "rewrite", ""},
		{"keeping non-unique indexes to three columns or less", "CREATE INDEX CONCURRENTLY i ON t (a, b, c, d)", "rewrite", "the columns stay the vendor's"},
	}},
	{"eugene", "A linter and tracer for SQL files.", []rule{
		{"E1 validating table with a new constraint", "ALTER TABLE t ADD CHECK (a > 0)", "rewrite", ""},
		{"E2 validating table with a new NOT NULL column", "ALTER TABLE t ALTER COLUMN a SET NOT NULL", "rewrite", ""},
		{"E3 add a new JSON column", "ALTER TABLE t ADD COLUMN a json", "not", style},
		{"E4 running more statements after taking AccessExclusiveLock", "ALTER TABLE t ADD COLUMN a int; CREATE INDEX i ON t (b)", "rewrite", "into one file each"},
		{"E5 type change requiring table rewrite", "ALTER TABLE t ALTER COLUMN a TYPE bigint", "gate", ""},
		{"E6 creating a new index on an existing table", "CREATE INDEX i ON t (a)", "rewrite", ""},
		{"E7 creating a new unique constraint", "ALTER TABLE t ADD UNIQUE (a)", "rewrite", ""},
		{"E8 creating a new exclusion constraint", "ALTER TABLE t ADD EXCLUDE USING gist (a WITH =)", "gate", ""},
		{"E9 taking dangerous lock without timeout", "ALTER TABLE t ADD COLUMN a int", "not", "the executor sets lock_timeout for each step, and tries again"},
		{"E10 rewrote table or index while holding dangerous lock", "ALTER TABLE t ALTER COLUMN a TYPE bigint", "gate", ""},
		{"E11 adding a SERIAL or GENERATED … STORED column", "ALTER TABLE t ADD COLUMN a serial", "rewrite", "GENERATED … STORED is a gate"},
		{"W12 multiple ALTER TABLE statements where one will do", "ALTER TABLE t ADD COLUMN a int; ALTER TABLE t ADD COLUMN b int", "not", "they stand in one transaction, under one lock, already"},
		{"W13 creating an enum", "CREATE TYPE mood AS ENUM ('good')", "not", style},
		{"W14 adding a primary key using an index", "ALTER TABLE t ADD PRIMARY KEY (a)", "rewrite", "with NOT NULL proved first"},
		{"E15 missing index (foreign key)", "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id); CREATE INDEX i ON t (a)", "rewrite",
			"the script's own index goes first; one that it doesn't make is noted by lint, not made: the schema would not be the vendor's"},
	}},
}

// TestRules: each example has the verdict that docs/sqlrules.md gives it, and the page is written from this list.
func TestRules(t *testing.T) {
	t.Parallel()
	words := map[string]string{"rewrite": "rewritten", "gate": "gate", "not": "deliberately not"}
	var page strings.Builder
	page.WriteString(`# The rules of others

What squawk, strong_migrations and eugene warn of, and what becomes of it here. **Rewritten**: tideover sql rewrite, and
migrate with target: live, take it away. **Gate**: it stays as it is, and runs only if a person allows it by its hazard's name
([sqlrewrite.md](sqlrewrite.md)). **Deliberately not**: nothing is done, for the reason given. Every example is tried by a test,
with t, u, v in use. Write this page anew with: go test ./sqlrewrite -run TestRules -update
`)
	for _, l := range linters {
		fmt.Fprintf(&page, "\n## %s\n\n%s\n\n| rule | example | verdict | |\n|---|---|---|---|\n", l.tool, l.about)
		for _, c := range l.rules {
			s, err := sqlrewrite.Parse("1_a.sql", c.sql)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			r, err := sqlrewrite.Live(s)
			if err != nil {
				t.Fatal(err)
			}
			got := "not"
			names := map[string]bool{}
			var hazards []string
			for _, h := range r.Hazards {
				if got = "gate"; !names[h.Name] {
					names[h.Name] = true
					hazards = append(hazards, "`"+h.Name+"`")
				}
			}
			if got == "not" && r.Changed {
				got = "rewrite"
			}
			if got != c.verdict {
				t.Errorf("%s, %s: %s: %s %v, want %s", l.tool, c.name, c.sql, got, hazards, c.verdict)
			}
			why := c.why
			if got == "gate" && !strings.Contains(why, "`") {
				why = strings.TrimSuffix(strings.Join(hazards, ", ")+"; "+why, "; ")
			}
			fmt.Fprintf(&page, "| %s | `%s` | %s | %s |\n", c.name, strings.ReplaceAll(c.sql, "|", `\|`), words[c.verdict], why)
		}
	}
	const path = "../docs/sqlrules.md"
	if *update {
		if err := os.WriteFile(path, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(read(t, path), page.String()); diff != "" {
		t.Errorf("want -, got + (-update writes it):\n%s", diff)
	}
}
