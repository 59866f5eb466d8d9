package sqlrewrite_test

import (
	"strings"
	"testing"

	"github.com/tideover/tideover/sqlrewrite"
)

// vendors are small folders of each format, with what their tools make of them.
var vendors = []struct {
	name   string
	files  []string
	say    sqlrewrite.Format // "": found out
	format sqlrewrite.Format
	order  string // the vendors' versions
	sum    string // what Summary says
}{
	{"diesel", []string{
		"00000000000000_diesel_initial_setup/up.sql", "SELECT 1;", "00000000000000_diesel_initial_setup/down.sql", "SELECT 2;",
		"2024-01-02-000000_b/up.sql", "\ufeffCREATE TABLE b ();\r\n", "2024-01-02-000000_b/down.sql", "DROP TABEL b;",
		"2024-01-01-000000_a/up.sql", "CREATE TABLE a ();", "2024-01-03-000000_c/up.sql", "CREATE INDEX CONCURRENTLY i ON a (b);",
		"2024-01-03-000000_c/metadata.toml", "# alone\r\nrun_in_transaction = false\r\n", ".keep/x", "", "README.md", "x"},
		"", sqlrewrite.DieselFormat, "00000000000000 20240101000000 20240102000000 20240103000000", "diesel: 4 up, 1 down; no way back of 2024-01-02-000000_b/up.sql, which can't be read"},
	{"Prisma", []string{"migration_lock.toml", "# no\nprovider = \"postgresql\"\n", "0_init/migration.sql", "CREATE TABLE a ();",
		"20240102000000_b/migration.sql", "CREATE TABLE b ();", "20240101000000_ä/migration.sql", "SELECT 1;"},
		"", sqlrewrite.PrismaFormat, "0_init 20240101000000_ä 20240102000000_b", "prisma: 3 up, 0 down"},
	{"sqlx", []string{"9_a.sql", "CREATE TABLE a ();", "10_b_c.up.sql", "CREATE TABLE b ();", "10_b_c.down.sql", "DROP TABLE b;",
		"11_c.sql", "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON a (b);", "notes.sql", "no SQL", "READ_ME.md", "x"},
		"", sqlrewrite.SqlxFormat, "9 10 11", "sqlx: 3 up, 1 down"},
	{"Flyway", []string{"V1.9__a.sql", "CREATE TABLE a ();", "V1.10__b.sql", "CREATE TABLE b ();", "sub/V1_9_1__c.SQL", "CREATE TABLE c ();", "V002.sql", "SELECT 1;",
		"R__z.sql", "CREATE VIEW z AS SELECT 1;", "R__a_view.sql", "CREATE VIEW v AS SELECT 1;", "U1.9__a.sql", "DROP TABEL a;", "data.sql", "nonsense", "afterClean.sql", "nonsense",
		"V3__i.sql", "CREATE INDEX CONCURRENTLY i ON a (b);", "V4__p.sql", "SELECT '${x}';", "V4__p.sql.conf", "placeholderReplacement=false\n"},
		"", sqlrewrite.FlywayFormat, "1.9 1.9.1 1.10 002 3 4 R__a_view R__z", "flyway: 8 up, 0 down"},
	{"tern", []string{"001_a.sql", "CREATE TABLE a ();\n---- create above / drop below ----\nDROP TABLE a;", "2_b.sql", "---- tern: disable-tx ----\nCREATE INDEX CONCURRENTLY i ON a (b);\nANALYZE a;",
		"shared/v.sql", "{{ x }}", "notes.sql", "no SQL"},
		"", sqlrewrite.TernFormat, "1 2", "tern: 2 up, 1 down"},
	{"node-pg-migrate", []string{"1700000000000_a.sql", "-- Down Migration\nDROP TABLE a;\n-- Up Migration\nCREATE TABLE a ();", "20231114221319999_b.sql", "--- up migration\nCREATE TABLE b ();\n", ".hidden.js", "x"},
		"", sqlrewrite.NodePgMigrateFormat, "20231114221319999_b 1700000000000_a", "node-pg-migrate: 2 up, 1 down"},
	{"Drizzle", []string{"meta/_journal.json", `{"version":"7","dialect":"postgresql","entries":[{"idx":0,"version":"7","when":1000,"tag":"0001_z","breakpoints":true},{"idx":1,"when":2000,"tag":"0000_a","breakpoints":true}]}`,
		"0000_a.sql", "CREATE TABLE a ();\n--> statement-breakpoint\nCREATE TABLE c ();", "0001_z.sql", "CREATE TABLE z ();", "0002_not_listed.sql", "nonsense"},
		"", sqlrewrite.DrizzleFormat, "0001_z 0000_a", "drizzle: 2 up, 0 down"},
	{"Atlas", []string{"1_a.sql", "CREATE TABLE a ();", "2_b_c.sql", "-- atlas:txmode none\n\nCREATE INDEX CONCURRENTLY i ON a (b);", "3.sql", "-- atlas:nolint\nDROP TABLE a;",
		"atlas.sum", "h1:Khg/p8bUU/R0mx1jUxC1D2PnmPS6b+bGrt+smfproAo=\n1_a.sql h1:hVuVPL6EnhZnVlW90+/W5K4zraxTDkjcajqQnOEXQhY=\n2_b_c.sql h1:P/QvXBLzzCQ4YbQ+DtxrLLQA6ORBY25FWb/2eFqkK34=\n3.sql h1:2N39JnsLyVi3zA1vRWiD63ZwbxcBW5UZAKi3SoxxjA4=\n"},
		"", sqlrewrite.AtlasFormat, "1 2 3", "atlas: 3 up, 0 down"},
	{"sqitch", []string{"sqitch.plan", "%syntax-version=1.0.0\n%project=x\n\nusers 2024-01-01T10:00:00Z Ann Lee <ann@example.org> # the users\n@v1 2024-01-02T10:00:00Z Ann Lee <ann@example.org> # one\n\n" +
		"  # a comment\na/view [users other:thing !old] 2024-01-03T10:00:00Z Ann Lee <ann@example.org>\n+ users [users@v1] 2024-01-04T10:00:00Z Ann Lee <ann@example.org> # again\n",
		"deploy/users@v1.sql", "-- Deploy x:users to pg\nBEGIN;\nCREATE TABLE users ();\nCOMMIT;\n", "revert/users@v1.sql", "BEGIN;\nDROP TABLE users;\nCOMMIT;\n", "deploy/a/view.sql", "CREATE VIEW v AS SELECT 1;",
		"deploy/users.sql", "BEGIN;\nALTER TABLE users ADD a int;\nCOMMIT;\n", "verify/users.sql", "\\echo", "sqitch.conf", "x"},
		"", sqlrewrite.SqitchFormat, "users@v1 a/view users", "sqitch: 3 up, 1 down"},
	{"Liquibase", []string{"b.sql", "--liquibase formatted sql\n\n--changeset ann:1 splitStatements:false\n--comment: the first\nCREATE TABLE b ();\nCREATE TABLE c ();\n--rollback DROP TABLE b;\n--rollback DROP TABLE c;\n" +
		"-- changeset \"ann lee\":\"the 2nd\" runInTransaction:false dbms:postgresql,h2\nCREATE INDEX CONCURRENTLY i ON b (a);\n--rollback empty\n--changeset ann:3 dbms:oracle\nnonsense\n",
		"a.sql", "-- liquibase formatted sql logicalFilePath:db/a.sql\n--changeset ann:1\nCREATE TABLE a ();\n/* liquibase rollback\nDROP TABEL a;\n*/\n", "README.md", "x"},
		"", sqlrewrite.LiquibaseFormat, "db/a.sql::1::ann b.sql::1::ann b.sql::the 2nd::ann lee", "liquibase: 3 up, 1 down"},
}

