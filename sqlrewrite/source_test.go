package sqlrewrite_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tideover/tideover/sqlrewrite"
)

func inFolder(pairs ...string) fs.FS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

// TestReadFolder: which files, in which order, under which names.
func TestReadFolder(t *testing.T) {
	t.Parallel()
	const up = "-- +goose Up\n"
	for _, c := range []struct {
		name   string
		files  []string
		format sqlrewrite.Format
		want   string
	}{
		{"goose", []string{"10_b.sql", up + "SELECT 2;", "9_a.sql", up + "SELECT 1;", "read.me", "x"}, sqlrewrite.GooseFormat, "9_a.sql 10_b.sql"},
		{"plain, by number", []string{"10_b.sql", "SELECT 2;", "9_a.sql", "SELECT 1;"}, sqlrewrite.PlainFormat, "9_a.sql 10_b.sql"},
		{"plain, by name", []string{"b.sql", "SELECT 2;", "a.sql", "SELECT 1;"}, sqlrewrite.PlainFormat, "a.sql b.sql"},
		{"plain, pairs", []string{"1_a.up.sql", "SELECT 1;", "1_a.down.sql", "SELECT 2;"}, sqlrewrite.PlainFormat, "1_a.sql"},
		{"dbmate", []string{"20260102_b.sql", "-- migrate:up transaction:false\nSELECT 2;\n-- migrate:down\nSELECT 3;\n", "20260101_a.sql", "-- a\n-- migrate:up\nSELECT 1;\n"},
			sqlrewrite.DbmateFormat, "20260101_a.sql 20260102_b.sql"},
		{"sql-migrate", []string{"2-b.sql", "-- +migrate Up notransaction\nSELECT 2;\n-- +migrate Down\nSELECT 3;\n", "1-a.sql",
			"-- +migrate Up\n-- +migrate StatementBegin\nSELECT 1;\n-- +migrate StatementEnd\n"}, sqlrewrite.SQLMigrateFormat, "1_a.sql 2_b.sql"},
		{"pop", []string{"20200101000000000002_b.up.sql", "SELECT 2", "20200101000000000001_a.postgres.up.sql", "SELECT 1;", "20200101000000000001_a.up.sql", "other",
			"20200101000000000001_a.sqlite3.up.sql", "nonsense", "20200101000000000001_a.down.sql", "SELECT 3;", "20200101000000_old.cockroach.up.sql", "nonsense",
			"20200101000000_old.autocommit.up.sql", "-- nothing"}, sqlrewrite.PopFormat,
			"00001_schema_migration.sql 00002_old.sql 00003_a.sql 00004_b.sql"},
		{"pop, with another tool's line left behind", []string{"20200101000000000001_a.up.sql", "-- +migrate Up\nSELECT 1;\n", "20200101000000000002_b.up.sql", "SELECT 2;"},
			sqlrewrite.PopFormat, "00001_schema_migration.sql 00002_a.sql 00003_b.sql"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := sqlrewrite.ReadFolder(inFolder(c.files...), "")
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, script := range s.Scripts {
				names = append(names, script.Target())
				for _, turn := range []func(*sqlrewrite.Script) (sqlrewrite.Rewritten, error){sqlrewrite.Offline, sqlrewrite.Live} {
					r, err := turn(script)
					if err != nil {
						t.Fatal(err)
					}
					for _, f := range r.Files {
						again, err := sqlrewrite.Parse(f.Name, f.SQL)
						if err != nil || !again.Goose {
							t.Errorf("%s is no goose file: %v\n%s", f.Name, err, f.SQL)
						}
						if script.Vendor() != "" && f.Part == f.Parts && !strings.Contains(f.SQL, "VALUES ('"+script.Vendor()+"'") {
							t.Errorf("%s does not record %s", f.Name, script.Vendor())
						}
					}
				}
			}
			if got := strings.Join(names, " "); got != c.want || s.Format != c.format {
				t.Errorf("%s: %s, want %s", s.Format, got, c.want)
			}
		})
	}
}

