package migrate_test

import (
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
)

// bothWays runs a test live and offline.
func bothWays(t *testing.T, test func(t *testing.T, goose func(folder fs.FS, options ...migrate.Option) *migrate.Goose)) {
	for name, how := range map[string][]migrate.Option{"offline": nil, "as written": {migrate.AsWritten()},
		"live": {migrate.Live(postgres.Budget{Timeout: 500 * time.Millisecond, Retry: 2 * time.Minute}), migrate.Allow("writes-whole-table")}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(folder fs.FS, options ...migrate.Option) *migrate.Goose {
				return migrate.NewGoose(folder, 0, append(options, how...)...)
			})
		})
	}
}

func with(a, b fs.FS) fs.FS {
	folder := maps.Clone(a.(fstest.MapFS))
	maps.Copy(folder, b.(fstest.MapFS))
	return folder
}

// TestVersionsAreTheVendors: a file that comes between runs, and none runs twice.
func TestVersionsAreTheVendors(t *testing.T) {
	t.Parallel()
	first := files("20260101_a.sql", "CREATE TABLE pa (id int PRIMARY KEY);", "20260103_c.sql", "CREATE TABLE IF NOT EXISTS pc (n int);\nINSERT INTO pc VALUES (1);")
	next := with(first, files("20260102_b.sql", "CREATE TABLE pb (id int PRIMARY KEY);", "20260104_d.sql", "CREATE TABLE pd (id int PRIMARY KEY);"))
	bothWays(t, func(t *testing.T, goose func(fs.FS, ...migrate.Option) *migrate.Goose) {
		dsn := pgtest.NewDatabase(t)
		conn := connect(t, dsn)
		for _, folder := range []fs.FS{first, next, next} {
			if err := goose(folder, migrate.InFormat("plain")).Migrate(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
		}
		if got := ask[string](t, conn, `SELECT format('%s %s %s', to_regclass('pb'), to_regclass('pd'), (SELECT count(*) FROM pc))`); got != "pb pd 1" {
			t.Error(got)
		}
		// A number that is no file's: somebody else has counted.
		must(t, conn, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, true)`)
		if _, err := goose(next, migrate.InFormat("plain")).Pending(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), "version 3, which is no file's number") {
			t.Error(err)
		}
	})
}

// TestFromIsABaseline: nothing up to it runs, now or later.
func TestFromIsABaseline(t *testing.T) {
	t.Parallel()
	folder := files("001_init.sql", "CREATE TABLE IF NOT EXISTS acct (id bigint PRIMARY KEY, balance int NOT NULL);\nUPDATE acct SET balance = balance + 10;",
		"002_note.sql", "ALTER TABLE acct ADD COLUMN note text;")
	bothWays(t, func(t *testing.T, goose func(fs.FS, ...migrate.Option) *migrate.Goose) {
		dsn := pgtest.NewDatabase(t)
		conn := connect(t, dsn)
		must(t, conn, `CREATE TABLE acct (id bigint PRIMARY KEY, balance int NOT NULL); INSERT INTO acct VALUES (1, 100)`)
		for _, options := range [][]migrate.Option{{migrate.From(1)}, {migrate.From(1)}, nil} {
			g := goose(folder, append(options, migrate.InFormat("plain"))...)
			if err := g.Migrate(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
		}
		if got := ask[string](t, conn, `SELECT format('%s %s', balance, (SELECT string_agg(version_id::text, ' ' ORDER BY id) FROM goose_db_version)) FROM acct WHERE note IS NULL`); got != "100 0 1 2" {
			t.Error(got)
		}
		if err := goose(folder, migrate.From(7), migrate.InFormat("plain")).Migrate(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), "no file has version 7") {
			t.Error(err)
		}
	})
}

// TestVendorsTables: what the vendor's own tool has noted is not run again, and what we run it finds noted.
func TestVendorsTables(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, c := range []struct {
		name, format  string
		first, second fs.FS
		before, table string // as the tool has left it, with the first folder run
		want          string // what the table has in the end
		late          string // a file between; "": the tool never runs one
	}{
		{name: "dbmate",
			first:  files("20260101_a.sql", "-- migrate:up\nCREATE TABLE setting (k text PRIMARY KEY);\nINSERT INTO setting VALUES ('grant_legacy');\n\n-- migrate:down\nDROP TABLE setting;\n"),
			second: files("20260103_b.sql", "-- migrate:up\nCREATE TABLE grant_type (name text PRIMARY KEY);\n-- migrate:down\nDELETE FROM setting WHERE k LIKE 'grant%';\nDROP TABLE grant_type;\n"),
			before: `CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY); INSERT INTO schema_migrations VALUES ('20260101')`,
			table:  `SELECT string_agg(version, ' ' ORDER BY version) FROM schema_migrations`, want: "20260101 20260102 20260103", late: "-- migrate:up\nCREATE TABLE late (id int);\n"},
		{name: "sql-migrate",
			first:  files("1-a.sql", "-- +migrate Up\nCREATE TABLE setting (k text PRIMARY KEY);\nINSERT INTO setting VALUES ('grant_legacy');\n-- +migrate Down\nDROP TABLE setting;\n"),
			second: files("3-b.sql", "-- +migrate Up\nCREATE TABLE grant_type (name text PRIMARY KEY);\n-- +migrate Down\nDELETE FROM setting;\n"),
			before: `CREATE TABLE gorp_migrations (id text PRIMARY KEY, applied_at timestamptz); INSERT INTO gorp_migrations VALUES ('1-a.sql', now())`,
			table:  `SELECT string_agg(id, ' ' ORDER BY id) FROM gorp_migrations WHERE applied_at IS NOT NULL`, want: "1-a.sql 2-late.sql 3-b.sql", late: "-- +migrate Up\nCREATE TABLE late (id int);\n"},
		{name: "golang-migrate", format: "golang-migrate",
			first:  files("000001_a.up.sql", "CREATE TABLE setting (k text PRIMARY KEY);\nINSERT INTO setting VALUES ('grant_legacy');", "000001_a.down.sql", "DROP TABLE setting;"),
			second: files("000003_b.up.sql", "CREATE TABLE grant_type (name text PRIMARY KEY);", "000003_b.down.sql", "DROP TABLE grant_type;"),
			before: `CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (1, false)`,
			table:  `SELECT string_agg(format('%s %s', version, dirty), ' ') FROM schema_migrations`, want: "3 f"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, goose func(fs.FS, ...migrate.Option) *migrate.Goose) {
				ours, tools := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
				all := with(c.first, c.second)
				must(t, connect(t, tools), `CREATE TABLE setting (k text PRIMARY KEY); INSERT INTO setting VALUES ('grant_legacy'); `+c.before)
				for _, dsn := range []string{ours, tools} { // from nothing, and where the tool has been
					for range 2 {
						if err := goose(all, migrate.InFormat(c.format)).Migrate(t.Context(), dsn); err != nil {
							t.Fatal(err)
						}
					}
					conn := connect(t, dsn)
					if c.late != "" {
						late := with(all, files(map[string]string{"dbmate": "20260102_late.sql", "sql-migrate": "2-late.sql"}[c.name], c.late))
						if err := goose(late, migrate.InFormat(c.format)).Migrate(t.Context(), dsn); err != nil {
							t.Fatal(err)
						}
						if ask[bool](t, conn, `SELECT to_regclass('late') IS NULL`) {
							t.Error("the late file did not run")
						}
					}
					if got := ask[string](t, conn, c.table); got != c.want {
						t.Errorf("%s, want %s", got, c.want)
					}
					if got := ask[string](t, conn, `SELECT format('%s %s %s', (SELECT k FROM setting), to_regclass('grant_type'), to_regclass('goose_db_version'))`); got != "grant_legacy grant_type " {
						t.Error(got)
					}
				}
				if c.format == "golang-migrate" {
					must(t, connect(t, ours), `UPDATE schema_migrations SET dirty = true`)
					if _, err := goose(all, migrate.InFormat(c.format)).Pending(t.Context(), ours); err == nil || !strings.Contains(err.Error(), "half done") {
						t.Error(err)
					}
				}
				// A folder from the beginning on, of a database that was there before the table.
				base := pgtest.NewDatabase(t)
				must(t, connect(t, base), `CREATE TABLE setting (k text PRIMARY KEY); INSERT INTO setting VALUES ('grant_legacy')`)
				from := migrate.From(int64(map[string]int{"dbmate": 20260101}[c.name]))
				if c.name != "dbmate" {
					from = migrate.From(1)
				}
				for _, o := range []migrate.Option{from, migrate.From(0)} {
					if err := goose(all, migrate.InFormat(c.format), o).Migrate(t.Context(), base); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

// TestAnotherToolsTable: plain files in a database that a tool migrates would all run again.
func TestAnotherToolsTable(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	must(t, connect(t, dsn), `CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)`)
	folder := files("1_a.up.sql", "SELECT 1;", "1_a.down.sql", "SELECT 2;")
	g := migrate.NewGoose(folder, 0, migrate.InFormat("plain"))
	if _, err := g.Pending(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), "that of golang-migrate") || !strings.Contains(fmt.Sprint(err.(interface{ Hint() string }).Hint()), "format: golang-migrate") {
		t.Error(err)
	}
	if n, err := migrate.NewGoose(folder, 0, migrate.InFormat("plain"), migrate.From(1)).Pending(t.Context(), dsn); err != nil || n != 0 {
		t.Error(n, err)
	}
}

// A baseline that the database's own table of versions doesn't bear out is refused: files would be left out without a word.
func TestBaselineAgainstTheTable(t *testing.T) {
	t.Parallel()
	folder := files("001_a.sql", up+"CREATE TABLE a ();", "002_b.sql", up+"CREATE TABLE b ();", "003_c.sql", up+"CREATE TABLE c ();")
	bothWays(t, func(t *testing.T, goose func(fs.FS, ...migrate.Option) *migrate.Goose) {
		dsn := pgtest.NewDatabase(t)
		first := files("001_a.sql", up+"CREATE TABLE a ();")
		if err := goose(first).Migrate(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
		err := goose(folder, migrate.From(2)).Migrate(t.Context(), dsn)
		if err == nil || !strings.Contains(err.Error(), "does not have version 2") {
			t.Errorf("from 2, and the table has 1: %v", err)
		}
		if err := goose(folder, migrate.From(1)).Migrate(t.Context(), dsn); err != nil {
			t.Error(err)
		}
	})
}
