package sqlrewrite_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"github.com/tideover/tideover/sqlrewrite"
)

func TestParseErrors(t *testing.T) {
	t.Parallel()
	const up = "-- +goose Up\n"
	for _, c := range []struct {
		name, sql, want string
		hint            bool
	}{
		{"syntax", up + "SELECT 1;\n  CREATE TABEL a ();\n", `f.sql:3:10: syntax error at or near "TABEL"`, false},
		{"syntax behind other letters", up + "SELECT 'äöü', FORM;\nSELECT 'ä' 'ö';", `f.sql:3:12: syntax error at or near "'ö'"`, false},
		{"unfinished", up + "SELECT 'a", `f.sql:2:8: unterminated quoted string at or near "'a"`, false},
		{"meta-command", "SELECT 1;\n\\set ON_ERROR_STOP on\n", `f.sql:2:1: psql's \set is not SQL`, true},
		{"nul", up + "SELECT 1;\x00DROP TABLE a;", "f.sql:2:10: a NUL byte is not SQL", true},
		{"not utf-8", up + "SELECT '\xff';", "f.sql:2:9: not UTF-8", true},
		{"two ups", up + up, "f.sql:2:1: a second -- +goose Up", true},
		{"down first", "-- +goose Down\n", "f.sql:1:1: -- +goose Down has no place here", true},
		{"no up", "-- +goose NO TRANSACTION\nSELECT 1;\n", "f.sql:1:1: there is no -- +goose Up", true},
		{"sql before up", "SELECT 1;\n" + up, "f.sql:1:1: SQL before -- +goose Up", true},
		{"open block", up + "-- +goose StatementBegin\nSELECT 1;\n", "StatementEnd is missing", true},
		{"end without begin", up + "-- +goose StatementEnd\n", "f.sql:2:1: -- +goose StatementEnd without StatementBegin", true},
		{"begin before up", "-- +goose StatementBegin\n", "has no place here", true},
		{"annotation", up + "-- +goose Sideways\n", "f.sql:2:1: unknown annotation: -- +goose Sideways", true},
		{"envsub", "-- +goose ENVSUB ON\n" + up, "f.sql:1:1: ENVSUB", true},
		{"syntax in down", up + "SELECT 1;\n-- +goose Down\nDORP TABLE a;\n", `f.sql:4:1: syntax error at or near "DORP"`, false},
		{"deep", "SELECT " + strings.Repeat("(", 200000) + "1", "f.sql", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := sqlrewrite.Parse("f.sql", c.sql)
			var e *sqlrewrite.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || (e.Hint() != "") != c.hint {
				t.Errorf("got %v (%+v), want %s", err, e, c.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := sqlrewrite.Parse("f.sql", "-- head\r\n-- +goose Up\r\n/* c */ SELECT 1; -- tail;\r\n-- +goose StatementBegin\r\n"+
		"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$;\r\n-- +goose StatementEnd\r\n\r\n-- +goose Down\r\nDROP FUNCTION f;")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Up) != 2 || len(s.Down) != 1 || !s.Goose || s.NoTransaction {
		t.Fatalf("%+v", s)
	}
	if st := s.Up[0]; st.SQL != "SELECT 1" || st.Line != 3 || st.Column != 9 {
		t.Errorf("%+v", st)
	}
	if st := s.Up[1]; st.Line != 5 || !strings.HasPrefix(st.SQL, "CREATE FUNCTION") {
		t.Errorf("%+v", st)
	}
	if st := s.Down[0]; st.Line != 9 {
		t.Errorf("%+v", st)
	}
	for _, empty := range []string{"", ";;;", "-- only this", "-- +goose Up\n", "-- +goose Up\n-- +goose Down\n"} {
		s, err := sqlrewrite.Parse("f.sql", empty)
		if err != nil || len(s.Up) != 0 {
			t.Errorf("%q: %v", empty, err)
		}
		if r, err := sqlrewrite.Live(s); err != nil || r.Changed || r.Files[0].SQL != empty {
			t.Errorf("%q: %+v, %v", empty, r, err)
		}
	}
}

// TestAnalyze holds what the lock levels alone don't say. The table t is in use.
func TestAnalyze(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql           string
		scan, rewrite bool
		hazards       string
	}{
		{"ALTER TABLE t ADD COLUMN a int DEFAULT -1", false, false, ""},
		{"ALTER TABLE t ADD COLUMN a timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP", false, false, ""},
		{"ALTER TABLE t ADD COLUMN a timestamptz DEFAULT clock_timestamp()", false, true, "rewrites-table"},
		{"ALTER TABLE t ADD COLUMN a uuid DEFAULT own.now()", false, true, "rewrites-table"},
		{"ALTER TABLE t ADD COLUMN a int NOT NULL", true, false, "blocks-reads fails-on-rows needs-value"},
		{"ALTER TABLE t ADD COLUMN a int NOT NULL DEFAULT NULL", true, false, "blocks-reads fails-on-rows needs-value"},
		{"ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u NOT VALID", false, false, ""},
		{"ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i", false, false, ""},
		{"ALTER TABLE t VALIDATE CONSTRAINT c", true, false, ""},
		{"CREATE INDEX CONCURRENTLY i ON t (a)", true, false, ""},
		{"DELETE FROM t WHERE id IN (1, 2) AND a > 3", false, false, ""},
		{"DELETE FROM t WHERE id IN (1, a)", true, false, "writes-whole-table"},
		{"UPDATE t SET a = 1 WHERE id = 1 OR true", true, false, "writes-whole-table"},
		{"UPDATE t SET a = u.a FROM u WHERE u.id = t.id", true, false, "moves-data writes-whole-table"},
		{"INSERT INTO t VALUES (1)", false, false, ""},
		{"SELECT pg_catalog.setval('s', 1)", false, false, "opaque"},
		{"CREATE TEMP TABLE x AS SELECT 1; CREATE INDEX ON x (a)", false, false, ""},
		{"CREATE TABLE IF NOT EXISTS x (a int); CREATE INDEX ON x (a)", true, false, "blocks-writes"},
		{"CREATE TABLE x (a int); DROP TABLE x; CREATE INDEX ON x (a)", true, false, "blocks-writes"},
		{"CREATE TABLE x (a int); ALTER TABLE x RENAME TO y; CREATE INDEX ON y (a)", false, false, ""},
		{"CREATE TABLE x (a int); CREATE INDEX i ON x (a); DROP INDEX i", false, false, ""},
		{"ALTER SYSTEM SET work_mem = 1", false, false, "unknown"},
		{"DROP SCHEMA s CASCADE", false, false, "breaks-old-server loses-data"},
	} {
		s, err := sqlrewrite.Parse("f.sql", c.sql)
		if err != nil {
			t.Fatal(err)
		}
		a := sqlrewrite.Analyze(s.Up[len(s.Up)-1])
		var names []string
		for _, h := range a.Hazards {
			names = append(names, h.Name)
		}
		if got := strings.Join(names, " "); a.Scan != c.scan || a.Rewrite != c.rewrite || got != c.hazards {
			t.Errorf("%s: scan %t, rewrite %t, hazards %q", c.sql, a.Scan, a.Rewrite, got)
		}
	}
}

func FuzzRewrite(f *testing.F) {
	for _, sql := range []string{"", "-- +goose Up\nCREATE INDEX ON a (b);\n-- +goose Down\nDROP INDEX a_b_idx;",
		"-- +goose NO TRANSACTION\n-- +goose Up\nALTER TABLE a ADD UNIQUE (b), ALTER c SET NOT NULL, ADD CHECK (d > 0), ADD COLUMN e int REFERENCES f;",
		"-- +goose Up\n-- +goose StatementBegin\nDO $$ BEGIN END $$; SELECT 1;\n-- +goose StatementEnd", "\\set", "DROP INDEX a.b, c",
		"CREATE TABLE a (b int); CREATE INDEX ON a (b); UPDATE a SET b = 1; UPDATE c SET d = (SELECT 1);", "ALTER TABLE a ADD PRIMARY KEY (b, c)",
		"TRUNCATE a; DROP VIEW b; CREATE VIEW b AS SELECT 1; VACUUM FULL a; CLUSTER; REINDEX TABLE a; LOCK a; COPY a FROM 'b'",
		"ALTER TABLE a ALTER b TYPE c USING d + a.b", "CREATE TABLE a (b int PRIMARY KEY); INSERT INTO a (b) SELECT c FROM d; ALTER TABLE d DROP c, DROP e",
		"CREATE RULE a AS ON INSERT TO b DO NOTHING; COMMENT ON COLUMN a.b IS 'c'; DROP TRIGGER a ON b; ALTER INDEX a RENAME TO b"} {
		f.Add(sql)
	}
	paths, err := filepath.Glob("testdata/corpus/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files[:max(len(a.Files)-1, 1)] { // the last one lists hazards
			f.Add(string(file.Data))
		}
	}
	f.Fuzz(func(t *testing.T, sql string) {
		s, err := sqlrewrite.Parse("1_f.sql", sql)
		if err != nil {
			return
		}
		for _, st := range s.Up {
			sqlrewrite.Analyze(st)
			sqlrewrite.Shape(st.SQL)
		}
		if _, err := sqlrewrite.Lint([]*sqlrewrite.Script{s}, nil); err != nil {
			t.Fatalf("%q: %v", sql, err)
		}
		for _, allowed := range [][]string{nil, {sqlrewrite.ColumnOrder}} {
			r, err := sqlrewrite.LiveWith(s, sqlrewrite.Given{Allowed: allowed})
			if err != nil {
				t.Fatalf("%q: %v", sql, err)
			}
			again(t, r)
			for _, file := range r.Files {
				if _, err := file.Steps(); err != nil {
					t.Fatalf("%q: %v", sql, err)
				}
			}
		}
		if source, err := sqlrewrite.ReadFolder(fstest.MapFS{"1_a.sql": {Data: []byte(sql)}}, sqlrewrite.PlainFormat); err == nil {
			if r, err := sqlrewrite.Live(source.Scripts[0]); err != nil {
				t.Fatalf("%q: %v", sql, err)
			} else {
				again(t, r)
			}
		}
	})
}