// TestVendorsFolders: the same files as the vendor's tool takes, in its order, under its versions; each notes itself last.
func TestVendorsFolders(t *testing.T) {
	t.Parallel()
	for _, c := range vendors {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := sqlrewrite.ReadFolder(inFolder(c.files...), c.say)
			if err != nil {
				t.Fatal(err)
			}
			var order []string
			for _, script := range s.Scripts {
				order = append(order, script.Vendor())
				for _, turn := range []func(*sqlrewrite.Script) (sqlrewrite.Rewritten, error){sqlrewrite.Offline, sqlrewrite.Live} {
					r, err := turn(script)
					if err != nil {
						t.Fatal(err)
					}
					last := r.Files[len(r.Files)-1]
					if up, _, _ := strings.Cut(last.SQL, "-- +goose Down"); !strings.Contains(up, strings.TrimSpace(script.Record())) {
						t.Errorf("%s does not note itself:\n%s", script.Name, last.SQL)
					}
				}
			}
			if got := strings.Join(order, " "); got != c.order || s.Format != c.format || !strings.HasPrefix(s.Summary(), c.sum) {
				t.Errorf("%s: %s; %s", s.Format, got, s.Summary())
			}
		})
	}
}

// TestVendorsRefusals: what the tool would stop at, or means something that only it knows, is refused by name.
func TestVendorsRefusals(t *testing.T) {
	t.Parallel()
	const atlasOne = "h1:HsCV3ocx4bNYNSE7l4dXr4Wd0Qf3cfmlJvlqlDevJ+Y=\n1_a.sql h1:KM4OGmi0DEXiHMqoAbfLYUDaQelcRs/ZJLaef6tji4g=\n"
	const journal = `{"dialect":"postgresql","entries":[{"when":2,"tag":"0000_a"},{"when":%,"tag":"0001_b"}]}`
	for _, c := range []struct {
		name  string
		files []string
		say   sqlrewrite.Format
		want  string
	}{
		{"diesel: one version twice", []string{"2024-01-01-000000_a/up.sql", "SELECT 1;", "20240101000000_b/up.sql", "SELECT 1;"}, "", "20240101000000_b/up.sql:1:1: it has the same version as 2024-01-01-000000_a/up.sql"},
		{"diesel: another folder", []string{"2024-01-01-000000_a/up.sql", "SELECT 1;", "b/x.sql", "SELECT 1;"}, "", "b:1:1: the folder has no up.sql"},
		{"diesel: nothing but what is hidden", []string{"2024-01-01-000000_a/up.sql", "SELECT 1;", "b/.gitkeep", ""}, "", "b:1:1: the folder has no up.sql"},
		{"diesel: an empty file", []string{"2024-01-01-000000_a/up.sql", ""}, "", "it is empty"},
		{"diesel: what is not understood", []string{"2024-01-01-000000_a/up.sql", "SELECT 1;", "2024-01-01-000000_a/metadata.toml", "[x]\n"}, "", "metadata.toml:1:1: what"},
		{"diesel: or Hasura", []string{"1600000000000_a/up.sql", "SELECT 1;"}, "", "diesel's or Hasura's"},
		{"Prisma: another provider", []string{"migration_lock.toml", `provider = "mysql"`, "1_a/migration.sql", "SELECT 1;"}, "", "its provider isn't postgresql"},
		{"Prisma: no file", []string{"migration_lock.toml", `provider = "postgresql"`, "1_a/x.sql", "SELECT 1;"}, "", "1_a:1:1: the folder has no migration.sql"},
		{"Prisma: an order that differs", []string{"migration_lock.toml", `provider = "postgresql"`, "1_a/migration.sql", "SELECT 1;", "10_b/migration.sql", "SELECT 1;"}, "", "1_a:1:1: whether it comes before 10_b"},
		{"Prisma: or Drizzle", []string{"1_a/migration.sql", "SELECT 1;"}, "", "is Prisma's or Drizzle's"},
		{"sqlx: one version twice", []string{"1_a.sql", "SELECT 1;", "01_b.sql", "SELECT 1;"}, sqlrewrite.SqlxFormat, "has the same version"},
		{"sqlx: no version", []string{"a_b.sql", "SELECT 1;"}, sqlrewrite.SqlxFormat, "a_b.sql:1:1: its name has no version that sqlx"},
		{"Flyway: one version twice", []string{"V1.0__a.sql", "SELECT 1;", "b/V1__b.sql", "SELECT 1;"}, "", "has the same version"},
		{"Flyway: a placeholder", []string{"V1__a.sql", "SELECT 1;\nSELECT '${a}';"}, "", "V1__a.sql:2:9: no value is given for ${a}"},
		{"Flyway: several placeholders, in comments too", []string{"V1__a.sql", "SELECT ${a}; -- ${b c}, ${a}\nSELECT ${flyway:user};"}, "", "V1__a.sql:1:8: no value is given for ${a}, ${b c}, ${flyway:user}"},
		{"Flyway: a placeholder without an end", []string{"V1__a.sql", "SELECT '${a';"}, "", "V1__a.sql:1:9: a placeholder without an end"},
		{"Flyway: one underscore", []string{"V1__a.sql", "SELECT 1;", "V2_b.sql", "SELECT 1;"}, "", "V2_b.sql:1:1: its name has no version that Flyway"},
		{"Flyway: a hook", []string{"V1__a.sql", "SELECT 1;", "afterMigrate__x.sql", "SELECT 1;"}, "", "afterMigrate__x.sql:1:1: Flyway runs it around"},
		{"Flyway: a baseline", []string{"V1__a.sql", "SELECT 1;", "B1__x.sql", "SELECT 1;"}, "", "B1__x.sql:1:1: it stands for all files"},
		{"Flyway: code", []string{"V1__a.sql", "SELECT 1;", "x/V2__b.java", "x"}, "", "x/V2__b.java: it is a migration in another language"},
		{"Flyway: mixed", []string{"V1__a.sql", "SELECT 1;\nVACUUM;"}, "", "V1__a.sql:2:1: a statement that Postgres doesn't run in a transaction"},
		{"Flyway: a condition", []string{"V1__a.sql", "SELECT 1;", "V1__a.sql.conf", "shouldExecute=${x}\n"}, "", "V1__a.sql.conf:1:1: what it means to Flyway"},
		{"tern: a gap", []string{"1_a.sql", "SELECT 1;\n---- create above / drop below ----\n", "3_b.sql", "SELECT 1;"}, "", "3_b.sql:1:1: number 2 is missing"},
		{"tern: a template", []string{"1_a.sql", "SELECT {{.x}};\n---- create above / drop below ----\n"}, "", "1_a.sql:1:8: it is a template"},
		{"tern: nothing above", []string{"1_a.sql", "-- x\n---- create above / drop below ----\nSELECT 1;"}, "", "no statement above"},
		{"node-pg-migrate: both would run", []string{"1_a.sql", "SELECT 1;\n\n-- Down Migration\nSELECT 2;"}, "", "1_a.sql:3:1: there is a way back and no"},
		{"node-pg-migrate: code", []string{"1_a.sql", "-- Up Migration\nSELECT 1;", "2_b.js", "x"}, "", "2_b.js:1:1: node-pg-migrate takes every file"},
		{"node-pg-migrate: one number twice", []string{"1_a.sql", "-- Up Migration\nSELECT 1;", "01_b.sql", "SELECT 1;"}, "", "has the same version"},
		{"Drizzle: times out of order", []string{"meta/_journal.json", strings.Replace(journal, "%", "1", 1), "0000_a.sql", "SELECT 1;", "0001_b.sql", "SELECT 1;"}, "", "0001_b.sql:1:1: its time in meta/_journal.json"},
		{"Drizzle: a file that is gone", []string{"meta/_journal.json", strings.Replace(journal, "%", "3", 1), "0000_a.sql", "SELECT 1;"}, "", "0001_b.sql:1:1: meta/_journal.json lists it"},
		{"Drizzle: another dialect", []string{"meta/_journal.json", `{"dialect":"sqlite"}`, "0000_a.sql", "SELECT 1;"}, "", `its dialect is "sqlite"`},
		{"two tools", []string{"V1__a.sql", "-- +goose Up\nSELECT 1;"}, "", `whose folder it is can't be told: it is goose's by "-- +goose Up" in V1__a.sql, and flyway's by the name of V1__a.sql`},
		{"three tools", []string{"20240101000000_a.up.sql", "SELECT 1;", "20240101000000_a.down.sql", "SELECT 1;"}, "", "pop, golang-migrate and sqlx name files so"},
		{"sqitch: a script that isn't there", []string{"sqitch.plan", "a 2024-01-01T10:00:00Z A <a>\n"}, "", "deploy/a.sql:1:1: sqitch.plan has it in line 1"},
		{"sqitch: no plan", []string{"deploy/a.sql", "SELECT 1;"}, sqlrewrite.SqitchFormat, "sqitch.plan: it isn't there"},
		{"sqitch: taken back", []string{"sqitch.plan", "a 2024-01-01T10:00:00Z A <a>\n-a 2024-01-01T10:00:00Z A <a>\n", "deploy/a.sql", "SELECT 1;"}, "", "sqitch.plan:2:1: the plan takes a change back"},
		{"sqitch: again, without a tag", []string{"sqitch.plan", "a 2024-01-01T10:00:00Z A <a>\na 2024-01-02T10:00:00Z A <a>\n", "deploy/a.sql", "SELECT 1;"}, "", "sqitch.plan:1:1: a is planned again without a tag"},
		{"sqitch: a line that isn't understood", []string{"sqitch.plan", "a yesterday\n", "deploy/a.sql", "SELECT 1;"}, "", "sqitch.plan:1:1: sqitch's line isn't understood"},
		{"sqitch: psql's commands", []string{"sqitch.plan", "a 2024-01-01T10:00:00Z A <a>\n", "deploy/a.sql", "\\set x 1\nSELECT 1;"}, "", "deploy/a.sql:1:1: psql's \\set is not SQL"},
		{"Liquibase: a changelog of another kind", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1\nSELECT 1;", "master.xml", "x"}, "", "master.xml: which files count"},
		{"Liquibase: no header", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1\nSELECT 1;", "b.sql", "SELECT 1;"}, "", "b.sql:1:1: it doesn't begin with"},
		{"Liquibase: a context", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1 context:test\nSELECT 1;"}, "", "a.sql:2:1: context:test: what becomes of the changeset depends"},
		{"Liquibase: whenever it changes", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1 runOnChange:true\nSELECT 1;"}, "", "a.sql:2:1: runOnChange:true"},
		{"Liquibase: a condition", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1\n--precondition-sql-check expectedResult:0 SELECT 1\nSELECT 1;"}, "", "a.sql:3:1: what it does depends"},
		{"Liquibase: a parameter", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1\nSELECT ${x};"}, "", "a.sql:3:8: it has a parameter"},
		{"Liquibase: lines to ignore", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1\n-- ignore what is old\n--ignoreLines:1\nSELECT 1;"}, "", "a.sql:4:1: what it does depends"},
		{"Liquibase: no id", []string{"a.sql", "--liquibase formatted sql\n--changeset ann\nSELECT 1;"}, "", "a.sql:2:1: Liquibase stops at this line"},
		{"Liquibase: one dash", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1\nSELECT 1;\n-changeset a:2\nSELECT 2;"}, "", "a.sql:4:1: Liquibase stops at this line"},
		{"Liquibase: twice", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1\nSELECT 1;\n--changeset a:1\nSELECT 2;"}, "", "a.sql: it has the changeset a.sql::1::a twice"},
		{"Liquibase: nothing in it", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1\n--changeset a:2\nSELECT 2;"}, "", "a.sql:2:1: the changeset has no statement"},
		{"Liquibase: SQL above", []string{"a.sql", "--liquibase formatted sql\nSELECT 1;\n--changeset a:2\nSELECT 2;"}, "", "a.sql:2:1: SQL before the first changeset"},
		{"Liquibase: bad SQL, in its line", []string{"a.sql", "--liquibase formatted sql\n--changeset a:1\nSELECT 1;\n--changeset a:2\nSELEC 2;"}, "", "a.sql:5:1: syntax error"},
		{"Atlas, or goose", []string{"1_a.sql", "-- +goose Up\nSELECT 1;", "atlas.sum", "h1:x"}, "", `it is goose's by "-- +goose Up" in 1_a.sql, and atlas's by atlas.sum`},
		{"Atlas: a file that isn't in the sums", []string{"1_a.sql", "SELECT 1;", "2_b.sql", "SELECT 1;", "atlas.sum", atlasOne}, "", "2_b.sql:1:1: the folder isn't the one whose sums"},
		{"Atlas: a changed file", []string{"1_a.sql", "SELECT 2;", "atlas.sum", atlasOne}, "", "1_a.sql:1:1: the folder isn't the one whose sums"},
		{"Atlas: a file that has gone", []string{"1_a.sql", "SELECT 1;", "atlas.sum", atlasOne + "2_b.sql h1:x=\n"}, "", "atlas.sum:1:1: the folder isn't the one whose sums"},
		{"Atlas: no sums", []string{"1_a.sql", "SELECT 1;"}, sqlrewrite.AtlasFormat, "atlas.sum: it isn't there"},
		{"Atlas: golang-migrate's names", []string{"1_a.up.sql", "SELECT 1;", "1_a.down.sql", "SELECT 1;", "atlas.sum", "h1:x"}, "", "1_a.down.sql:1:1: its name is golang-migrate's"},
		{"Atlas: one version twice", []string{"1_a.sql", "SELECT 1;", "1_b.sql", "SELECT 1;", "atlas.sum", "h1:x"}, "", "1_b.sql:1:1: it has the same version as 1_a.sql"},
		{"Atlas: an order that differs", []string{"1_a.sql", "SELECT 1;", "10_b.sql", "SELECT 1;", "atlas.sum", "h1:x"}, "", "1_a.sql:1:1: by its name it comes behind 10_b.sql"},
		{"Atlas: a checkpoint", []string{"1_a.sql", "-- atlas:checkpoint\n\nSELECT 1;", "atlas.sum", "h1:x"}, "", "1_a.sql:1:4: it stands for all files before it"},
		{"Atlas: what isn't known", []string{"1_a.sql", "SELECT 1;\n-- atlas:delimiter \\n\nSELECT 2;", "atlas.sum", "h1:x"}, "", `1_a.sql:2:4: what "atlas:delimiter \\n" means`},
		{"Atlas: where it is passed over", []string{"1_a.sql", "-- atlas:txmode none\nSELECT 1;", "atlas.sum", "h1:x"}, "", "1_a.sql:1:4: Atlas passes over it"},
	} {
		_, err := sqlrewrite.ReadFolder(inFolder(c.files...), c.say)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// TestFlywayPlaceholders: values are put in wherever a placeholder stands, as Flyway does; a repeatable file's checksum is that of what is
// run, a versioned one's that of the file.
func TestFlywayPlaceholders(t *testing.T) {
	t.Parallel()
	read := func(values map[string]string) *sqlrewrite.Migrations {
		s, err := sqlrewrite.Source{Placeholders: values}.Folder(inFolder("V1__a.sql", "CREATE TABLE ${schema}.t (a text DEFAULT '${flyway:filename} ${x}'); -- ${x}",
			"R__v.sql", "CREATE VIEW v AS SELECT '${x}' AS x;", "V2__b.sql", "SELECT '${x}';", "V2__b.sql.conf", "placeholderReplacement=false"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, two := read(map[string]string{"schema": "auth", "x": ""}), read(map[string]string{"schema": "other", "x": "it''s ${schema}", "more": "y"})
	for i, want := range []struct{ one, two string }{
		{"CREATE TABLE auth.t (a text DEFAULT 'V1__a.sql ')", "CREATE TABLE other.t (a text DEFAULT 'V1__a.sql it''s ${schema}')"},
		{"SELECT '${x}'", "SELECT '${x}'"},
		{"CREATE VIEW v AS SELECT '' AS x", "CREATE VIEW v AS SELECT 'it''s ${schema}' AS x"},
	} {
		if a, b := one.Scripts[i].Up[0].SQL, two.Scripts[i].Up[0].SQL; a != want.one || b != want.two {
			t.Errorf("%s\n%s", a, b)
		}
		if same, repeatable := one.Scripts[i].Record() == two.Scripts[i].Record(), i == 2; same == repeatable {
			t.Errorf("%s: the same note: %t", one.Scripts[i].Name, same)
		}
	}
	if _, err := (sqlrewrite.Source{Placeholders: map[string]string{"x": "y"}}).Folder(inFolder("1_a.sql", "SELECT 1;")); err == nil || !strings.Contains(err.Error(), "read as plain's") {
		t.Error(err)
	}
}
