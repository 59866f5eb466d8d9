package migrate_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/prove"
	"github.com/tideover/tideover/sqlrewrite"
)

// liveCase is a migration that is run by goose itself on one database, and live on another.
type liveCase struct {
	name  string
	base  string
	files []string
	gate  string // a hazard of the plan, with its reason; allowed, the migration must end the same
	not   string // what no hazard of the plan may say
	never string // why it is refused whatever is allowed, before anything is changed
	code  string // of the error that both end with
}

// folder are the case's files.
func (c liveCase) folder() []string {
	var list []string
	for i, f := range c.files {
		head := up
		if rest, is := strings.CutPrefix(f, "-- +goose NO TRANSACTION\n"); is {
			head, f = "-- +goose NO TRANSACTION\n"+up, rest
		}
		if !strings.HasSuffix(f, "-- +goose StatementEnd") {
			f = strings.TrimSuffix(f, ";") + ";"
		}
		list = append(list, fmt.Sprintf("%d_f.sql", i+1), head+f+"\n")
	}
	return list
}

// asTheVendor runs the files as the vendor's own tool does: in sessions that have what the database and the role set.
func (c liveCase) asTheVendor(t *testing.T, dsn string) error {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files(c.folder()...), goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	_, err = provider.Up(t.Context())
	return err
}

// state is what a database holds.
func state(t *testing.T, dsn string) string {
	t.Helper()
	dump, err := prove.Dump(t.Context(), dsn, pgtest.Shared(t).BinDir())
	if err != nil {
		t.Fatal(err)
	}
	return dump
}

