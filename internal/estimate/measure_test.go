package estimate

import (
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

func open(t *testing.T, name, dsn string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// TestMeasure: the sizes are the catalog's, the rates are there, and nothing is left anywhere.
func TestMeasure(t *testing.T) {
	t.Parallel()
	blue, green := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	pgtest.Exec(t, blue, `CREATE SCHEMA tideover; CREATE TABLE tideover.event (i int);
		CREATE TABLE small (i int PRIMARY KEY); CREATE TABLE secret (i int, t text); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
		INSERT INTO secret SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i;
		CREATE TABLE "Odd name" AS SELECT i, repeat(md5(i::text), 8) AS t FROM generate_series(1, 10000) i; CREATE INDEX ON "Odd name" (t); ANALYZE`)
	bluesBefore, greensBefore := pgtest.Schema(t, blue), pgtest.Schema(t, green)
	f, err := Measure(t.Context(), open(t, "blue", blue), open(t, "green", green))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Tables) != 3 || f.Tables[0].Name != "public.secret" || f.Tables[1].Name != `public."Odd name"` || f.Tables[1].Rows != 10000 || f.Tables[1].Bytes < 2*mb || f.Tables[1].Indexes < mb {
		t.Errorf("%+v", f.Tables)
	}
	if r := f.Rates; r.Read <= 0 || r.Write <= 0 || r.Index <= 0 || r.From != `public."Odd name"` || r.Sample < 2*mb || f.WAL < mb || f.Unseen {
		t.Errorf("%+v", f)
	}
	if after := pgtest.Schema(t, blue); after != bluesBefore {
		t.Errorf("blue has changed:\n%s", after)
	}
	if after := pgtest.Schema(t, green); after != greensBefore {
		t.Errorf("green has changed:\n%s", after)
	}
}

// TestMeasureWithLittleRight: a role that may read nothing of blue and make nothing on green has sizes, and no rates.
func TestMeasureWithLittleRight(t *testing.T) {
	t.Parallel()
	blue, green := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	pgtest.Exec(t, blue, `CREATE TABLE large AS SELECT i, repeat(md5(i::text), 8) AS t FROM generate_series(1, 10000) i`)
	role := "weak_" + strings.ToLower(rand.Text()[:10])
	pgtest.Exec(t, blue, "CREATE ROLE "+role+" LOGIN PASSWORD 'x'")
	t.Cleanup(func() { pgtest.Exec(t, blue, "DROP ROLE "+role) })
	as := func(name, dsn string) *postgres.DB {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(role, "x")
		return open(t, name, u.String())
	}
	f, err := Measure(t.Context(), as("blue", blue), as("green", green))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Tables) != 1 || f.Rates.Read != 0 || f.Rates.Write != 0 || f.Rates.Index != 0 || !f.Unseen {
		t.Errorf("%+v", f)
	}
}
