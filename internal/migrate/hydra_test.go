//go:build hydra

// The migrations of the real Ory Hydra, 1.11.10 to 2.3.0: make hydra hydra-migrations, then go test -tags hydra ./internal/migrate
package migrate_test

import (
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/deployment/ports"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/prove"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/sqlrewrite"
)

//go:embed testdata/hydra.sql
var hydraRows string

// hydraBuilt is a program or folder that make has put into bin.
func hydraBuilt(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v; make hydra hydra-migrations brings it", err)
	}
	return path
}

func hydraFiles(t testing.TB) fs.FS { return os.DirFS(hydraBuilt(t, "hydra-migrations")) }

func hydraCommand(t testing.TB, name string) *migrate.Command {
	return migrate.NewCommand([]string{hydraBuilt(t, name), "migrate", "sql", "-e", "--yes"})
}

// hydraBase is a database of 1.11.10 with so many rows in each large table.
func hydraBase(t testing.TB, rows int) string {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	if err := hydraCommand(t, "hydra-v1").Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	hydraExec(t, dsn, strings.ReplaceAll(hydraRows, "@rows", fmt.Sprint(rows))+"; VACUUM ANALYZE")
	return dsn
}

func hydraExec(t testing.TB, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	vacuum := strings.HasSuffix(sql, "; VACUUM ANALYZE")
	if _, err := conn.Exec(t.Context(), strings.TrimSuffix(sql, "; VACUUM ANALYZE"), pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	if vacuum {
		if _, err := conn.Exec(t.Context(), "VACUUM ANALYZE"); err != nil {
			t.Fatal(err)
		}
	}
}

// hydraCopy is a copy of a database that nobody is connected to.
func hydraCopy(t testing.TB, of string) string {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	from, to := hydraDatabase(t, of), hydraDatabase(t, dsn)
	hydraExec(t, pgtest.Shared(t).DSN(), "DROP DATABASE "+to)
	hydraExec(t, pgtest.Shared(t).DSN(), "CREATE DATABASE "+to+" TEMPLATE "+from)
	return dsn
}

func hydraDatabase(t testing.TB, dsn string) string {
	t.Helper()
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return pgx.Identifier{c.Database}.Sanitize()
}

// TestHydraBothEndAlike: the vendor's command, and its files converted to goose: arranged, in one transaction, and one after the
// other. 2.3.0 gets ready on each, so that it finds its versions.
func TestHydraBothEndAlike(t *testing.T) {
	fsys, base := hydraFiles(t), hydraBase(t, 400)
	want := hydraCopy(t, base)
	if err := hydraCommand(t, "hydra-v2").Migrate(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	schema, err := prove.Dump(t.Context(), want, pgtest.Shared(t).BinDir())
	if err != nil {
		t.Fatal(err)
	}
	// What each run makes up: the network's id, which every row has, and the key of clients and of signing keys.
	random := map[string][]string{`"public"."networks"`: {"id"}}
	conn := connect(t, want)
	tables := ask[[]string](t, conn, `SELECT array_agg(table_name::text) FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'nid'`)
	for _, name := range tables {
		random[pgx.Identifier{"public", name}.Sanitize()] = []string{"nid", "pk"}
	}
	for _, way := range slice.Pick(t, 1, []struct {
		name   string
		option migrate.Option
	}{{"arranged", migrate.Arranged()}, {"in one transaction", migrate.InFormat("pop")}, {"as written", migrate.AsWritten()}}) {
		t.Run(way.name, func(t *testing.T) {
			dsn := hydraCopy(t, base)
			g := migrate.NewGoose(fsys, 0, way.option)
			if err := g.Migrate(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
			got, err := prove.Dump(t.Context(), dsn, pgtest.Shared(t).BinDir())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(schema, got); d != "" {
				t.Errorf("the schema differs:\n%s", d)
			}
			mine, rows := connect(t, dsn), int64(0)
			compared, err := prove.CompareRows(t.Context(), conn, mine, random)
			if err != nil {
				t.Fatal(err)
			}
			for _, table := range compared {
				if rows += table.Rows; table.Difference != "" {
					t.Errorf("%s: %s", table.Name, table.Difference)
				}
			}
			if rows < 4000 {
				t.Errorf("%d rows compared: nothing was tested", rows)
			}
			for _, table := range tables {
				if n := ask[int](t, mine, `SELECT count(*) FROM `+table+` WHERE nid IS DISTINCT FROM (SELECT id FROM networks)`); n > 0 {
					t.Errorf("%d rows of %s are of no network", n, table)
				}
			}
			if ask[bool](t, mine, `SELECT to_regclass('goose_db_version') IS NOT NULL`) {
				t.Error("there is a table that the vendor's server doesn't know")
			}
			if n, err := g.Pending(t.Context(), dsn); err != nil || n != 0 {
				t.Errorf("%d pending, %v", n, err)
			}
			if err := hydraCommand(t, "hydra-v2").Migrate(t.Context(), dsn); err != nil {
				t.Errorf("the vendor's command afterwards: %v", err)
			}
			hydraReady(t, dsn)
		})
	}
}

// TestHydraOldVersionTable: what 1.8 and 1.9 have left has versions of 14 digits in a table of one column. It ends as the vendor's command
// ends, rewritten for traffic and not, and nothing that is in place is run again.
func TestHydraOldVersionTable(t *testing.T) {
	files := hydraFiles(t)
	for _, newest := range []string{"20200819163013", "20201116133000"} { // of 1.8.5, and of 1.9.2
		old := fstest.MapFS{}
		if err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || name > newest+"999999" {
				return err
			}
			text, err := fs.ReadFile(files, name)
			old[name] = &fstest.MapFile{Data: text}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		base := pgtest.NewDatabase(t)
		if err := migrate.NewGoose(old, 0, migrate.InFormat("pop")).Migrate(t.Context(), base); err != nil {
			t.Fatal(err)
		}
		hydraExec(t, base, `CREATE TABLE made (version varchar(14) NOT NULL); INSERT INTO made SELECT left(version, 14) FROM schema_migration ORDER BY version;
			DROP TABLE schema_migration; ALTER TABLE made RENAME TO schema_migration; CREATE UNIQUE INDEX schema_migration_version_idx ON schema_migration (version)`)
		want := hydraCopy(t, base)
		if err := hydraCommand(t, "hydra-v2").Migrate(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		schema, err := prove.Dump(t.Context(), want, pgtest.Shared(t).BinDir())
		if err != nil {
			t.Fatal(err)
		}
		const versions = `SELECT (SELECT string_agg(version || '/' || version_self, ' ' ORDER BY version) FROM schema_migration) || ' ' || (SELECT string_agg(version, ' ' ORDER BY version) FROM schema_migration_pop_legacy)`
		conn := connect(t, want)
		for name, options := range map[string][]migrate.Option{
			"arranged": {migrate.Arranged()},
			"live":     {migrate.InFormat("pop"), migrate.From(50), migrate.Live(postgres.Budget{Timeout: 500 * time.Millisecond, Retry: time.Minute}), migrate.Allow(sqlrewrite.HazardNames()...)},
		} {
			t.Run(newest+"/"+name, func(t *testing.T) {
				dsn := hydraCopy(t, base)
				g := migrate.NewGoose(files, 0, options...)
				all, err := migrate.NewGoose(files, 0).Pending(t.Context(), pgtest.NewDatabase(t))
				if err != nil {
					t.Fatal(err)
				}
				n, err := g.Pending(t.Context(), dsn)
				if had := ask[int](t, conn, `SELECT count(*) FROM schema_migration_pop_legacy`); err != nil || n != all-had {
					t.Errorf("%d pending of %d, and %d are there; %v", n, all, had, err)
				}
				if err := g.Migrate(t.Context(), dsn); err != nil {
					t.Fatal(err)
				}
				got, err := prove.Dump(t.Context(), dsn, pgtest.Shared(t).BinDir())
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(schema, got); d != "" {
					t.Errorf("the schema differs:\n%s", d)
				}
				if want, got := ask[string](t, conn, versions), ask[string](t, connect(t, dsn), versions); want != got {
					t.Errorf("versions\n%s\nwant\n%s", got, want)
				}
				if n, err := g.Pending(t.Context(), dsn); err != nil || n != 0 {
					t.Errorf("%d pending, %v", n, err)
				}
			})
		}
	}
}

// hydraReady starts 2.3.0 and waits until it says that it is ready, which it never does before its migrations are recorded.
func hydraReady(t *testing.T, dsn string) {
	t.Helper()
	free, err := ports.Free(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	public, admin := free[0][strings.LastIndex(free[0], ":")+1:], free[1][strings.LastIndex(free[1], ":")+1:]
	c := exec.CommandContext(t.Context(), hydraBuilt(t, "hydra-v2"), "serve", "all", "--dev")
	c.Env = append(os.Environ(), "DSN="+dsn, "SECRETS_SYSTEM=a-secret-of-this-test", "URLS_SELF_ISSUER=http://127.0.0.1:"+public, "URLS_LOGIN=http://127.0.0.1:1/",
		"URLS_CONSENT=http://127.0.0.1:1/", "SERVE_PUBLIC_HOST=127.0.0.1", "SERVE_ADMIN_HOST=127.0.0.1", "SERVE_PUBLIC_PORT="+public, "SERVE_ADMIN_PORT="+admin, "SQA_OPT_OUT=true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	await.That(t, "2.3.0 is ready", func() bool {
		r, err := http.Get("http://127.0.0.1:" + admin + "/health/ready")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// BenchmarkHydraMigrations: the arranged migrations beside the vendor's command, on copies of one database.
func BenchmarkHydraMigrations(b *testing.B) {
	const rows = 200_000
	fsys, base := hydraFiles(b), hydraBase(b, rows)
	for b.Loop() {
		copied, began := hydraCopy(b, base), time.Now()
		if err := hydraCommand(b, "hydra-v2").Migrate(b.Context(), copied); err != nil {
			b.Fatal(err)
		}
		vendor := time.Since(began)
		green := pgtest.NewDatabase(b)
		began = time.Now()
		hydraSnapshot(b, base, green)
		copying := time.Since(began)
		began = time.Now()
		if err := migrate.NewGoose(fsys, 0).Migrate(b.Context(), green); err != nil {
			b.Fatal(err)
		}
		ours := time.Since(began)
		b.ReportMetric(copying.Seconds(), "s/copy")
		b.ReportMetric(vendor.Seconds(), "s/vendor")
		b.ReportMetric(ours.Seconds(), "s/ours")
		b.ReportMetric(ours.Seconds()/vendor.Seconds(), "ours/vendor")
	}
}

// hydraSnapshot copies as a run does.
func hydraSnapshot(b *testing.B, from, to string) {
	b.Helper()
	var sides [2]*postgres.DB
	for i, dsn := range []string{from, to} {
		db, err := postgres.Open(b.Context(), "bench", dsn)
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		sides[i] = db
	}
	if _, err := snapshot.Copy(b.Context(), snapshot.Options{Blue: sides[0], Green: sides[1], BinDir: pgtest.Shared(b).BinDir()}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkHydraDelta: the migrations on a nearly empty database, as each delta has it in a switch. The best of ten.
func BenchmarkHydraDelta(b *testing.B) {
	fsys, base := hydraFiles(b), hydraBase(b, 1)
	g := migrate.NewGoose(fsys, 0)
	best := func(f func(dsn string) error) time.Duration {
		least := time.Hour
		for range 10 {
			copied, began := hydraCopy(b, base), time.Now()
			if err := f(copied); err != nil {
				b.Fatal(err)
			}
			least = min(least, time.Since(began))
		}
		return least
	}
	for b.Loop() {
		vendor := best(func(dsn string) error { return hydraCommand(b, "hydra-v2").Migrate(b.Context(), dsn) })
		ours := best(func(dsn string) error { return g.Migrate(b.Context(), dsn) })
		b.ReportMetric(float64(vendor.Milliseconds()), "ms/vendor")
		b.ReportMetric(float64(ours.Milliseconds()), "ms/ours")
		b.ReportMetric(ours.Seconds()/vendor.Seconds(), "ours/vendor")
	}
}

// TestHydraRulesAndFiles: a copy that is cleaned up, migrated by arranged files and put right is what the oracle expects, which
// migrates with the files as written.
func TestHydraRulesAndFiles(t *testing.T) {
	profile, err := plan.LoadProfile("hydra", ".")
	if err != nil {
		t.Fatal(err)
	}
	fsys, green, bin := hydraFiles(t), pgtest.NewDatabase(t), pgtest.Shared(t).BinDir()
	var sides [2]*postgres.DB
	for i, dsn := range []string{hydraBase(t, 300), green} {
		if sides[i], err = postgres.Open(t.Context(), "test", dsn); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sides[i].Close)
	}
	if _, err := snapshot.Copy(t.Context(), snapshot.Options{Blue: sides[0], Green: sides[1], Profile: profile, BinDir: bin}); err != nil {
		t.Fatal(err)
	}
	rules := cleanup.New(profile.Rules, cleanup.Options{Schemas: profile.Schemas()})
	conn := connect(t, green)
	if _, err := rules.Apply(t.Context(), conn, "before"); err != nil {
		t.Fatal(err)
	}
	if err := migrate.NewGoose(fsys, 0, migrate.Arranged()).Migrate(t.Context(), green); err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Apply(t.Context(), conn, "after"); err != nil {
		t.Fatal(err)
	}
	reference, err := oracle.Expected(t.Context(), sides[0], sides[1], profile, migrate.NewGoose(fsys, 0, migrate.AsWritten()), rules, bin)
	if err != nil {
		t.Fatal(err)
	}
	defer reference.Drop()
	c, err := oracle.Compare(t.Context(), connect(t, reference.DSN), conn, profile, oracle.Clock{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Differences) > 0 || c.Rows < 3000 {
		t.Errorf("%d rows compared; %+v", c.Rows, c.Differences)
	}
}