// differences are those between the tables and rows of two databases.
func differences(t *testing.T, written, live string) string {
	t.Helper()
	if d := cmp.Diff(state(t, written), state(t, live)); d != "" {
		return "the schema differs:\n" + d
	}
	tables, err := prove.CompareRows(t.Context(), connect(t, written), connect(t, live), nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, table := range tables {
		if table.Difference != "" {
			all = append(all, table.Name+": "+table.Difference)
		}
	}
	return strings.Join(all, "\n")
}

// everything is all hazards but the one that changes what a schema is.
func everything() migrate.Option {
	return migrate.Allow(slices.DeleteFunc(sqlrewrite.HazardNames(), func(n string) bool { return n == sqlrewrite.ColumnOrder })...)
}

func (c liveCase) run(t *testing.T) {
	t.Helper()
	vendors, live := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	for _, dsn := range []string{vendors, live} {
		conn := asItIs(t, dsn)
		if _, err := conn.PgConn().Exec(t.Context(), strings.ReplaceAll(c.base, "@database", pgx.Identifier{conn.Config().Database}.Sanitize())).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	folder := files(c.folder()...)
	before := state(t, live)
	err := liveGoose(folder).LiveHazardsAt(t.Context(), live)
	switch {
	case c.never != "":
		for what, err := range map[string]error{"plan": liveGoose(folder, everything()).LiveHazardsAt(t.Context(), live), "run": liveGoose(folder, everything()).Migrate(t.Context(), live)} {
			if err == nil || !strings.Contains(err.Error(), c.never) {
				t.Errorf("%s: %v, want %s", what, err, c.never)
			}
		}
		if d := cmp.Diff(before, state(t, live)); d != "" {
			t.Errorf("it was refused, and something is changed:\n%s", d)
		}
		return
	case c.gate != "" && (err == nil || !strings.Contains(err.Error(), c.gate)):
		t.Errorf("%v; want a gate: %s", err, c.gate)
	case c.not != "" && err != nil && strings.Contains(err.Error(), c.not):
		t.Errorf("%v; want no gate: %s", err, c.not)
	}
	var hazards *migrate.HazardError
	if err != nil && !errors.As(err, &hazards) {
		t.Fatal(err)
	}
	asWritten, rewritten := c.asTheVendor(t, vendors), liveGoose(folder, everything()).Migrate(t.Context(), live)
	if postgres.Code(asWritten) != c.code || postgres.Code(rewritten) != c.code || (c.code == "") != (asWritten == nil && rewritten == nil) {
		t.Fatalf("as written: %v; live: %v; want %q", asWritten, rewritten, c.code)
	}
	if c.code != "" {
		return
	}
	if d := differences(t, vendors, live); d != "" {
		t.Error(d)
	}
}

// asItIs is a session with what the database sets.
func asItIs(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { postgres.HangUp(t.Context(), conn) })
	return conn
}

// TestDefaultsOfDomains: what a domain says of its values holds for a new column as with the original.
func TestDefaultsOfDomains(t *testing.T) {
	t.Parallel()
	const base = `CREATE DOMAIN plain AS int; CREATE DOMAIN seven AS int DEFAULT 7; CREATE DOMAIN drawn AS double precision DEFAULT random() * 0 + 3; CREATE DOMAIN must AS text NOT NULL;
		CREATE DOMAIN over_must AS must; CREATE DOMAIN small AS int CHECK (VALUE < 100); CREATE DOMAIN filled AS int CHECK (VALUE IS NOT NULL) DEFAULT 5;
		CREATE DOMAIN stamped AS timestamptz DEFAULT now() - now() + '2026-01-01'::timestamptz; CREATE TABLE n (id int, d stamped);
		CREATE TYPE mood AS ENUM ('fine'); CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50);`
	const worked = "rewrites-table"
	for _, c := range []liveCase{
		{name: "a default of its own that is drawn", files: []string{"ALTER TABLE t ADD COLUMN c seven DEFAULT 1 + floor(random())"}, not: worked},
		{name: "a type that is no domain", files: []string{"ALTER TABLE t ADD COLUMN c mood DEFAULT (CASE WHEN random() < 2 THEN 'fine' END)::mood"}, not: worked},
		{name: "a domain that says nothing", files: []string{"ALTER TABLE t ADD COLUMN c plain NOT NULL DEFAULT 1 + floor(random())"}, not: worked},
		{name: "the domain's default", files: []string{"ALTER TABLE t ADD COLUMN c seven, ADD COLUMN r text DEFAULT left(random()::text, 0)"}, not: worked},
		{name: "a domain's default that is drawn", files: []string{"ALTER TABLE t ADD COLUMN c drawn"}, gate: "rewrites-table: t.c is of the domain drawn, whose default"},
		{name: "NOT NULL", files: []string{"ALTER TABLE t ADD COLUMN c must DEFAULT left(random()::text, 0)"}, gate: "rewrites-table: t.c is of the domain must, which has constraints"},
		{name: "NOT NULL of a domain below", files: []string{"ALTER TABLE t ADD COLUMN c over_must DEFAULT left(random()::text, 0)"}, gate: "which has constraints"},
		{name: "NOT NULL without a value", files: []string{"ALTER TABLE t ADD COLUMN c over_must"}, gate: "fails-on-rows: t.c is NOT NULL", code: "23502"},
		{name: "NOT NULL with a value", files: []string{"ALTER TABLE t ADD COLUMN c must DEFAULT 'x'"}, gate: worked},
		{name: "a check of the domain", files: []string{"ALTER TABLE t ADD COLUMN c small DEFAULT floor(random()) + 99"}, gate: worked},
		{name: "a check that is broken", files: []string{"ALTER TABLE t ADD COLUMN c small DEFAULT floor(random()) + 100"}, gate: worked, code: "23514"},
		{name: "a check that is NOT NULL", files: []string{"ALTER TABLE t ADD COLUMN c filled DEFAULT floor(random()) + 8"}, gate: worked},
		{name: "a domain of the migrations", files: []string{"CREATE DOMAIN own AS must", "ALTER TABLE t ADD COLUMN c own DEFAULT left(random()::text, 0)"}, gate: "rewrites-table: t.c is of the domain own, which has constraints"},
		{name: "a domain of the same file", files: []string{"CREATE DOMAIN own AS int DEFAULT 3; ALTER DOMAIN own SET NOT NULL; ALTER TABLE t ADD COLUMN c own DEFAULT floor(random())"}, gate: worked},
		{name: "another default in the same statement", files: []string{"ALTER TABLE t ADD COLUMN c int DEFAULT floor(random()) + 1, ALTER COLUMN c SET DEFAULT 2"}, gate: "another part of the statement sets its default"},
		{name: "another default before", files: []string{"ALTER TABLE t ALTER COLUMN c SET DEFAULT 2, ADD COLUMN c serial"}, gate: "another part of the statement sets its default"},
		{name: "another default of another column", files: []string{"ALTER TABLE t ADD COLUMN c int DEFAULT floor(random()) + 1, ADD COLUMN d int, ALTER COLUMN d SET DEFAULT 2"}, not: worked},
		{name: "a type that becomes a domain", files: []string{"ALTER TABLE t ADD COLUMN c text DEFAULT 'x'; ALTER TABLE t ALTER COLUMN c TYPE must"}, gate: worked},
		{name: "rows go to a column that a domain fills", files: []string{"INSERT INTO n (id) SELECT id FROM t"}, gate: "the default of d in n may differ between batches"},
		{name: "rows go to a new column that a domain fills", files: []string{"CREATE DOMAIN now AS timestamptz DEFAULT now() - now() + '2026-01-01'::timestamptz; CREATE TABLE o (id int, d now)", "INSERT INTO o (id) SELECT id FROM t"},
			gate: "the default of d may differ between batches"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.base = base
			c.run(t)
		})
	}
}
