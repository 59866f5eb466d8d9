package migrate_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
)

// vendorCase is a vendor's folder, and his table as his own tool leaves it. Its files make tables a, b and c; "late" makes late.
type vendorCase struct {
	name          string
	first, second []string // files, such that the second come behind the first
	format        string   // "": found out
	made          string   // the vendor's table, as his tool makes it, with the first files noted
	table         string   // what is asked of it
	want          string   // after all
	from          string   // the version of the first file
	late          []string // files that come between; what becomes of them:
	lateWant      string   // "": they run; "never": they don't; else why they are refused
	broken        []brokenRow
	fresh         bool // without its table the tool refuses a database that has tables
}

// brokenRow is something that the vendor's tool would not go on with.
type brokenRow struct{ sql, want string }

const (
	firstSQL  = "CREATE TABLE a (id int PRIMARY KEY, n text);\nINSERT INTO a VALUES (1, 'ä');"
	secondSQL = "CREATE TABLE b (id int PRIMARY KEY);\nUPDATE a SET n = 'x' WHERE id = 1;"
	// The sums were computed with sha256sum, sha384sum and Python's zlib.crc32, of what the tools' sources say is summed.
	firstSHA256  = "8965e55d7761f0ccca50973c16577632bf8d99b12a1ebe521e0b11be8533c945"
	secondSHA256 = "64a9ae0314f1783238d35719456dab049f24d239a170af7e2e9c5822631c2dc9"
	firstSHA384  = "0be91bfaef24a5e8247824ba1f31c791ed9e37302065ad328a027dc16083a24dd89eecfbb475454005b91c66a31cb4f7"
	secondSHA384 = "9bd1c84031b8187ff75ec73555b86ecda4ce95f00cb175ad7b43ece5e7d3e340d1643f13b3ef2f7c08598f962c9f6de2"
)

