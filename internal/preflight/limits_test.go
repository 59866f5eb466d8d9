package preflight_test

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/plan"
)

var update = flag.Bool("update", false, "rewrite docs/limits.md")

const limitsHead = `# What is refused

` + "`preflight`" + ` and ` + "`tideover plan --connect`" + ` refuse what a run cannot bring over, before anything is changed on either side. Each message
names the object, the reason and the way on. (The list is made from the code: ` + "`go test ./internal/preflight -update`" + `.)

| check | message | the way on |
|---|---|---|
`

// docs/limits.md lists what the code refuses, in its words.
func TestLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(limitsHead)
	for _, l := range preflight.Limits() {
		if l.ID == "" || l.Reason == "" || l.Hint == "" {
			t.Errorf("limit %+v lacks words", l)
		}
		fmt.Fprintf(&b, "| `%s` | … %s | %s |\n", l.ID, l.Reason, l.Hint)
	}
	path := filepath.Join("..", "..", "docs", "limits.md")
	is, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// What is refused later in a run is behind it, and held by the tests of replay.
	const later = "\n## Later\n"
	list, rest, found := strings.Cut(string(is), later)
	if !found {
		t.Fatal("docs/limits.md has no section \"Later\"")
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()+later+rest), 0o644); err != nil {
			t.Fatal(err)
		}
		list = b.String()
	}
	if diff := cmp.Diff(b.String(), list); diff != "" {
		t.Errorf("docs/limits.md is not what the code says (run go test ./internal/preflight -update):\n%s", diff)
	}
}

// obstacles has every kind of what is refused on blue, and beside each what is like it and is right.
const obstacles = `
CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
CREATE TABLE also_at_once (id int PRIMARY KEY DEFERRABLE); CREATE UNIQUE INDEX ON also_at_once (id);
CREATE TABLE place (id int PRIMARY KEY, p int UNIQUE DEFERRABLE);
CREATE TABLE made (raw text NOT NULL, sig text GENERATED ALWAYS AS (md5(raw)) STORED PRIMARY KEY);
CREATE TABLE beside (id int PRIMARY KEY, sig text GENERATED ALWAYS AS (md5('x')) STORED NOT NULL UNIQUE);
CREATE TABLE named (id int PRIMARY KEY, sig text GENERATED ALWAYS AS (md5('x')) STORED NOT NULL UNIQUE);
CREATE TABLE ruled (id int PRIMARY KEY); CREATE TABLE log (id int);
CREATE RULE "to log" AS ON INSERT TO ruled DO ALSO INSERT INTO log VALUES (NEW.id);
CREATE RULE elsewhere AS ON INSERT TO log DO ALSO NOTHING;
CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER away FOREIGN DATA WRAPPER nowhere;
CREATE TABLE plain (id int) PARTITION BY RANGE (id); CREATE FOREIGN TABLE "far away" PARTITION OF plain DEFAULT SERVER away;
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY); CREATE UNLOGGED TABLE unlogged_too (id int PRIMARY KEY);
CREATE TABLE hidden (id int PRIMARY KEY); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;`

func TestLimitsAreRefused(t *testing.T) {
	t.Parallel()
	blue, green := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	admin := connect(t, blue)
	name := admin.Config().Database
	role := "limited_" + name
	sql := obstacles + `CREATE ROLE ` + role + ` LOGIN PASSWORD 'x'; GRANT ALL ON ALL TABLES IN SCHEMA public TO ` + role + `;
		ALTER DATABASE ` + name + ` SET default_transaction_read_only = on;`
	exec(t, admin, sql)
	exec(t, connect(t, green), `ALTER DATABASE `+connect(t, green).Config().Database+` SET default_transaction_read_only = on`)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), blue)
		if err == nil {
			for _, sql := range []string{`SET default_transaction_read_only = off`, `DROP OWNED BY ` + role, `DROP ROLE ` + role} {
				if err == nil {
					_, err = conn.Exec(context.Background(), sql)
				}
			}
			conn.Close(context.Background())
		}
		if err != nil {
			t.Error(err)
		}
	})
	as := func(side, dsn string) *postgres.DB {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(role, "x")
		db, err := postgres.Open(t.Context(), side, u.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		return db
	}
	p := &plan.Profile{Schema: "public"}
	for _, table := range []string{"deferred", "also_at_once", "place", "made", "beside", "ruled", "hidden", "unlogged"} {
		p.Tables = append(p.Tables, plan.Table{Name: table})
	}
	p.Tables = append(p.Tables, plan.Table{Name: "named", Key: []string{"sig"}})
	findings, err := preflight.Check(t.Context(), preflight.Options{Blue: as("blue", blue), Green: as("green", green), Profile: p, FromLog: true, Privileges: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range findings {
		for _, l := range preflight.Limits() {
			if f.Check == l.ID && f.Level == preflight.Fail {
				got = append(got, strings.TrimSuffix(f.Text, " "+l.Reason)+": "+l.ID)
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"blue: read-only", "column sig of table made: generated-key", "column sig of table named: generated-key", "green's database: green-locked",
		"green's schema \"public\": green-locked", "green: green-read-only", "partition \"public.far away\": foreign-partition",
		"rule \"to log\" on table ruled: rule", "table \"public.hidden\": row-security", "table deferred: deferrable-key",
		"table unlogged: unlogged-table",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

// TestOwnersThatGreenLacks: who owns, or may use, something of blue must be there on green where that is to come along; where it is not, nobody
// may get more rights by that.
func TestOwnersThatGreenLacks(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgserver.Options{Name: "green"})
	blue := pgtest.NewDatabase(t)
	admin := connect(t, blue)
	owner, reader := "owner_"+admin.Config().Database, "reader_"+admin.Config().Database
	exec(t, admin, `CREATE ROLE `+owner+`; CREATE ROLE `+reader+`; CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO `+owner+`; CREATE TABLE u (id int PRIMARY KEY); GRANT SELECT ON u TO `+reader+`;
		CREATE FUNCTION secret() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; REVOKE ALL ON FUNCTION secret() FROM PUBLIC; CREATE FUNCTION open() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
		CREATE FUNCTION own() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION own() FROM PUBLIC`)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), blue)
		for _, sql := range []string{`DROP OWNED BY ` + owner + `, ` + reader, `DROP ROLE ` + owner + `, ` + reader} {
			if err == nil {
				_, err = conn.Exec(context.Background(), sql)
			}
		}
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close(context.Background())
	})
	dbs := map[string]*postgres.DB{}
	for side, dsn := range map[string]string{"blue": blue, "green": server.DSN()} {
		db, err := postgres.Open(t.Context(), side, dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		dbs[side] = db
	}
	o := preflight.Options{Blue: dbs["blue"], Green: dbs["green"], Profile: &plan.Profile{Schema: "public", Tables: []plan.Table{{Name: "t"}, {Name: "u"}}}}
	for _, along := range []bool{true, false} {
		o.Privileges = along
		findings, err := preflight.Check(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		want := []string{"secret() with"}
		for _, f := range findings {
			if f.Check == "owner-missing" || f.Check == "definer-function" {
				got = append(got, strings.Fields(f.Text)[1]+" "+strings.Fields(f.Text)[3])
			}
		}
		if along {
			want = []string{"t " + owner + ")", "u " + reader + ")"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("privileges %t: refused %q, want %q", along, got, want)
		}
	}
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}