// TestReadFolderErrors: each names the file, and the place in it.
func TestReadFolderErrors(t *testing.T) {
	t.Parallel()
	const v = "20200101000000000001_a"
	for _, c := range []struct {
		name, file, text string
		format           sqlrewrite.Format
		want             string
	}{
		{"bad SQL", "1_a.sql", "SELECT 1;\nCREATE TABEL a ();", "", `1_a.sql:2:8: syntax error at or near "TABEL"`},
		{"another encoding", "1_a.sql", "SELECT 1;\n-- caf\xe9\n", "", "1_a.sql:2:7: not UTF-8"},
		{"UTF-16", "1_a.sql", "\xff\xfeS\x00E\x00", "", "1_a.sql:1:1: UTF-16, not UTF-8"},
		{"meta-command", "1_a.sql", "SELECT 1;\n  \\connect other\n", "", `1_a.sql:2:3: psql's \connect is not SQL`},
		{"dialect", v + ".oracle.up.sql", "SELECT 1;", "", v + `.oracle.up.sql:1:1: unknown dialect "oracle"`},
		{"dialect before autocommit", v + ".db2.autocommit.up.sql", "SELECT 1;", "", `unknown dialect "db2"`},
		{"no pop name", "a.sql", "SELECT 1;", sqlrewrite.PopFormat, "a.sql:1:1: its name is not pop's"},
		{"fizz", v + ".up.fizz", "create_table", "", v + ".up.fizz:1:1: fizz is a language"},
		{"template", v + ".up.sql", "SELECT 1;\nSELECT {{ .x }};", "", v + ".up.sql:2:8: it is a template"},
		{"goose in pop", v + ".postgres.up.sql", "-- +goose Up\nSELECT 1;", sqlrewrite.PopFormat, "annotations"},
		{"not annotated", "1_a.sql", "SELECT 1;", sqlrewrite.GooseFormat, `1_a.sql:1:1: there is no "-- +goose Up"`},
		{"no version", "a.sql", "-- +goose Up\nSELECT 1;", "", "a.sql:1:1: its name has no version"},
		{"nothing", "read.me", "", "", "the folder has no .sql file"},
		{"Prisma", "20260101_a/migration.sql", "SELECT 1;", "", "is Prisma's or Drizzle's"},
		{"diesel", "20260101_a/up.sql", "SELECT 1;", "", "is diesel's or Hasura's"},
		{"dbmate as plain", "1_a.sql", "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;", sqlrewrite.PlainFormat, "1_a.sql:1:1: it is dbmate's"},
		{"sql-migrate as plain", "1_a.sql", "-- a\n-- +migrate Up\nSELECT 1;\n", sqlrewrite.PlainFormat, "1_a.sql:2:1: it is sql-migrate's"},
		{"tern as plain", "001_a.sql", "SELECT 1;\n---- create above / drop below ----\nSELECT 2;", sqlrewrite.PlainFormat, "001_a.sql:2:1: it is tern's"},
		{"MyBatis", "1_a.sql", "SELECT 1;\n-- //@UNDO\nSELECT 2;", "", "1_a.sql:2:1: it is MyBatis Migrations'"},
		{"Liquibase", "1_a.sql", "--liquibase formatted sql\n--changeset a:1\nSELECT 1;\n--rollback SELECT 2;", sqlrewrite.PlainFormat, "1_a.sql:1:1: it is Liquibase's"},
		{"node-pg-migrate as plain", "1_a.sql", "-- Up Migration\nSELECT 1;\n-- Down Migration\nSELECT 2;", sqlrewrite.PlainFormat, "1_a.sql:3:1: this line looks as if what takes the migration back"},
		{"a way back below", "1_a.sql", "SELECT 1;\n  -- ==== ROLLBACK ====\nSELECT 2;", "", "1_a.sql:2:3: this line looks"},
		{"Flyway's placeholder", "V1__a.sql", "CREATE TABLE a (b text DEFAULT '${owner}');", "", "V1__a.sql:1:33: no value is given for"},
		{"Flyway's dotted version", "V1.2__a.sql", "SELECT 1;", sqlrewrite.PlainFormat, "V1.2__a.sql:1:1: whether its version is 1"},
		{"Flyway's undo", "U1__a.sql", "SELECT 1;", sqlrewrite.PlainFormat, "U1__a.sql: its name says that it takes a migration back"},
		{"Flyway's repeatable", "R__a.sql", "SELECT 1;", sqlrewrite.PlainFormat, "R__a.sql: it is one of Flyway's that run again"},
		{"an undo file", "1_a.undo.sql", "SELECT 1;", "", "its name says that it takes a migration back"},
		{"a template", "1_a.sql", "SELECT {{ .Name }};", "", "1_a.sql:1:8: it is a template"},
		{"a date with hyphens", "2026-01-02_a.sql", "SELECT 1;", "", "whether its version is 2026"},
		{"too long a version", "20260101000000000001_a.sql", "SELECT 1;", sqlrewrite.PlainFormat, "its version 20260101000000000001 can't be kept"},
		{"dbmate's unknown option", "1_a.sql", "-- migrate:up lock:none\nSELECT 1;", "", "1_a.sql:1:1: unknown option of dbmate's: lock:none"},
		{"dbmate, SQL before", "1_a.sql", "SELECT 0;\n-- migrate:up\nSELECT 1;", "", "1_a.sql:1:1: SQL before the first section"},
		{"dbmate, two ups", "1_a.sql", "-- migrate:up\nSELECT 1;\n-- migrate:up\nSELECT 2;", "", "1_a.sql:3:1: a second section"},
		{"no golang-migrate name", "1_a.sql", "SELECT 1;", sqlrewrite.GolangMigrateFormat, "its name is not golang-migrate's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := sqlrewrite.ReadFolder(inFolder(c.file, c.text), c.format)
			var e *sqlrewrite.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	_, err := sqlrewrite.ReadFolder(inFolder(v+".up.sql", "SELECT 1;", v+"b.up.sql", "SELECT 2;"), "")
	if err == nil || !strings.Contains(err.Error(), "same version") {
		t.Errorf("two files of one version: %v", err)
	}
}

// TestMixedFolders: what its tool would heed, or can't be placed, is refused by name.
func TestMixedFolders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files []string
		want  string
	}{
		{"one without a number", []string{"1_a.sql", "SELECT 1;", "views.sql", "SELECT 2;"}, "views.sql:1:1: its name has no number"},
		{"one number twice", []string{"1_a.sql", "SELECT 1;", "01_b.sql", "SELECT 2;"}, "has the same version as"},
		{"Flyway's three kinds", []string{"V1__a.sql", "SELECT 1;", "R__b.sql", "SELECT 2;", "U1__a.sql", "SELECT 3;"}, "R__b.sql: it is one of Flyway's"},
		{"code beside", []string{"1_a.sql", "SELECT 1;", "2_b.py", "print()"}, "2_b.py: it is a migration in another language"},
		{"a folder below", []string{"1_a.sql", "SELECT 1;", "more/2_b.sql", "SELECT 2;"}, "more/2_b.sql: there are .sql files in a folder below"},
	} {
		_, err := sqlrewrite.ReadFolder(inFolder(c.files...), sqlrewrite.PlainFormat)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	s, err := sqlrewrite.ReadFolder(inFolder("000001_a.up.sql", "SELECT 1;", "000001_a.down.sql", "SELECT 2;", "000010_b.up.sql", "DROP INDEX CONCURRENTLY i;"), sqlrewrite.GolangMigrateFormat)
	if err != nil || s.Summary() != "golang-migrate: 2 up, 1 down" || s.Scripts[1].Vendor() != "10" || s.Scripts[1].Target() != "10_b.sql" {
		t.Errorf("%v %+v", err, s)
	}
}

// TestUnwrap: BEGIN and COMMIT around a plain file are goose's own business.
func TestUnwrap(t *testing.T) {
	t.Parallel()
	s, err := sqlrewrite.ReadFolder(inFolder("1_a.sql", "\ufeffBEGIN;\nCREATE INDEX i ON a (b);\nCOMMIT;\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := sqlrewrite.Live(s.Scripts[0])
	if err != nil || len(r.Hazards) > 0 || len(r.Files) != 1 || !r.Files[0].NoTransaction || strings.Contains(r.Files[0].SQL, "COMMIT") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestKnownTypes: what earlier files of the folder say of a column decides whether a change of its type rewrites the table.
func TestKnownTypes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		free     bool
	}{
		{"varchar(20)", "varchar(40)", true}, {"varchar(40)", "varchar(20)", false}, {"varchar(20)", "varchar", true}, {"varchar(20)", "text", true},
		{"text", "varchar", true}, {"text", "varchar(20)", false}, {"int", "bigint", false}, {"numeric(8,2)", "numeric(10,2)", true},
		{"numeric(8,2)", "numeric(10,3)", false}, {"numeric(8,2)", "numeric", true}, {"cidr", "inet", true}, {"timestamp(3)", "timestamp(6)", true},
		{"timestamp", "timestamptz", false}, {"text", "jsonb", false}, {"text[]", "varchar[]", false}, {"int", "int", true}, {"char(5)", "char(6)", false},
	} {
		s, err := sqlrewrite.ReadFolder(inFolder("1_a.sql", "CREATE TABLE a (x "+c.from+"); ALTER TABLE a RENAME COLUMN x TO y; ALTER TABLE a RENAME TO b;",
			"2_b.sql", "ALTER TABLE b ALTER COLUMN y TYPE "+c.to+";"), "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := sqlrewrite.Live(s.Scripts[1])
		if err != nil || (len(r.Hazards) == 0) != c.free {
			t.Errorf("%s to %s: %+v, %v", c.from, c.to, r.Hazards, err)
		}
	}
}

// TestAbove: the version is goose's, or the vendor's.
func TestAbove(t *testing.T) {
	t.Parallel()
	s, err := sqlrewrite.ReadFolder(inFolder("20200101000000000001_a.up.sql", "SELECT 1;", "20200101000000000002_b.up.sql", "SELECT 2;"), "")
	if err != nil {
		t.Fatal(err)
	}
	if above, err := s.Above("20200101000000000001"); err != nil || len(above) != 1 || above[0].Target() != "00003_b.sql" {
		t.Errorf("%v %v", above, err)
	}
	if _, err := s.Above("7"); err == nil {
		t.Error("a version that is not there was taken")
	}
}

// TestLint: what rewriting takes away is not refused; what it can't is.
func TestLint(t *testing.T) {
	t.Parallel()
	s, err := sqlrewrite.ReadFolder(inFolder("1_a.sql", "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int, p int);", "2_b.sql",
		"CREATE INDEX i ON c (id);\nALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p;\nDROP TABLE p CASCADE;"), "")
	if err != nil {
		t.Fatal(err)
	}
	findings, err := sqlrewrite.Lint(s.Scripts, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range findings {
		got[f.Rule] = f.Fixed
		if f.File != "2_b.sql" || f.Line == 0 || f.Column == 0 || f.Text == "" {
			t.Errorf("%+v is not complete", f)
		}
	}
	for rule, fixed := range map[string]bool{"blocks-writes": true, "loses-data": false, "breaks-old-server": false, "unindexed-foreign-key": false} {
		if is, ok := got[rule]; !ok || is != fixed {
			t.Errorf("%s: %t, there: %t", rule, is, ok)
		}
	}
}

// TestSteps: how each file of a result is to be run.
func TestSteps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql, want string
	}{
		{"-- +goose Up\nALTER TABLE a ADD COLUMN b int;", "moment tx 1"},
		{"-- +goose Up\nALTER TABLE a VALIDATE CONSTRAINT c;", "reading tx 0"},
		{"-- +goose Up\nALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c NOT VALID;", "moment tx 2"},
		{"-- +goose NO TRANSACTION\n-- +goose Up\nDROP INDEX CONCURRENTLY IF EXISTS i;\nALTER TABLE a ADD COLUMN b int;\nVACUUM a;\nANALYZE a;", "indexes 0, moment tx 1, reading 0, reading tx 0"},
	} {
		steps, err := sqlrewrite.File{Name: "1_a.sql", SQL: c.sql, NoTransaction: strings.Contains(c.sql, "NO TRANS")}.Steps()
		if err != nil {
			t.Fatal(err)
		}
		if got := described(steps); got != c.want {
			t.Errorf("%s: %s, want %s", c.sql, got, c.want)
		}
	}
	s, err := sqlrewrite.Parse("1_a.sql", "CREATE INDEX i ON a (b); UPDATE a SET b = 1; REINDEX INDEX j; ALTER TABLE a DETACH PARTITION p;")
	if err != nil {
		t.Fatal(err)
	}
	r, err := sqlrewrite.Live(s)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range r.Files {
		steps, err := f.Steps()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, described(steps))
	}
	if got := strings.Join(all, "; "); got != "indexes 0; batches 0; moment tx 0; indexes 0; moment tx 1; reading tx 0; detach 0; moment tx 1" {
		t.Error(got)
	}
}

func described(steps []sqlrewrite.Step) string {
	var list []string
	for _, s := range steps {
		word := string(s.Work)
		if s.Transaction {
			word += " tx"
		}
		list = append(list, fmt.Sprintf("%s %d", word, s.Tables))
	}
	return strings.Join(list, ", ")
}

// TestShape: no value of anybody's query is left.
func TestShape(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"UPDATE  a SET secret = 'hunter2'\nWHERE id = 5": "UPDATE a SET secret = $1 WHERE id = $2",
		"SELECT 'hunter2": "SELECT …",
		"'hunter2' what":  " …",
		"INSERT INTO a VALUES ($1, 'hunter2', E'a')": "INSERT INTO a VALUES ($1, $2, $3)",
	} {
		if got := sqlrewrite.Shape(sql); got != want {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
}