var vendorCases = []vendorCase{
	{name: "diesel",
		first:  []string{"00000000000000_diesel_initial_setup/up.sql", "SELECT 1;", "2024-01-01-000000_a/up.sql", firstSQL, "2024-01-01-000000_a/down.sql", "DROP TABLE a;"},
		second: []string{"2024-01-03-000000_b/up.sql", secondSQL},
		made: `CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
			INSERT INTO __diesel_schema_migrations (version) VALUES ('00000000000000'), ('20240101000000')`,
		table: `SELECT string_agg(version, ' ' ORDER BY version) FROM __diesel_schema_migrations WHERE run_on IS NOT NULL`,
		want:  "00000000000000 20240101000000 20240103000000", from: "20240101000000", late: []string{"2024-01-02-000000_late/up.sql", "CREATE TABLE late ();"}},
	{name: "Prisma", fresh: true,
		first:  []string{"migration_lock.toml", `provider = "postgresql"`, "20240101000000_a/migration.sql", firstSQL},
		second: []string{"20240103000000_b/migration.sql", secondSQL},
		made: `CREATE TABLE _prisma_migrations (id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ, migration_name VARCHAR(255) NOT NULL,
				logs TEXT, rolled_back_at TIMESTAMPTZ, started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0);
			INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, applied_steps_count) VALUES ('1', '` + firstSHA256 + `', now(), '20240101000000_a', 1);
			INSERT INTO _prisma_migrations (id, checksum, rolled_back_at, migration_name) VALUES ('2', 'x', now(), '20240103000000_b')`,
		table: `SELECT string_agg(migration_name || ' ' || checksum || ' ' || applied_steps_count, ' ' ORDER BY migration_name) FROM _prisma_migrations
			WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL AND logs IS NULL AND id <> ''`,
		want: "20240101000000_a " + firstSHA256 + " 1 20240103000000_b " + secondSHA256 + " 1", from: "20240101000000_a", late: []string{"20240102000000_late/migration.sql", "CREATE TABLE late ();"},
		broken: []brokenRow{{`UPDATE _prisma_migrations SET finished_at = NULL WHERE migration_name = '20240103000000_b'`, "20240103000000_b was left half done"}}},
	{name: "sqlx", format: "sqlx",
		first:  []string{"20240101000000_the_a.up.sql", firstSQL, "20240101000000_the_a.down.sql", "DROP TABLE a;"},
		second: []string{"20240103000000_b.sql", secondSQL},
		made: `CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL,
				checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL);
			INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (20240101000000, 'the a', true, '\x` + firstSHA384 + `', -1)`,
		table: `SELECT string_agg(format('%s %s %s %s', version, description, encode(checksum, 'hex'), execution_time), ' ' ORDER BY version) FROM _sqlx_migrations WHERE success`,
		want:  "20240101000000 the a " + firstSHA384 + " -1 20240103000000 b " + secondSHA384 + " -1", from: "20240101000000", late: []string{"20240102000000_late.sql", "CREATE TABLE late ();"},
		broken: []brokenRow{{`UPDATE _sqlx_migrations SET success = false`, "20240101000000 was left half done"},
			{`UPDATE _sqlx_migrations SET checksum = '\x00' WHERE version = 20240103000000`, "20240103000000_b.sql: it has changed since it ran"},
			{`INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (7, '', true, '', 0)`, "it has version 7, which is no file's"}}},
	{name: "Flyway", fresh: true,
		first:  []string{"V1.9__The_a.sql", firstSQL, "U1.9__The_a.sql", "DROP TABLE a;"},
		second: []string{"sub/V1_11__b.sql", secondSQL, "R__v.sql", "CREATE OR REPLACE VIEW v AS SELECT 1 AS one;\r\n"},
		made: `CREATE TABLE flyway_schema_history (installed_rank INT NOT NULL, version VARCHAR(50), description VARCHAR(200) NOT NULL, type VARCHAR(20) NOT NULL, script VARCHAR(1000) NOT NULL,
				checksum INTEGER, installed_by VARCHAR(100) NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT now(), execution_time INTEGER NOT NULL, success BOOLEAN NOT NULL);
			ALTER TABLE flyway_schema_history ADD CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank);
			CREATE INDEX flyway_schema_history_s_idx ON flyway_schema_history (success);
			INSERT INTO flyway_schema_history (installed_rank, version, description, type, script, checksum, installed_by, execution_time, success)
				VALUES (1, '1.9', 'The a', 'SQL', 'V1.9__The_a.sql', 424825081, 'x', 3, true)`,
		table: `SELECT string_agg(format('%s %s|%s|%s|%s|%s', installed_rank, version, description, type, script, checksum), ' ' ORDER BY installed_rank) FROM flyway_schema_history
			WHERE success AND installed_by <> ''`,
		want: "1 1.9|The a|SQL|V1.9__The_a.sql|424825081 2 1.11|b|SQL|sub/V1_11__b.sql|-393188493 3 |v|SQL|R__v.sql|982419503", from: "1.9",
		late: []string{"V1.10__late.sql", "CREATE TABLE late ();"}, lateWant: "V1.10__late.sql:1:1: it was never applied, but the later version 1.11 was",
		broken: []brokenRow{{`UPDATE flyway_schema_history SET success = false WHERE version = '1.11'`, "sub/V1_11__b.sql was left half done"},
			{`UPDATE flyway_schema_history SET checksum = 1 WHERE version = '1.9'`, "V1.9__The_a.sql: it has changed since it ran"},
			{`UPDATE flyway_schema_history SET description = 'x' WHERE version = '1.9'`, "V1.9__The_a.sql:1:1: its description isn't that in"},
			{`UPDATE flyway_schema_history SET version = '1.8', script = 'gone' WHERE version = '1.9'`, "it has gone, which is not among the files"},
			{`UPDATE flyway_schema_history SET type = 'JDBC' WHERE version = '1.9'`, "is of type JDBC"}}},
	{name: "tern",
		first:  []string{"001_a.sql", firstSQL + "\n---- create above / drop below ----\nDROP TABLE a;"},
		second: []string{"002_b.sql", secondSQL},
		made:   `CREATE TABLE schema_version (version int4 NOT NULL PRIMARY KEY); INSERT INTO schema_version VALUES (1)`,
		table:  `SELECT string_agg(version::text, ' ') FROM schema_version`, want: "2", from: "1",
		broken: []brokenRow{{`UPDATE schema_version SET version = 3`, "version 3, which is no file's"}}},
	{name: "node-pg-migrate",
		first:  []string{"1700000000001_a.sql", "-- Up Migration\n" + firstSQL + "\n-- Down Migration\nDROP TABLE a;"},
		second: []string{"1700000000003_b.sql", secondSQL},
		made: `CREATE TABLE pgmigrations (id SERIAL PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL);
			INSERT INTO pgmigrations (name, run_on) VALUES ('1700000000001_a', now() + interval '5 hours')`,
		table: `SELECT string_agg(name, ' ' ORDER BY run_on, id) FROM pgmigrations`, want: "1700000000001_a 1700000000003_b", from: "1700000000001_a",
		late: []string{"1700000000002_late.sql", "CREATE TABLE late ();"}, lateWant: "1700000000002_late.sql:1:1: pgmigrations has 1700000000003_b in its place"},
	{name: "Drizzle",
		first:  []string{"meta/_journal.json", `{"dialect":"postgresql","entries":[{"when":1000,"tag":"0000_a"}]}`, "0000_a.sql", firstSQL},
		second: []string{"meta/_journal.json", `{"dialect":"postgresql","entries":[{"when":1000,"tag":"0000_a"},{"when":3000,"tag":"0001_b"}]}`, "0001_b.sql", secondSQL},
		made: `CREATE SCHEMA drizzle; CREATE TABLE drizzle.__drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint);
			INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('` + firstSHA256 + `', 1000)`,
		table: `SELECT string_agg(hash || ' ' || created_at, ' ' ORDER BY id) FROM drizzle.__drizzle_migrations`, want: firstSHA256 + " 1000 " + secondSHA256 + " 3000", from: "0000_a",
		late:     []string{"meta/_journal.json", `{"dialect":"postgresql","entries":[{"when":1000,"tag":"0000_a"},{"when":2000,"tag":"0000_late"},{"when":3000,"tag":"0001_b"}]}`, "0000_late.sql", "CREATE TABLE late ();"},
		lateWant: "never"},
	{name: "Liquibase", // its table knows the files by a path that has more in front than the folder says
		first:  []string{"a.sql", "--liquibase formatted sql\n--changeset ann:1\n" + firstSQL + "\n--rollback DROP TABLE a;\n"},
		second: []string{"a.sql", "--liquibase formatted sql\n--changeset ann:1\n" + firstSQL + "\n--rollback DROP TABLE a;\n--changeset bo:2\nSELECT 1;\n", "b.sql", "--liquibase formatted sql\n--changeset ann:1\n" + secondSQL + "\n"},
		made: `CREATE TABLE databasechangelog (ID VARCHAR(255) NOT NULL, AUTHOR VARCHAR(255) NOT NULL, FILENAME VARCHAR(255) NOT NULL, DATEEXECUTED TIMESTAMP WITHOUT TIME ZONE NOT NULL,
				ORDEREXECUTED INTEGER NOT NULL, EXECTYPE VARCHAR(10) NOT NULL, MD5SUM VARCHAR(35), DESCRIPTION VARCHAR(255), COMMENTS VARCHAR(255), TAG VARCHAR(255), LIQUIBASE VARCHAR(20),
				CONTEXTS VARCHAR(255), LABELS VARCHAR(255), DEPLOYMENT_ID VARCHAR(10));
			INSERT INTO databasechangelog VALUES ('1', 'ann', 'db/log/a.sql', now(), 7, 'EXECUTED', '9:x', 'sql', '', NULL, '4.31.1', NULL, NULL, '1')`,
		table: `SELECT string_agg(format('%s %s %s %s', id, author, replace(filename, 'db/log/', ''), exectype), ', ' ORDER BY orderexecuted) FROM databasechangelog
			WHERE (filename LIKE 'db/log/%') = EXISTS (SELECT FROM databasechangelog WHERE liquibase LIKE '4.%')`,
		want: "1 ann a.sql EXECUTED, 2 bo a.sql EXECUTED, 1 ann b.sql EXECUTED", from: "a.sql::1::ann",
		late:   []string{"aa.sql", "--liquibase formatted sql\n--changeset ann:1\nCREATE TABLE late ();\n"},
		broken: []brokenRow{{`UPDATE databasechangelog SET exectype = 'FAILED' WHERE id = '2'`, "a.sql::2::bo was left half done"}}},
	{name: "Atlas", fresh: true, // the sums are what Atlas' own package makes of the files
		first:  []string{"20240101000000_the_a.sql", firstSQL, "atlas.sum", "h1:Aw14PeODMJNagIzCumKqC4bndO8XUaYkYX0FKH+t9MM=\n20240101000000_the_a.sql h1:Lqz3W0hF9icJEJ8sxpRQBsAo98Vpu5mImquttzts/H4=\n"},
		second: []string{"20240103000000.sql", secondSQL, "atlas.sum", "h1:vI8nZWLQ+LVRtA4ZUe6lM7vBi4ZaKLKyx0425v7+r5w=\n20240101000000_the_a.sql h1:Lqz3W0hF9icJEJ8sxpRQBsAo98Vpu5mImquttzts/H4=\n20240103000000.sql h1:skWTMPuNrFC6gsfm34PiotuoR7ksQ+C2dzpD8aB714Y=\n"},
		made: `CREATE TABLE atlas_schema_revisions (version character varying NOT NULL, description character varying NOT NULL, type bigint NOT NULL DEFAULT 2, applied bigint NOT NULL DEFAULT 0,
				total bigint NOT NULL DEFAULT 0, executed_at timestamptz NOT NULL, execution_time bigint NOT NULL, error text NULL, error_stmt text NULL, hash character varying NOT NULL,
				partial_hashes jsonb NULL, operator_version character varying NOT NULL, PRIMARY KEY (version));
			INSERT INTO atlas_schema_revisions (version, description, executed_at, execution_time, hash, operator_version) VALUES ('.atlas_cloud_identifier', 'x', now(), 0, '', 'Atlas');
			INSERT INTO atlas_schema_revisions VALUES ('20240101000000', 'the_a', 2, 2, 2, now(), 5, '', '', 'Lqz3W0hF9icJEJ8sxpRQBsAo98Vpu5mImquttzts/H4=', 'null', 'Atlas')`,
		table: `SELECT string_agg(format('%s|%s|%s|%s|%s|%s', version, description, type, applied, total, hash), ' ' ORDER BY version) FROM atlas_schema_revisions WHERE version <> '.atlas_cloud_identifier'`,
		want:  "20240101000000|the_a|2|2|2|Lqz3W0hF9icJEJ8sxpRQBsAo98Vpu5mImquttzts/H4= 20240103000000||2|2|2|skWTMPuNrFC6gsfm34PiotuoR7ksQ+C2dzpD8aB714Y=", from: "20240101000000",
		late: []string{"20240102000000_late.sql", "CREATE TABLE late ();", "atlas.sum", "h1:aZKTZJB8cnfcvEpS2xhl3vF13gKwEaREh/xPRcPUhtM=\n20240101000000_the_a.sql h1:Lqz3W0hF9icJEJ8sxpRQBsAo98Vpu5mImquttzts/H4=\n" +
			"20240102000000_late.sql h1:N/bA7qrKkikR7NlJuH6mfPUeIyg9NcanoT02OriBFIs=\n20240103000000.sql h1:TIyyIT/eP9hObXRUAxZYNIZwTZUcLSbVrau9XYxpDZ8=\n"},
		lateWant: "20240102000000_late.sql:1:1: it was never applied, but the later version 20240103000000 was",
		broken:   []brokenRow{{`UPDATE atlas_schema_revisions SET applied = 1 WHERE version = '20240103000000'`, "20240103000000 was left half done"}}},
}

// TestVendorsOwnTables: what the vendor's own tool has noted is not run again, and what we run is noted as it would note it, so that it finds
// nothing to do.
func TestVendorsOwnTables(t *testing.T) {
	t.Parallel()
	for _, c := range quick.First(t, 1, vendorCases) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, c.run)
			t.Run("arranged", func(t *testing.T) {
				t.Parallel()
				c.run(t, func(folder fs.FS, options ...migrate.Option) *migrate.Goose {
					return migrate.NewGoose(folder, 0, append(options, migrate.Arranged())...)
				})
			})
		})
	}
}

func (c vendorCase) run(t *testing.T, goose func(fs.FS, ...migrate.Option) *migrate.Goose) {
	all := with(files(c.first...), files(c.second...))
	nothing, tools, base := pgtest.NewDatabase(t), pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	must(t, connect(t, tools), firstSQL+c.made)
	must(t, connect(t, base), firstSQL)
	if _, err := goose(all, migrate.InFormat(c.format)).Pending(t.Context(), base); c.fresh && (err == nil || !strings.Contains(err.Error(), "would refuse it")) {
		t.Errorf("tables, and no table of versions: %v", err)
	}
	for dsn, from := range map[string]string{nothing: "", tools: "", base: c.from} {
		conn := connect(t, dsn)
		for range 2 {
			if err := goose(all, migrate.InFormat(c.format), migrate.FromVersion(from)).Migrate(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
			from = ""
		}
		if n, err := goose(all, migrate.InFormat(c.format)).Pending(t.Context(), dsn); n != 0 || err != nil {
			t.Errorf("%d are left: %v", n, err)
		}
		if got := ask[string](t, conn, c.table); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
		if got := ask[string](t, conn, `SELECT format('%s %s %s', (SELECT n FROM a), to_regclass('b'), to_regclass('goose_db_version'))`); got != "x b " {
			t.Error(got)
		}
	}
	c.comesLate(t, goose, all, nothing)
	if len(c.late) > 0 && c.lateWant == "" {
		all = with(all, files(c.late...))
	}
	for _, b := range c.broken {
		if err := c.withRow(t, nothing, b.sql, func() error {
			_, err := goose(all, migrate.InFormat(c.format)).Pending(t.Context(), nothing)
			return err
		}); err == nil || !strings.Contains(err.Error(), b.want) {
			t.Errorf("%s: %v, want %s", b.sql, err, b.want)
		}
	}
}

// comesLate merges a file that belongs between those that have run.
func (c vendorCase) comesLate(t *testing.T, goose func(fs.FS, ...migrate.Option) *migrate.Goose, all fs.FS, dsn string) {
	if len(c.late) == 0 {
		return
	}
	err := goose(with(all, files(c.late...)), migrate.InFormat(c.format)).Migrate(t.Context(), dsn)
	there := ask[bool](t, connect(t, dsn), `SELECT to_regclass('late') IS NOT NULL`)
	switch c.lateWant {
	case "", "never":
		if err != nil || there != (c.lateWant == "") {
			t.Errorf("a late file: there %t, %v", there, err)
		}
	default:
		if err == nil || !strings.Contains(err.Error(), c.lateWant) || there {
			t.Errorf("a late file: %v, want %s", err, c.lateWant)
		}
	}
}

// withRow runs f with a change of the vendor's table, which is taken back then.
func (c vendorCase) withRow(t *testing.T, dsn, change string, f func() error) error {
	t.Helper()
	conn := connect(t, dsn)
	name := ask[string](t, conn, fmt.Sprintf(`SELECT (regexp_match(%s, 'FROM ([a-z_.]+)'))[1]`, "$$"+c.table+"$$"))
	must(t, conn, `CREATE TABLE tideover_kept AS TABLE `+name)
	must(t, conn, change)
	defer must(t, conn, `DELETE FROM `+name+`; INSERT INTO `+name+` TABLE tideover_kept; DROP TABLE tideover_kept`)
	return f()
}

// TestOnlyRead: a folder whose versions we can't note as its tool would is not run.
func TestOnlyRead(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	err := migrate.NewGoose(files("sqitch.plan", "a 2024-01-01T10:00:00Z A <a>\n", "deploy/a.sql", "CREATE TABLE a ();"), 0).Migrate(t.Context(), dsn)
	if err == nil || !strings.Contains(err.Error(), "a folder of sqitch's isn't run") || ask[bool](t, connect(t, dsn), `SELECT to_regclass('a') IS NOT NULL`) {
		t.Error(err)
	}
}

// TestPlaceholders: what a runbook gives for them is what runs.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	folder := files("V1__a.sql", "CREATE TABLE ${name} (a int);")
	dsn := pgtest.NewDatabase(t)
	if err := migrate.NewGoose(folder, 0).Migrate(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), "V1__a.sql:1:14: no value is given for ${name}") {
		t.Error(err)
	}
	if err := migrate.NewGoose(folder, 0, migrate.Placeholders(map[string]string{"name": "given"})).Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	if !ask[bool](t, connect(t, dsn), `SELECT to_regclass('given') IS NOT NULL`) {
		t.Error("the table isn't there")
	}
	if err := migrate.NewGoose(files("1_a.sql", "-- +goose Up\nSELECT 1;"), 0, migrate.Placeholders(map[string]string{"name": "given"})).Migrate(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), "placeholders are Flyway's") {
		t.Error(err)
	}
}
